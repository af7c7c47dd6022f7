"""A subscriber that notes when each numbered picture came, for the benchmark of the camera node."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from como_ros.lab.canned_feed import NUMBER_BYTES
from como_ros.nodes.wiring import message_class
from como_ros.stream_watch import stamp_in
from como_ros.typestore import deserialize


class Picture(NamedTuple):
    number: int
    age_s: float
    """From its stamp to its arrival here."""


class Arrivals:
    """Listens from a thread of its own between `with` and its end."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.pictures: dict[str, list[Picture]] = {topic: [] for topic in topics}
        self._context = rclpy.Context()
        self._context.init(domain_id=int(os.environ.get("ROS_DOMAIN_ID", "0")))
        self._node = Node("arrivals", context=self._context)
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        for topic in topics:
            note = partial(self._note, topic)
            self._node.create_subscription(message_class(topic), topic, note, qos, raw=True)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="arrivals", daemon=True)

    def _note(self, topic: str, cdr: bytes) -> None:
        stamp_ns = stamp_in(cdr)
        if stamp_ns is None:
            return
        age_s = (time.time_ns() - stamp_ns) / 1e9
        pixels = np.asarray(deserialize(cdr, "sensor_msgs/msg/Image").data)
        self.pictures[topic].append(Picture(int(pixels[:NUMBER_BYTES].view("<u4")[0]), age_s))

    def __enter__(self) -> Arrivals:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._thread.join(timeout=5.0)
        self._node.destroy_node()
        self._context.try_shutdown()

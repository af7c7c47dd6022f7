"""A subscriber that notes when each numbered picture came, for the benchmark of the camera node."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy

from como_ros.lab.canned_feed import NUMBER_BYTES
from como_ros.nodes.spinning import Spinning
from como_ros.nodes.wiring import message_class
from como_ros.stream_watch import stamp_in
from como_ros.typestore import deserialize


class Picture(NamedTuple):
    number: int
    age_s: float
    """From its stamp to its arrival here."""


class Arrivals(Spinning):
    """Listens while the block runs."""

    def __init__(self, topics: Sequence[str]) -> None:
        super().__init__("arrivals", by_network=False)
        self.pictures: dict[str, list[Picture]] = {topic: [] for topic in topics}
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        for topic in topics:
            note = partial(self._note, topic)
            self._node.create_subscription(message_class(topic), topic, note, qos, raw=True)

    def _note(self, topic: str, cdr: bytes) -> None:
        stamp_ns = stamp_in(cdr)
        if stamp_ns is None:
            return
        age_s = (time.time_ns() - stamp_ns) / 1e9
        pixels = np.asarray(deserialize(cdr, "sensor_msgs/msg/Image").data)
        self.pictures[topic].append(Picture(int(pixels[:NUMBER_BYTES].view("<u4")[0]), age_s))

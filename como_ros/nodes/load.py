"""A camera or an arm made of nothing: numbered messages at a rate, for the benchmarks of recorder and camera.

The number stands in the header's frame, the capture time in its stamp. It sends once something records and
writes what it has sent, topic by topic, into a file.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from std_msgs.msg import String

from como_ros import wire
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.shared_memory import share_pictures
from como_ros.nodes.wiring import message_class, publisher, subscription
from policies.timeline import EE_POSE

FRAMES = 8
"""Pictures that take turns, so that none stays in the processor's cache."""
NOISE = 3.0
"""Of a picture's values, as a sensor has it: pictures without any would be packed to nothing."""
POSE7 = np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class LoadConfig:
    topics: tuple[str, ...] = ()
    """On the wire: images, depth, joint states or poses."""
    rate_hz: float = 30.0
    seconds: float = 60.0
    width: int = 640
    height: int = 480
    out: str = ""
    """File that takes what was sent."""


class LoadNode(Node):
    """Sends from a thread of its own, so that nothing else of the node holds it up."""

    def __init__(self) -> None:
        super().__init__("load")
        self._config = declare_config(self, LoadConfig)
        self._outs = {name: publisher(self, name) for name in self._config.topics}
        self._messages = {name: message_class(name)() for name in self._config.topics}
        rng = np.random.default_rng(0)
        hw = (self._config.height, self._config.width)
        self._colour = [_picture(rng, hw) for _ in range(FRAMES)]
        self._depth = [_depth(rng, hw) for _ in range(FRAMES)]
        self._recording, self._stop = threading.Event(), threading.Event()
        subscription(self, "/recorder/state", self._on_recorder)
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def _on_recorder(self, message: String) -> None:
        if message.data.startswith("recording "):
            self._recording.set()

    def _run(self) -> None:
        while not self._recording.wait(0.05):
            if self._stop.is_set():
                return
        sent: Counter[str] = Counter()
        begun, period = time.monotonic(), 1 / self._config.rate_hz
        for number in range(round(self._config.seconds * self._config.rate_hz)):
            if self._stop.wait(max(0.0, begun + number * period - time.monotonic())):
                break
            for name, out in self._outs.items():
                out.publish(self._filled(name, number))
                sent[name] += 1
        told = {"sent": sent, "seconds": time.monotonic() - begun}
        half = Path(f"{self._config.out}.half")
        half.write_text(json.dumps(told))
        half.replace(self._config.out)

    def _filled(self, name: str, number: int) -> Any:
        message, key, now_ns = self._messages[name], wire.TOPICS[name].key, time.time_ns()
        if key.startswith("images/"):
            wire.fill_image(message, self._colour[number % FRAMES], now_ns, str(number))
        elif key.startswith("depth/"):
            wire.fill_depth(message, self._depth[number % FRAMES], now_ns, str(number))
        elif key == EE_POSE:
            wire.fill_pose(message, POSE7, now_ns, str(number))
        else:
            wire.fill_joint_states(message, np.full(7, number * 1e-3), np.zeros(7), 0.04, now_ns)
            message.header.frame_id = str(number)
        return message

    def destroy_node(self) -> None:
        self._stop.set()
        self._thread.join()
        super().destroy_node()


def _picture(rng: np.random.Generator, hw: tuple[int, int]) -> np.ndarray:
    """A slope with a sensor's noise."""
    slope = np.linspace(40, 200, hw[1]) + np.linspace(0, 40, hw[0])[:, None]
    noisy = slope[..., None] + rng.normal(0, NOISE, (*hw, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def _depth(rng: np.random.Generator, hw: tuple[int, int]) -> np.ndarray:
    """Millimetres: a slope, noisier the farther away."""
    slope = np.linspace(400, 1500, hw[0])[:, None] + np.zeros(hw)
    return (slope + rng.normal(0, 1, hw) * slope / 500).astype(np.uint16)


if __name__ == "__main__":
    share_pictures()
    raise SystemExit(run_node(LoadNode, sys.argv))

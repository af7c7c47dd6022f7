"""A policy made of nothing, for `como bench servo --lab`: chunks of a slow dance while armed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Transform
from rclpy.node import Node
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from como_ros import wire
from como_ros.control.dance import POSE_NS, Dance
from como_ros.control.supervision import POLICY
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import every, publisher, subscription
from policies.spaces import GRIPPER_MAX_M, ActionChunk


@dataclass(frozen=True)
class DanceConfig:
    seed: int = 0
    rate_hz: float = 2.0
    """Of chunks."""


class DanceNode(Node):
    def __init__(self) -> None:
        super().__init__("dance")
        config = declare_config(self, DanceConfig)
        self._dance, self._state, self._sent = Dance(np.random.default_rng(config.seed)), "", 0
        self._out = publisher(self, "/arm/command/chunk")
        subscription(self, "/supervisor/state", self._on_state)
        HealthReporter(self, lambda: Health("dancing", figures={"chunks": self._sent}))
        every(self, 1 / config.rate_hz, self._tick)

    def _on_state(self, message: Any) -> None:
        self._state = message.data

    def _tick(self) -> None:
        if self._state != POLICY:
            return
        stamp_ns = time.time_ns()
        poses = self._dance.chunk(stamp_ns)
        chunk = ActionChunk(stamp_ns, poses, np.full(len(poses), GRIPPER_MAX_M), POSE_NS)
        message = MultiDOFJointTrajectory()
        wire.fill_chunk(message, chunk, MultiDOFJointTrajectoryPoint, Transform, Duration)
        self._out.publish(message)
        self._sent += 1


if __name__ == "__main__":
    raise SystemExit(run_node(DanceNode, sys.argv, by_network=True))

"""Drives a recorded motion again, as teleop does: set-points, widths and the deadman, while teleop is armed.

It goes to where the recorded motion begins, follows it in time, holds its end for a moment, lets go and
writes where the arm has been.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from como_ros import wire
from como_ros.control.supervision import TELEOP
from como_ros.drivers.priority import run_before_others
from como_ros.errors import require_between
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.teleop import PRIORITY, RATES_HZ
from como_ros.nodes.wiring import every, publisher, subscription
from como_ros.recorded_motion import read_motion
from policies.timeline import interpolate_pose7

APPROACH_M_S, APPROACH_RAD_S = 0.1, 0.5
SHORTEST_APPROACH_S = 0.5
HOLD_S = 1.0
"""At the end: the hand may still be opening."""


@dataclass(frozen=True)
class ReplayConfig:
    bag: str = ""
    """Folder of the recorded episode."""
    out: str = ""
    """File that takes the measured poses once the motion is through."""
    rate_hz: float = 50.0

    def __post_init__(self) -> None:
        require_between("the replay's rate_hz", self.rate_hz, *RATES_HZ)


class ReplayNode(Node):
    def __init__(self) -> None:
        super().__init__("replay")
        self._config = declare_config(self, ReplayConfig)
        self._motion = read_motion(Path(self._config.bag))
        self._track: list[tuple[int, np.ndarray]] = []
        self._from: np.ndarray | None = None
        """Where the arm stood when teleop was armed."""
        self._begin_s = 0.0
        """When the recorded motion begins, on the steady clock."""
        self._begin_ns = 0
        self._width: float | None = None
        self._armed = self._done = self._stopped = self._state_known = False
        self._approach_s = SHORTEST_APPROACH_S
        self._pose_out = publisher(self, "/arm/command/pose")
        self._width_out = publisher(self, "/gripper/command")
        self._deadman_out = publisher(self, "/teleop/deadman")
        subscription(self, "/supervisor/state", self._on_state)
        subscription(self, "/arm/ee_pose", self._on_ee_pose)
        HealthReporter(self, self._report)
        every(self, 1 / self._config.rate_hz, self._tick)

    def _on_state(self, message: Any) -> None:
        self._state_known = True
        self._armed = message.data == TELEOP
        if self._from is not None and not self._armed:
            self._stopped = True  # to go on from where the recording is by then would be a jump

    def _on_ee_pose(self, message: Any) -> None:
        self._track.append((wire.stamp_ns(message), wire.pose7_from_msg(message)))

    def _tick(self) -> None:
        if self._done or self._stopped or not self._armed or not self._track:
            return
        if self._from is None:
            self._from = self._track[-1][1]
            self._approach_s = _seconds(self._from, self._motion.commanded.poses7[0])
            self._begin_s = time.monotonic() + self._approach_s
            self._begin_ns = time.time_ns() + round(self._approach_s * 1e9)
        elapsed_s = time.monotonic() - self._begin_s
        if elapsed_s > self._motion.duration_s + HOLD_S:
            self._finish()
        else:
            self._drive(self._from, elapsed_s)

    def _drive(self, start: np.ndarray, elapsed_s: float) -> None:
        self._deadman_out.publish(Bool(data=True))
        pose7 = self._motion.commanded.at(elapsed_s)
        if elapsed_s < 0:
            share = 1 + elapsed_s / self._approach_s
            pose7 = interpolate_pose7(start, pose7, share**3 * (10 - 15 * share + 6 * share**2))
        stamp_ns = time.time_ns()
        self._pose_out.publish(wire.fill_pose(PoseStamped(), pose7, stamp_ns))
        width = self._motion.width_at(elapsed_s)
        if width is not None and width != self._width:
            self._width = width
            self._width_out.publish(
                wire.fill_widths(JointTrajectory(), [width], stamp_ns, JointTrajectoryPoint, Duration)
            )

    def _finish(self) -> None:
        self._done = True
        stamps, poses = zip(*self._track, strict=True)
        half = Path(f"{self._config.out}.half")
        with half.open("wb") as file:
            np.savez(file, times_s=(np.array(stamps) - self._begin_ns) / 1e9, poses7=np.array(poses))
        half.replace(self._config.out)
        self._deadman_out.publish(Bool(data=False))

    def _report(self) -> Health:
        return Health(self._said(), figures={"seconds": self._motion.duration_s})

    def _said(self) -> str:
        if self._from is not None:
            return "done" if self._done else "stopped" if self._stopped else "driving"
        outs = (self._pose_out, self._width_out, self._deadman_out)
        heard = self._state_known and all(out.get_subscription_count() for out in outs)
        return "waiting for teleop" if heard and self._track else "waiting for arm and supervisor"


def _seconds(start: np.ndarray, goal: np.ndarray) -> float:
    """How long to take from one pose to the other."""
    way_m = float(np.linalg.norm(goal[:3] - start[:3]))
    turn_rad = 2 * float(np.arccos(np.clip(abs(start[3:] @ goal[3:]), 0, 1)))
    return max(SHORTEST_APPROACH_S, 2 * way_m / APPROACH_M_S, 2 * turn_rad / APPROACH_RAD_S)


if __name__ == "__main__":
    run_before_others(PRIORITY)
    raise SystemExit(run_node(ReplayNode, sys.argv))

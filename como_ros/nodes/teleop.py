"""An operator's device onto the wire: set-points, widths and the deadman, while driving."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from como_ros import wire
from como_ros.control.supervision import POLICY, READY, TELEOP, Licence
from como_ros.drivers.priority import run_before_others
from como_ros.drivers.teleop import IN_CONSOLE, ON_THEIR_OWN, SERVICES, TeleopDevice
from como_ros.drivers.teleop_hand import HandDevice
from como_ros.errors import ComoError, require_between
from como_ros.nodes.asking import Asking
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import Newest, Refused, every, publisher, subscription

FAILED, WAITS = "device failed", "waiting"
PRIORITY = 4
"""Below the arm and the supervisor, above what sees, thinks and records."""
STALE_S = 0.2
"""Driving starts from where the arm is, so its pose must be fresh; until it is, the hand says nothing, and
the supervisor stops one that is silent for too long."""
RATES_HZ = (20, 500)
"""Two periods of the slowest are the silence after which the arm holds."""
WORKED_M = 0.01
"""Who takes over finds the hand as the policy left it, until the device's grip has moved so far."""


@dataclass(frozen=True)
class TeleopConfig:
    device: str = "scripted"
    control: str = ""
    """The lab's control socket, for the scripted device."""
    rate_hz: float = 50.0

    def __post_init__(self) -> None:
        require_between("the hand's rate_hz", self.rate_hz, *RATES_HZ)


def make_device(config: TeleopConfig) -> TeleopDevice:
    if config.device == "scripted":
        from como_ros.lab.scripted_device import ScriptedDevice

        return ScriptedDevice(config.control)
    if config.device == "spacemouse":
        from como_ros.drivers.teleop_spacemouse import SpaceMouse

        return HandDevice(SpaceMouse)
    if config.device == "gamepad":
        from como_ros.drivers.teleop_gamepad import Gamepad

        return HandDevice(Gamepad)
    known = ", ".join((*ON_THEIR_OWN, *IN_CONSOLE))
    raise ComoError(f"no teleop device named {config.device!r} here; known devices: {known}")


class TeleopNode(Node):
    def __init__(self, device: TeleopDevice | None = None) -> None:
        """Without a device, the one that the configuration names."""
        super().__init__("teleop")
        config = declare_config(self, TeleopConfig)
        self._device = device or make_device(config)
        self._licence = Licence(TELEOP)
        self._ee_pose7: np.ndarray | None = None
        self._ee_stamp_ns = 0
        self._engaged_s: float | None = None
        self._width: float | None = None
        self._took_over = False
        self._grip_at_rest: float | None = None
        self._reason, self._sent = "idle", 0
        self._pose_out = publisher(self, "/arm/command/pose")
        self._width_out = publisher(self, "/gripper/command")
        self._deadman_out = publisher(self, "/teleop/deadman")
        subscription(self, "/supervisor/state", self._on_state)
        self._malformed = Refused(self)
        guarded = self._malformed.guard("/arm/ee_pose", self._on_ee_pose)
        self._ee_pose = Newest(self, "/arm/ee_pose", guarded)
        HealthReporter(self, self._report)
        self._asking = Asking(self, SERVICES, self._told)
        every(self, 1 / config.rate_hz, self._tick)

    def _on_ee_pose(self, message: Any) -> None:
        self._ee_pose7, self._ee_stamp_ns = wire.pose7_from_msg(message), wire.stamp_ns(message)

    def _on_state(self, message: Any) -> None:
        before = self._licence.state
        self._licence.hear(message.data)
        if message.data != before:
            self._took_over, self._grip_at_rest = (before, message.data) == (POLICY, TELEOP), None
        if message.data != TELEOP and self._engaged_s is not None:
            self._device.disengage()
            self._engaged_s, self._width, self._reason = None, None, "idle"

    def _tick(self) -> None:
        try:
            for name in sorted(self._device.pressed(), key=lambda name: name != "stop"):
                self._ask(name)
            self._ee_pose.hear()
            if self._licence.counts and self._ee_pose7 is not None:
                self._drive(self._ee_pose7)
            elif self._hampered:
                self._reason = "idle"
        except Exception as error:  # a device that breaks is a hand that let go
            self._reason = f"{FAILED}: {type(error).__name__}: {error}"
            self._deadman_out.publish(Bool(data=False))
            self.get_logger().error(self._reason, throttle_duration_sec=1.0)

    def _drive(self, ee_pose7: np.ndarray) -> None:
        now = time.monotonic()
        if self._engaged_s is None:
            age_s = (time.time_ns() - self._ee_stamp_ns) / 1e9
            if age_s > STALE_S:
                self._reason = f"{WAITS}: the arm's pose is {age_s:.1f} s old; is the arm node running?"
                self.get_logger().warning(self._reason, throttle_duration_sec=1.0)
                return
            self._device.engage(ee_pose7)
            self._engaged_s, self._reason = now, "driving"
        command = self._device.command(now - self._engaged_s, ee_pose7)
        self._deadman_out.publish(Bool(data=command.held))
        if not command.held:
            return
        stamp_ns = time.time_ns()
        self._pose_out.publish(wire.fill_pose(PoseStamped(), command.pose7, stamp_ns))
        self._sent += 1
        if command.width_m is None:  # the device has not said; whatever it says later was meant
            self._took_over = False
        elif command.width_m != self._width and self._grips(command.width_m):
            self._width = command.width_m
            self._width_out.publish(
                wire.fill_widths(JointTrajectory(), [self._width], stamp_ns, JointTrajectoryPoint, Duration)
            )

    def _grips(self, width_m: float) -> bool:
        """Whether the hand is this device's to move: what a policy held must not fall at a takeover."""
        if self._took_over and self._grip_at_rest is None:
            self._grip_at_rest = width_m
        if self._grip_at_rest is not None and abs(width_m - self._grip_at_rest) > WORKED_M:
            self._took_over, self._grip_at_rest = False, None
        return not self._took_over

    def _ask(self, name: str) -> None:
        """A button of the device; a hand that closes on the deadman drives, or takes over from a policy."""
        if name == "drive" and self._licence.state not in (READY, POLICY):
            return
        self._asking.ask(name)

    def _told(self, text: str, done: bool) -> None:
        if not done:
            self.get_logger().warning(text, throttle_duration_sec=1.0)

    @property
    def _hampered(self) -> bool:
        return self._reason.startswith((FAILED, WAITS))

    def _report(self) -> Health:
        return Health(
            self._reason,
            not self._hampered,
            {"commands": self._sent, "malformed": self._malformed.count},
        )


def main(argv: list[str] | None = None) -> int:
    run_before_others(PRIORITY)
    return run_node(TeleopNode, argv, by_network=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""The one node that may say "move": publishes /supervisor/state, 25 times a second and at every change."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.node import Node
from std_msgs.msg import String

from como_ros.control.servo_config import ServoConfig
from como_ros.control.supervision import REQUESTS, STOPPED, Supervision
from como_ros.drivers.priority import run_before_others
from como_ros.errors import require_between
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import every, publisher, subscription, trigger

FAILED = "inference failed"
PRIORITY = 5
"""Above the station's other nodes, below the arm, which holds while a supervisor is held up."""
BEATS = 2
"""At least so many fall into the silence that holds the arm."""
LONGEST_S = 10.0
"""A deadman that may be silent for longer is none."""


@dataclass(frozen=True)
class SupervisorConfig:
    heartbeat_hz: float = 25.0
    deadman_timeout_s: float = 0.5
    """Driving by hand stops when the deadman has not been heard for so long."""

    def __post_init__(self) -> None:
        slowest_hz = BEATS / ServoConfig.heartbeat_late_s
        require_between("the supervisor's heartbeat_hz", self.heartbeat_hz, slowest_hz, 1000)
        require_between("the supervisor's deadman_timeout_s", self.deadman_timeout_s, 0.05, LONGEST_S)


class SupervisorNode(Node):
    """Thin shell around `Supervision`."""

    def __init__(self) -> None:
        super().__init__("supervisor")
        self._config = declare_config(self, SupervisorConfig)
        self._now = Supervision(since_ns=time.monotonic_ns())
        self._state = publisher(self, "/supervisor/state")
        self._health = HealthReporter(self, self._report)
        subscription(self, "/teleop/deadman", self._on_deadman)
        subscription(self, "/diagnostics", self._on_diagnostics)
        for name in REQUESTS:
            trigger(self, f"/supervisor/{name}", partial(self._request, name))
        every(self, 1 / self._config.heartbeat_hz, self._tick)
        self._publish()

    def _request(self, name: str) -> str:
        self._move_to(self._now.request(name, time.monotonic_ns()))
        return f"state is {self._now.state}"

    def _on_deadman(self, message: Any) -> None:
        self._move_to(self._now.deadman(message.data, time.monotonic_ns()))

    def _on_diagnostics(self, message: Any) -> None:
        """An arm that has stopped by itself, or a policy that cannot think, ends the run."""
        for status in message.status:
            figures = {pair.key: pair.value for pair in status.values}
            if status.name == "arm" and (figures.get("mode") == "fault" or figures.get("alarm")):
                self._move_to(self._now.fault(f"arm {status.message}", time.monotonic_ns()))
            elif status.name == "policy" and status.message.startswith(FAILED):
                self._move_to(self._now.fault(f"policy: {status.message}", time.monotonic_ns()))

    def _tick(self) -> None:
        timeout_ns = round(self._config.deadman_timeout_s * 1e9)
        self._move_to(self._now.tick(time.monotonic_ns(), timeout_ns))
        self._publish()

    def _move_to(self, following: Supervision) -> None:
        changed = following.state != self._now.state
        self._now = following
        if changed:
            self._publish()
            self._health.publish()
            self.get_logger().info(f"{following.state}: {following.reason}")

    def _publish(self) -> None:
        self._state.publish(String(data=self._now.state))

    def _report(self) -> Health:
        message = f"{self._now.state}: {self._now.reason}"
        return Health(message, figures={"state": self._now.state, "latched": str(self._now.state == STOPPED)})


def main(argv: list[str] | None = None) -> int:
    run_before_others(PRIORITY)
    return run_node(SupervisorNode, argv, by_network=True)


if __name__ == "__main__":
    raise SystemExit(main())

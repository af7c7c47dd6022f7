"""/diagnostics of a node, once a second and on demand: one status with a level, a sentence and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from como_ros.nodes.wiring import every

PERIOD_S = 1.0


@dataclass(frozen=True)
class Health:
    """What a node says of itself."""

    message: str = "ok"
    ok: bool = True
    figures: Mapping[str, float | int | str] = field(default_factory=dict)


class HealthReporter:
    """Publishes `report()` every second; `publish` says it at once."""

    def __init__(self, node: Node, report: Callable[[], Health]) -> None:
        self._node = node
        self._report = report
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        every(node, PERIOD_S, self.publish)

    def publish(self) -> None:
        health = self._report()
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK if health.ok else DiagnosticStatus.ERROR,
            name=self._node.get_name(),
            message=health.message,
            values=[KeyValue(key=key, value=_text(value)) for key, value in health.figures.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _text(value: float | int | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)

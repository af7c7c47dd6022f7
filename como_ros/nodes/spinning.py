"""A node for programs that are no node themselves, in a ROS context of its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import rclpy
from rclpy.node import Node
from rclpy.task import Future

from como_ros.nodes import pulse
from como_ros.nodes.lean_executor import LeanExecutor
from como_ros.nodes.process import spin
from como_ros.nodes.shared_memory import domain_id, own_port


class Spinning:
    """Spins in a thread of its own between `with` and its end."""

    def __init__(self, name: str, by_network: bool = True) -> None:
        """Without `by_network`, one that sees pictures."""
        self._context = rclpy.Context()
        with own_port(by_network):
            self._context.init(domain_id=domain_id())
            self._node = Node(name, context=self._context)
        executor = LeanExecutor(context=self._context)
        executor.add_node(self._node)
        self._stopping = Future[None]()
        self._thread = threading.Thread(target=spin, args=(executor, self._stopping), name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set_result(None)
        self._thread.join(timeout=5.0)
        if not pulse.runs():
            pulse.abandon(self)
            return
        self._node.destroy_node()
        self._context.try_shutdown()

"""Buttons that ask other nodes for something, and hear what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from como_ros.nodes.station import ASK_AGAIN_S, REPEATABLE, SERVICE_TIMEOUT_S
from como_ros.nodes.wiring import every


class Asking:
    """By name, the Trigger services that may be asked for; `tell` takes each answer, or that there is none.

    A node that was started again just now may answer before it knows us, or not have heard: where the same
    request may be made twice it is made again.
    """

    def __init__(self, node: Node, services: Mapping[str, str], tell: Callable[[str, bool], None]) -> None:
        self._services, self._tell = services, tell
        self._clients: dict[str, Any] = {
            name: node.create_client(Trigger, path) for name, path in services.items()
        }
        self._waiting: dict[str, float] = {}
        """Name -> when it was asked for."""
        every(node, ASK_AGAIN_S, self._look)

    def ask(self, name: str) -> None:
        """From any thread."""
        if not self._clients[name].service_is_ready():
            self._tell(f"{name}: no node offers {self._services[name]}", False)
            return
        self._waiting[name] = time.monotonic()
        self._request(name)

    def _request(self, name: str) -> None:
        answer = self._clients[name].call_async(Trigger.Request())
        answer.add_done_callback(lambda done: self._answered(name, done.result()))

    def _answered(self, name: str, answer: Any) -> None:
        """Told once, also where it was asked twice."""
        if self._waiting.pop(name, None) is not None:
            self._tell(f"{name}: {answer.message}", answer.success)

    def _look(self) -> None:
        for name, asked_s in list(self._waiting.items()):
            if time.monotonic() - asked_s > SERVICE_TIMEOUT_S:
                self._waiting.pop(name, None)
                self._tell(f"{name}: no answer within {SERVICE_TIMEOUT_S:.0f} s", False)
            elif self._services[name].startswith(REPEATABLE):
                self._request(name)

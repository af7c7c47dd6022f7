"""A client of the running graph for programs that are no node themselves: call, say, read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from como_ros import wire
from como_ros.errors import ComoError
from como_ros.graphs import SILENT
from como_ros.nodes.spinning import Spinning
from como_ros.nodes.wiring import publisher, subscription

SERVICE_TIMEOUT_S = 30.0
ASK_AGAIN_S = 1.0
REPEATABLE = "/recorder/"
"""Services that take a request repeated at once for the same one: an answer that is lost loses nothing."""
STOP = "/supervisor/stop"
UNDER_WAY_S = 10.0
"""Longer than words take to arrive; a clock that is set back hides a new node no longer than this."""
ALONE_S = 1.0
"""How long discovery may take to find another graph on the network."""


class Station(Spinning):
    """Answers and words come in while the block runs."""

    def __init__(self) -> None:
        super().__init__("station")
        self._figures: dict[str, dict[str, str]] = {}
        self._messages: dict[str, str] = {}
        self._ok: set[str] = set()
        self._gone: dict[str, tuple[int, float]] = {}
        """When, by its own clock and for how long by ours, a node's words do not count."""
        self._clients: dict[str, Any] = {}
        self._client(STOP)
        self.supervisor_state = ""
        self._instruction = publisher(self._node, "/policy/instruction")
        subscription(self._node, "/diagnostics", self._on_diagnostics)
        subscription(self._node, "/supervisor/state", self._on_state)

    def _on_diagnostics(self, message: Any) -> None:
        stamp_ns = wire.stamp_ns(message)
        for status in message.status:
            gone_ns, until_s = self._gone.get(status.name, (0, 0.0))
            if stamp_ns < gone_ns and time.monotonic() < until_s:
                continue
            self._figures[status.name] = {pair.key: pair.value for pair in status.values}
            self._messages[status.name] = status.message
            (self._ok.add if status.level == b"\x00" else self._ok.discard)(status.name)

    def _on_state(self, message: Any) -> None:
        self.supervisor_state = message.data

    def wait_ready(self, nodes: Collection[str], timeout_s: float, check: Callable[[], None]) -> None:
        """Until every node has said that it is well; `check` may end the wait by raising."""
        deadline = time.monotonic() + timeout_s
        while missing := [name for name in nodes if name not in self._ok]:
            check()
            if time.monotonic() > deadline:
                said = "; ".join(f"{name}: {self.message(name)}" for name in missing)
                raise ComoError(f"not ready after {timeout_s:.0f} s: {said}; see the logs")
            time.sleep(0.05)

    def stop_at_once(self) -> None:
        """Ask for the supervisor's stop and wait for nothing; one that is dead moves nobody either."""
        self._client(STOP).call_async(Trigger.Request())

    def forget(self, node: str) -> None:
        """It has ended: what it said last is not so any more, nor what is still under way."""
        self._gone[node] = time.time_ns(), time.monotonic() + UNDER_WAY_S
        self._ok.discard(node)
        self._figures.pop(node, None)
        self._messages.pop(node, None)

    def require_alone(self) -> None:
        """Refuse to join a domain in which a supervisor already speaks: two graphs would drive one arm."""
        deadline = time.monotonic() + ALONE_S
        while time.monotonic() < deadline:
            if self._node.count_publishers("/supervisor/state"):
                domain = self._context.get_domain_id()
                raise ComoError(
                    f"a graph is already running in ROS domain {domain}; end it or set another ROS_DOMAIN_ID"
                )
            time.sleep(0.05)

    def figures(self, node: str) -> dict[str, str]:
        """What a node last published about itself."""
        return dict(self._figures.get(node, {}))

    def message(self, node: str) -> str:
        """What a node last said of itself, in words."""
        return self._messages.get(node, SILENT)

    def say(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def _client(self, service: str) -> Any:
        """Made once a service: finding it anew for each call would cost a stop some 100 ms."""
        if service not in self._clients:
            self._clients[service] = self._node.create_client(Trigger, service)
        return self._clients[service]

    def call(self, service: str) -> str:
        """Call a Trigger service; a refusal raises `ComoError`."""
        client = self._client(service)
        if not client.wait_for_service(SERVICE_TIMEOUT_S):
            raise ComoError(f"no node offers {service}; is the graph up?")
        asked, begun_s = [client.call_async(Trigger.Request())], time.monotonic()
        while not any(future.done() for future in asked):
            waited_s = time.monotonic() - begun_s
            if waited_s > SERVICE_TIMEOUT_S:
                raise ComoError(f"{service} gave no answer within {SERVICE_TIMEOUT_S:.0f} s")
            if service.startswith(REPEATABLE) and waited_s > ASK_AGAIN_S * len(asked):
                asked.append(client.call_async(Trigger.Request()))
            time.sleep(0.002)
        answer = next(future.result() for future in asked if future.done())
        if answer is None or not answer.success:
            raise ComoError(f"{service} refused: {answer.message if answer else 'no answer'}")
        return str(answer.message)

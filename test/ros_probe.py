"""A node on the other side of the wire, and real node processes to talk to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_srvs.srv import Trigger

from como_ros.nodes.spinning import Spinning
from como_ros.nodes.station import ASK_AGAIN_S, REPEATABLE
from como_ros.nodes.wiring import heard_profile, message_class, profile

PATIENCE_S = 15.0


class Stalls:
    """How long this machine kept a thread that wanted to run from running: what a time bound must allow."""

    NAP_S = 0.01

    def __init__(self) -> None:
        self._rows: list[tuple[int, float]] = []
        self._end = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._end.is_set():
            begun = time.monotonic()
            time.sleep(self.NAP_S)
            over = time.monotonic() - begun - self.NAP_S
            if over > self.NAP_S / 2:
                self._rows.append((time.time_ns(), over))

    def after(self, moment_ns: int, within_s: float = 1.0) -> float:
        """Seconds stalled in the time after a moment; nearly none on a machine that keeps up."""
        end_ns = moment_ns + round(within_s * 1e9)
        return sum(over for at, over in list(self._rows) if moment_ns <= at - over * 1e9 <= end_ns)

    def close(self) -> None:
        self._end.set()


class Probe(Spinning):
    """Listens, speaks and calls services; every message is kept with its time of arrival."""

    def __init__(self, by_network: bool = False) -> None:
        super().__init__("probe", by_network)
        self.node, self.context = self._node, self._context
        self.stalls = Stalls()
        self.heard: dict[str, list[tuple[float, Any]]] = {}
        self.__enter__()

    def listen(self, topic: str) -> list[tuple[float, Any]]:
        kept = self.heard.setdefault(topic, [])

        def keep(message: Any) -> None:
            kept.append((time.monotonic(), message))

        self.node.create_subscription(message_class(topic), topic, keep, heard_profile(topic))
        return kept

    def speak(self, topic: str) -> Any:
        return self.node.create_publisher(message_class(topic), topic, profile(topic))

    def call(self, service: str) -> tuple[bool, str]:
        answer = self.ask(service, Trigger, Trigger.Request(), again=service.startswith(REPEATABLE))
        return answer.success, answer.message

    def change(self, node: str, transition: str) -> bool:
        """As `ros2 lifecycle set`."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return self.ask(f"/{node}/change_state", ChangeState, request).success

    def stage(self, node: str) -> str:
        """As `ros2 lifecycle get`."""
        return self.ask(f"/{node}/get_state", GetState, GetState.Request()).current_state.label

    def ask(self, service: str, kind: Any, request: Any, again: bool = False) -> Any:
        """With `again` once a second: a server that has just come up may answer before it knows us."""
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(PATIENCE_S), f"{service} never came up"
        asked, begun_s = [client.call_async(request)], time.monotonic()

        def answered() -> bool:
            if again and time.monotonic() - begun_s > ASK_AGAIN_S * len(asked):
                asked.append(client.call_async(request))
            return any(future.done() for future in asked)

        wait_until(answered, f"{service} to answer")
        answer = next(future.result() for future in asked if future.done())
        self.node.destroy_client(client)
        assert answer is not None
        return answer

    def close(self) -> None:
        self.stalls.close()
        self.__exit__(None, None, None)


def children() -> set[str]:
    """The processes that this one has started and that are still there, each with its name."""
    tasks = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {f"{task} {command_of(task)}" for task in tasks}


def command_of(task: str) -> str:
    try:
        return Path(f"/proc/{task}/cmdline").read_text().replace("\0", " ").strip()
    except FileNotFoundError:
        return "(gone)"


def wait_until(true: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        time.sleep(0.005)


class Processes:
    """Modules run as processes of their own; none survives the test."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def node(self, module: str, **parameters: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"como_ros.nodes.{module}", "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        return self.run(command)

    def run(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

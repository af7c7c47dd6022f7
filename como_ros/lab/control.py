"""The lab's own commands over a Unix socket, one JSON object a line, one answer a line.

    {"cmd": "reset", "seed": 7}     objects as the seed says; the arm stays where it is
    {"cmd": "status"}               success, reason, task, seed, instruction, time, ready; how fast the world
                                    runs, faults that are on, cycles of control and how many were lost, the
                                    largest force and torque felt since the last reset
    {"cmd": "truth"}                poses of things and ee, joints, width (scripted operators, metrics)
    {"cmd": "push", "force": [0, 10, 0]}    somebody pushes the hand, in N, until told otherwise
    {"cmd": "fault", "name": "fci_packet_loss", "on": true, "value": 0.2}
    {"cmd": "fault", "name": "reflex", "kind": "joint_reflex"}
    {"cmd": "fault", "name": "none"}    all off; `como_ros.lab.faults` lists them

A bad line is answered with {"error": "..."} and the connection stays.
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from como_ros.errors import ComoError
from como_ros.lab.faults import Order

if TYPE_CHECKING:
    from como_ros.lab.fci import Lab


LONGEST_LINE = 4096
STRONGEST_N = 200.0
"""What a person may push with."""


class ControlSocket:
    """Serves the socket from a thread while the context is open."""

    def __init__(self, path: Path, lab: Lab) -> None:
        self._path, self._lab = path, lab
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()

    def __enter__(self) -> ControlSocket:
        threading.Thread(target=self._accept, name="lab control", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._converse, args=(client,), daemon=True).start()

    def _converse(self, client: socket.socket) -> None:
        with client, client.makefile("rw") as stream:
            try:
                for line in iter(lambda: stream.readline(LONGEST_LINE), ""):
                    stream.write(json.dumps(self._answer(line)) + "\n")
                    stream.flush()
            except (OSError, UnicodeDecodeError):
                return  # the client has gone, or does not speak text

    def _answer(self, line: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ComoError(f"a command is a JSON object, got {type(request).__name__}")
            return self._execute(request)
        except (ValueError, OverflowError, RecursionError, TimeoutError) as error:
            return {"error": str(error) or "the physics does not answer"}

    def _execute(self, request: dict[str, Any]) -> dict[str, Any]:
        arm = self._lab.arm
        command = request.get("cmd")
        if command == "reset":
            seed = request.get("seed")
            if not isinstance(seed, int) or isinstance(seed, bool):
                raise ComoError(f"reset needs a seed, an integer from 0 on, got {seed!r}")
            arm.ask(lambda: arm.reset(seed))
            return self._status()
        if command == "status":
            return self._status()
        if command == "truth":
            return arm.ask(arm.truth)
        if command == "push":
            force = _force(request.get("force"))
            return arm.ask(lambda: arm.push(force))
        if command == "fault":
            return self._lab.faults.set(_order(request))
        raise ComoError(f"no command {command!r}; known: reset, status, truth, push, fault")

    def _status(self) -> dict[str, Any]:
        lab = self._lab
        return lab.arm.ask(lab.arm.status) | {"faults": lab.faults.on, "control": asdict(lab.server.counts)}


def _force(told: Any) -> np.ndarray:
    """(3,) Newton from JSON."""
    numbers = told if isinstance(told, list) else []
    if len(numbers) != 3 or not all(type(x) in (int, float) and abs(x) <= STRONGEST_N for x in numbers):
        raise ComoError(f"push needs a force, three numbers of up to {STRONGEST_N:g} N, got {told!r}")
    return np.array(numbers, float)


def _order(request: dict[str, Any]) -> Order:
    """A fault's order from JSON; what it may say more is checked by the fault."""
    name, on = request.get("name"), request.get("on", True)
    if not isinstance(name, str) or not isinstance(on, bool):
        raise ComoError(f"a fault needs a name and on, true or false, got {name!r} and {on!r}")
    texts = {extra: request.get(extra) for extra in ("kind", "camera")}
    for extra, text in texts.items():
        if not isinstance(text, str | None):
            raise ComoError(f"{extra} of a fault is a name, got {text!r}")
    value = request.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ComoError(f"value of a fault is a number, got {value!r}")
    return Order(name, on, value, **texts)

"""The lab's own commands over a Unix socket, one JSON object a line, one answer a line.

    {"cmd": "reset", "seed": 7}     objects as the seed says; the arm stays where it is
    {"cmd": "status"}               success, reason, time, ready, task, seed, instruction
    {"cmd": "truth"}                poses of things and ee, joints, width (scripted operators, metrics)
    {"cmd": "fault", "name": "camera_freeze", "on": true}
    {"cmd": "fault", "name": "reflex"}

A bad line is answered with {"error": "..."} and the connection stays.
"""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from franka_sim.motion_limits import CONTROLLER_TORQUE_DISCONTINUITY_INDEX

from como_ros.errors import ComoError

if TYPE_CHECKING:
    from como_ros.lab.fci import Lab

FAULTS = ("camera_freeze", "reflex")


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
                for line in stream:
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
        except (ValueError, TimeoutError) as error:
            return {"error": str(error) or "the physics does not answer"}

    def _execute(self, request: dict[str, Any]) -> dict[str, Any]:
        arm = self._lab.arm
        command = request.get("cmd")
        if command == "reset":
            seed = request.get("seed")
            if not isinstance(seed, int) or seed < 0:
                raise ComoError(f"reset needs a seed, an integer from 0 on, got {seed!r}")
            arm.ask(lambda: arm.reset(seed))
            return arm.ask(arm.status)
        if command == "status":
            return arm.ask(arm.status)
        if command == "truth":
            return arm.ask(arm.truth)
        if command == "fault":
            return self._fault(request.get("name"), bool(request.get("on", True)))
        raise ComoError(f"no command {command!r}; known: reset, status, truth, fault")

    def _fault(self, name: Any, on: bool) -> dict[str, Any]:
        if name == "camera_freeze":
            self._lab.arm.cameras_frozen = on
        elif name == "reflex":
            self._lab.server._abort_with_error(CONTROLLER_TORQUE_DISCONTINUITY_INDEX, "fault: reflex")
        else:
            raise ComoError(f"no fault {name!r}; known: {', '.join(FAULTS)}")
        return {"fault": name, "on": on}

"""Ask a running lab: reset, status, truth, a push, faults (see `como_ros.lab.control` for the other end)."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from como_ros.errors import ComoError


class LabClient:
    """One connection to the lab's control socket."""

    def __init__(self, path: str | Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            raise ComoError(f"no lab answers at {path}: {error.strerror}; start `como lab` first") from error
        self._stream = self._socket.makefile("rw")

    def _ask(self, **request: Any) -> dict[str, Any]:
        try:
            self._stream.write(json.dumps(request) + "\n")
            self._stream.flush()
            line = self._stream.readline()
        except OSError:
            line = ""
        if not line:
            raise ComoError("the lab closed the connection; it has ended, its log says why")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ComoError(f"lab: {answer['error']}")
        return answer

    def reset(self, seed: int) -> dict[str, Any]:
        return self._ask(cmd="reset", seed=seed)

    def status(self) -> dict[str, Any]:
        return self._ask(cmd="status")

    def truth(self) -> dict[str, Any]:
        return self._ask(cmd="truth")

    def push(self, force_n: Sequence[float]) -> dict[str, Any]:
        """Push the arm's hand with (3,) N in the base frame, until told otherwise."""
        return self._ask(cmd="push", force=list(force_n))

    def fault(self, name: str, on: bool = True, **more: Any) -> dict[str, Any]:
        """Switch a fault; `more` are value, kind or camera, as the fault needs."""
        return self._ask(cmd="fault", name=name, on=on, **more)

    def close(self) -> None:
        with suppress(OSError):  # what was not sent goes nowhere once the lab has ended
            self._stream.close()
        self._socket.close()

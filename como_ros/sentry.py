"""Sees within some milliseconds that a process is ending.

A killed process can take seconds to give its memory back (measured: 1.7 s for the camera node), and only then
can its parent wait for it. The kernel marks it as exiting when it begins.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from io import BytesIO, FileIO
from types import TracebackType

from como_ros.drivers.priority import run_before_others

PERIOD_S, PRIORITY = 0.01, 5
EXITING = 0x4
"""PF_EXITING of Linux, among a task's flags."""
AFTER_NAME = {"state": 0, "flags": 6}
"""Places of fields in /proc/PID/stat, counted after the name in brackets."""


class Sentry:
    """Calls `on_end(name)` once, in a thread of its own, when a watched process ends."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._watched: dict[str, FileIO | BytesIO] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sentry", daemon=True)

    def __enter__(self) -> Sentry:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for stat in self._watched.values():
            stat.close()

    def watch(self, name: str, pid: int) -> None:
        """From now on, in place of an earlier process of that name."""
        self._watched = {**self._watched, name: _stat(pid)}

    def _run(self) -> None:
        run_before_others(PRIORITY)
        while not self._stop.wait(PERIOD_S):
            for name, stat in self._watched.items():
                if not stat.closed and is_ending(stat):
                    stat.close()
                    self._tell(name)

    def _tell(self, name: str) -> None:
        try:
            self._on_end(name)
        except Exception:  # the next death must be seen all the same
            traceback.print_exc()


def _stat(pid: int) -> FileIO | BytesIO:
    """Kept open: to open it for every look takes seven times as long."""
    try:
        return FileIO(f"/proc/{pid}/stat")
    except FileNotFoundError:
        return BytesIO()


def is_ending(stat: FileIO | BytesIO) -> bool:
    """Whether the process of this file is on its way out, or gone."""
    stat.seek(0)
    try:
        fields = stat.read().rpartition(b")")[2].split()
    except ProcessLookupError:
        return True
    return (
        not fields or fields[AFTER_NAME["state"]] in b"ZX" or bool(int(fields[AFTER_NAME["flags"]]) & EXITING)
    )

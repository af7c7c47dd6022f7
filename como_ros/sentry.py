"""Sees at once that a process has ended, without asking it over and over."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from types import TracebackType

from como_ros.drivers.priority import run_before_others

LOOK_S, PRIORITY = 0.2, 5


class Sentry:
    """Calls `on_end(name)` in a thread of its own within a millisecond of a watched process's end."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._names: dict[int, str] = {}
        self._poll = select.epoll()
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
        for file in self._names:
            os.close(file)
        self._poll.close()

    def watch(self, name: str, pid: int) -> None:
        """From now on; one that has ended already is told of at once."""
        file = os.pidfd_open(pid)
        self._names[file] = name
        self._poll.register(file, select.EPOLLIN)

    def _run(self) -> None:
        run_before_others(PRIORITY)
        while not self._stop.is_set():
            for file, _ in self._poll.poll(LOOK_S):
                self._poll.unregister(file)
                name = self._names.pop(file)
                os.close(file)
                with contextlib.suppress(Exception):  # who tells must not end the watch over the others
                    self._on_end(name)

"""Promises to callers in other threads, every one of which is kept."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from como_ros.errors import ComoError


class Answers:
    """Hands out futures; `close` answers those still open, and from then on each at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: ComoError | None = None
        self._open: set[Future[str]] = set()

    def new(self) -> Future[str]:
        answer: Future[str] = Future()
        with self._lock:
            if self._closed is None:
                self._open.add(answer)
                answer.add_done_callback(self._open.discard)
            else:
                answer.set_exception(self._closed)
        return answer

    def close(self, why: str) -> None:
        with self._lock:
            self._closed = ComoError(why)
        for answer in list(self._open):
            answer.set_exception(self._closed)

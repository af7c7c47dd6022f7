"""System time against the clock that nobody sets: whether somebody has set it since the last look."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_NS = 50_000_000
"""More than a time server slews from one round to the next, less than a stale command is old."""
SURE_NS, TRIES = 1_000_000, 5


class ClockWatch:
    """Asked in every round."""

    def __init__(
        self, system: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._system, self._steady = system, steady
        self._apart_ns, _ = self._look()

    def jump_s(self) -> float:
        """How far system time has been set since the last sure look, in seconds; 0 where it has not."""
        apart_ns, doubt_ns = self._look()
        if doubt_ns > SURE_NS:
            return 0.0
        jump_ns, self._apart_ns = apart_ns - self._apart_ns, apart_ns
        return jump_ns / 1e9 if abs(jump_ns) > LIMIT_NS else 0.0

    def _look(self) -> tuple[int, int]:
        """System time less steady time and how far that may be off: a thread can be held up in between."""
        for _ in range(TRIES):
            before_ns, system_ns, after_ns = self._steady(), self._system(), self._steady()
            if after_ns - before_ns <= SURE_NS:
                break
        return system_ns - (before_ns + after_ns) // 2, after_ns - before_ns


def jumped(jump_s: float) -> str:
    return f"the system clock jumped by {jump_s:+.2f} s"

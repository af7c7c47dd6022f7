"""franky's loop of 1 kHz on the core of a simulated robot, while that moves and is heard.

Where a core stands still for a while, as a virtual machine's host makes it, the two then do so together; on
two cores the robot would miss commands that the loop never had a chance to send. At all other times they are
apart: libfranka, at the highest priority, spins while a robot that hangs up owes it an answer, and would keep
the lab from going on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SILENT_S = 0.1
"""A robot whose clock stands still for longer may be waiting for the core."""


class SharedCore:
    """Shown the robot in every round; where that has a machine of its own nothing is moved."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._cores = os.sched_getaffinity(0)
        self._loop: set[int] = set()
        self._together = False
        self._robot_s, self._heard_s = -1.0, 0.0

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Around what starts the loop, or gives it another law."""
        self.part()
        before = _threads()
        yield
        self._loop = (_threads() - before) or self._loop

    def follow(self, moves: bool, robot_s: float) -> None:
        """One look at the robot and its clock."""
        now_s = time.monotonic()
        if robot_s != self._robot_s:
            self._robot_s, self._heard_s = robot_s, now_s
        self._be(self._wanted and moves and now_s - self._heard_s < SILENT_S)

    def part(self) -> None:
        """Before whatever may wait for the robot's answer."""
        self._be(together=False)

    def _be(self, together: bool) -> None:
        if together == self._together:
            return
        self._together = together
        cores = {max(self._cores)} if together else self._cores
        for thread in self._loop & _threads():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)


def _threads() -> set[int]:
    """Of this process."""
    return {int(name) for name in os.listdir("/proc/self/task")}

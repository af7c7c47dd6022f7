"""Whether Fast DDS's own clockwork still runs in this process, and what to do when it stands.

Fast DDS can lock itself: its thread for timed events waits for the list of participants while the thread that
strikes a publisher off that list waits for a timed event to end. It needs a publisher that goes in the very
instant in which we say that we are there: seen once in some hundred ends of a whole graph, known to its
makers, open in 3.2. Such a process hears what it heard before, finds nobody new, repeats nothing that was
lost, and hangs when it takes its publishers down. Nothing in it can set it free; started again it is well.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

TASKS = Path("/proc/self/task")
CLOCKWORK = "dds.ev"
"""How Fast DDS names the thread; it wakes every 0.3 s to say that its participant is there."""
PERIOD_S, STILL_TICKS = 0.5, 6
"""Counted in rounds of our own, so that a process that did not run at all has not stood still."""
FROZEN_S = 15.0
"""A process whose interpreter has not had a turn for so long ends too, with a trace of all its threads."""
LOCKED = "Fast DDS has locked itself in this process"
_abandoned: list[object] = []
"""Kept, since nobody may take them down."""


def beats(name: str = CLOCKWORK) -> dict[str, int]:
    """How often each such thread of this process has gone to sleep so far."""
    counts = {}
    for task in TASKS.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text().startswith(name):
                status = (task / "status").read_text()
                counts[task.name] = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return counts


class Pulse:
    """Counts the rounds in which a thread did not move."""

    def __init__(self, name: str = CLOCKWORK) -> None:
        self._name = name
        self._seen: dict[str, int] = {}
        self._still: dict[str, int] = {}

    def still_ticks(self) -> int:
        """To be called once a round; of the thread that has stood for longest."""
        now = beats(self._name)
        self._still = {
            task: self._still.get(task, 0) + 1 if self._seen.get(task) == count else 0
            for task, count in now.items()
        }
        self._seen = now
        return max(self._still.values(), default=0)


def end_when_it_stands() -> None:
    """For a node: a process that is gone is seen, stopped for and started again; one that is deaf is not."""
    threading.Thread(target=_watch, name="pulse", daemon=True).start()


def _watch() -> None:
    pulse = Pulse()
    while pulse.still_ticks() < STILL_TICKS:
        faulthandler.dump_traceback_later(FROZEN_S, exit=True)
        time.sleep(PERIOD_S)
    sys.stderr.write(f"{LOCKED} and hears no newcomer; it ends, to be started again\n")
    sys.stderr.flush()
    os._exit(1)


def runs(within_s: float = STILL_TICKS * PERIOD_S, name: str = CLOCKWORK) -> bool:
    """Whether every such thread moves; waits until it has, a third of a second at most where all is well."""
    begun = beats(name)
    for _ in range(round(within_s / 0.01)):
        now = beats(name)
        if all(now.get(task) != count for task, count in begun.items()):
            return True
        time.sleep(0.01)
    return False


def abandon(what: object) -> None:
    """Leave what cannot be taken down to the end of the process, which `leave` makes short."""
    sys.stderr.write(f"{LOCKED}; what it held is left to the end of the process\n")
    _abandoned.append(what)


def leave(code: int) -> None:
    """End the process here, its own last acts done, before the libraries' exit handlers.

    Those wait for what was abandoned; and where one process has drawn pictures and spoken ROS, they crash.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)

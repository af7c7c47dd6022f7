"""Ask the kernel to run this process before others: late set-points are what the robot punishes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def run_before_others(level: int) -> bool:
    """First-in-first-out scheduling at `level` for this thread and those it starts; False when not allowed.

    It takes root, CAP_SYS_NICE or an rtprio limit; without, everything works on a machine that is not busy.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
    except PermissionError:
        return False
    return True


def stay_on_one_core() -> int:
    """For a process whose threads wait for one interpreter: in turn on one core they wake each other sooner.

    On the last one, for this thread and those it starts; interrupts tend to come to the first. Returns which.
    """
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def run_like_others() -> None:
    """Give up what this thread inherited, for itself and those it starts."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def like_others_after(seconds: float) -> Iterator[None]:
    """What takes this thread longer in here it goes on with like others, and afterwards is what it was.

    For a library that gives itself the highest priority, sooner or later, and may then wait for an answer
    without sleeping.
    """
    thread, over = threading.get_native_id(), threading.Event()
    was: list[tuple[int, os.sched_param]] = []

    def give_up() -> None:
        while not over.wait(seconds):
            if (policy := os.sched_getscheduler(thread)) != os.SCHED_OTHER:
                was[:] = [(policy, os.sched_getparam(thread))]
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))

    watch = threading.Thread(target=give_up, name="priority", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        if was and os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, *was[0])


def prefer(niceness: int) -> bool:
    """A larger share of a busy machine, for this thread and those it starts; False when not allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except PermissionError:
        return False
    return True

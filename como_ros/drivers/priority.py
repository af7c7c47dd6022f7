"""Ask the kernel to run this process before others: late set-points are what the robot punishes."""

from __future__ import annotations

import os


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


def prefer(niceness: int) -> bool:
    """A larger share of a busy machine, for this thread and those it starts; False when not allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except PermissionError:
        return False
    return True

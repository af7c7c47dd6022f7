"""Jobs shared out to worker processes, answers in order; no worker outlives whoever shared them out."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from como_ros.errors import ComoError

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_PR_SET_PDEATHSIG = 1


def over_processes(work: Callable[[Job], Answer], jobs: Sequence[Job], workers: int) -> Iterator[Answer]:
    """What `work` makes of each job; a worker that is killed ends everything with a sentence."""
    if workers < 1:
        raise ComoError(f"{workers} workers do no work; give --workers 1 or more")
    count = min(workers, len(jobs))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _die_with, (os.getpid(),)) as pool:
        try:
            yield from pool.map(work, jobs)
        except BrokenProcessPool as error:
            raise ComoError(
                f"one of {count} worker processes was killed, perhaps for want of memory; "
                "look at `dmesg`, then try again with fewer --workers"
            ) from error


def _die_with(parent: int) -> None:
    """In the worker: it would otherwise wait for jobs for ever when its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

"""Jobs shared out to worker processes, answers in order; no worker outlives whoever shared them out."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from como_ros.errors import ComoError
from como_ros.runs import die_with

Job = TypeVar("Job")
Answer = TypeVar("Answer")


def require_workers(workers: int) -> None:
    """Before a folder is made for their work."""
    if workers < 1:
        raise ComoError(f"{workers} workers do no work; give --workers 1 or more")


def over_processes(work: Callable[[Job], Answer], jobs: Sequence[Job], workers: int) -> Iterator[Answer]:
    """What `work` makes of each job; a worker that is killed ends everything with a sentence."""
    require_workers(workers)
    count = min(workers, len(jobs))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, die_with, (os.getpid(),)) as pool:
        try:
            yield from pool.map(work, jobs)
        except BrokenProcessPool as error:
            raise ComoError(
                f"one of {count} worker processes was killed, perhaps for want of memory; "
                "look at `dmesg`, then try again with fewer --workers"
            ) from error

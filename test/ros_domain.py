"""A ROS domain to oneself, also beside another run of the tests: the holder of its lock file has it."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

DOMAINS = range(1, 101)
"""Those whose ports every Linux machine has free; 0 is left to whoever works here."""
FOLDER = Path(tempfile.gettempdir())


@contextmanager
def domain(start: int) -> Iterator[int]:
    """The first free domain, counted from `start` and round, while the block lasts."""
    for step in range(len(DOMAINS)):
        number = DOMAINS[(start + step) % len(DOMAINS)]
        if lock := _taken(FOLDER / f"como_domain_{number}.lock"):
            with lock:
                yield number
            return
    raise RuntimeError(f"all {len(DOMAINS)} ROS domains are taken: {FOLDER}/como_domain_*.lock")


def _taken(path: Path) -> IO[str] | None:
    """The open lock file, or None when somebody else has it."""
    try:
        lock = path.open("w")
    except PermissionError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock

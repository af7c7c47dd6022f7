"""Long runs: one at a time in a folder, none that cannot save what it makes, none beyond its parent's end."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from como_ros.errors import ComoError

_PR_SET_PDEATHSIG = 1


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder and hold it; a run that is killed lets go of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):  # what cannot be written is said now, not when the work is done
        claim = os.open(folder, os.O_RDONLY)
    try:
        _hold(claim, folder)
        yield
    finally:
        os.close(claim)


def _hold(claim: int, folder: Path) -> None:
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ComoError(f"another run works in {folder}; wait for its end or give another folder") from error
    except OSError as error:  # network drives
        why = f"lies on a file system without locks ({error.strerror})"
        sys.stderr.write(f"{folder} {why}: see that no other run works there\n")


def die_with(parent: int) -> None:
    """In a child: it would otherwise go on, or wait for jobs for ever, when its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

"""Long runs: one at a time in a folder, none that cannot save what it makes, none beyond its parent's end."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from como_ros.errors import ComoError

_PR_SET_PDEATHSIG = 1


@contextmanager
def alone_in(folder: Path, waits: bool = False) -> Iterator[None]:
    """Make the folder and hold it; a run that is killed lets go of it. Refused where another is, or waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):  # what cannot be written is said now, not when the work is done
        claim = os.open(folder, os.O_RDONLY)
    try:
        _hold(claim, folder, waits)
        yield
    finally:
        os.close(claim)


@contextmanager
def alone_in_new(folder: Path) -> Iterator[None]:
    """As `alone_in`; what another run has put into the folder meanwhile is refused, not mixed with ours."""
    with alone_in(folder):
        if any(folder.iterdir()):
            raise ComoError(f"{folder} is not empty; give a new folder with --out")
        yield


def _hold(claim: int, folder: Path, waits: bool) -> None:
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if not waits:
            raise ComoError(
                f"another run works in {folder}; wait for its end or give another folder"
            ) from error
        sys.stderr.write(f"another run works in {folder}: waiting for it\n")
        fcntl.flock(claim, fcntl.LOCK_EX)
    except OSError as error:  # network drives
        why = f"lies on a file system without locks ({error.strerror})"
        sys.stderr.write(f"{folder} {why}: see that no other run works there\n")


def made_once(path: Path, make: Callable[[Path], None]) -> None:
    """A file that several runs need: the first makes it, the others wait; half of it never has its name."""
    if path.is_file():
        return
    with alone_in(path.parent, waits=True):
        if not path.is_file():
            part = path.with_suffix(".part")
            make(part)
            part.replace(path)


def die_with(parent: int) -> None:
    """In a child: it would otherwise go on, or wait for jobs for ever, when its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

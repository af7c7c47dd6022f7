"""The world's state in shared memory: one writer (the physics), any number of readers, nobody ever waits.

A sequence lock: the writer makes the counter odd, writes, makes it even; a reader that saw the counter odd
or changed reads again. The block is a file under /dev/shm, so a killed server leaves nothing but that file
and the next server replaces it. A reader attached to a replaced block keeps reading the old one.

Beside the vector lie a few settings, single numbers that stand until set again (the cameras' faults);
the lock does not cover them, since a machine writes one number whole.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import numpy as np

from como_ros.errors import ComoError

FOLDER = Path("/dev/shm")
SETTINGS = 16
_HEADER = 3  # int64: sequence, stamp, number of values; then the settings, then the values, float64
_PATIENCE_S = 1.0
"""A writer may be put to sleep in the middle of a write; longer than this and it is dead."""


class SharedState:
    """A vector of floats and the moment it was true; make one with `create` or `attach`."""

    def __init__(self, path: Path, block: mmap.mmap, owner: bool) -> None:
        self._path, self._block, self._owner = path, block, owner
        self._header = np.frombuffer(block, np.int64, _HEADER)
        self.settings = np.frombuffer(block, np.float64, SETTINGS, _HEADER * 8)
        self._values = np.frombuffer(block, np.float64, int(self._header[2]), (_HEADER + SETTINGS) * 8)

    @classmethod
    def create(cls, name: str, size: int) -> SharedState:
        """A new block of `size` floats, in place of an old one with the same name."""
        path = _path(name)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        header = np.array([0, 0, size], np.int64).tobytes()
        fresh.write_bytes(header + bytes(8 * (SETTINGS + size)))
        fresh.replace(path)
        return cls(path, _map(path), owner=True)

    @classmethod
    def attach(cls, name: str) -> SharedState:
        """Read the block another process made; FileNotFoundError while there is none."""
        path = _path(name)
        return cls(path, _map(path), owner=False)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self._header[2])

    def write(self, values: np.ndarray, stamp_ns: int) -> None:
        header = self._header
        header[0] += 1
        self._values[:] = values
        header[1] = stamp_ns
        header[0] += 1

    def read(self) -> tuple[np.ndarray, int]:
        """A consistent copy of the values and their stamp; stamp 0 before the first write."""
        header = self._header
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            before = int(header[0])
            values, stamp_ns = self._values.copy(), int(header[1])
            if before % 2 == 0 and int(header[0]) == before:
                return values, stamp_ns
            time.sleep(0)
        raise ComoError(f"{self._path} is never at rest: its writer died while writing; restart the lab")

    def close(self) -> None:
        """Let go of the memory; the owner also removes the block."""
        del self._header, self._values, self.settings
        self._block.close()
        if self._owner:
            self._path.unlink(missing_ok=True)


def _path(name: str) -> Path:
    if not name or "/" in name:
        raise ComoError(f"a shared world needs a plain name without '/', got {name!r}")
    return FOLDER / f"como_{name}"


def _map(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)

"""Clears away what a killed process left half made in shared memory. Stands alone: no ROS, no numbers.

Fast DDS gives every process a port in shared memory, and whoever sends to a process that has died makes its
port anew, for every message, until the dead one is forgotten. Killed in the middle of that, a sender leaves a
file that is marked as being made, and everybody else who sends there waits for the end of that making: for
ever, holding the lock of everything it sends. Two kills within seconds of each other silenced a whole graph
so, once in some ten tries. Here such a file is marked as broken, which wakes whoever waits, and removed;
Fast DDS then makes it anew. The processes that wait cannot do it themselves, not even in another thread.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/dev/shm")
FILES, LOCKS = "fastdds_", ("_el", "_sl")
PERIOD_S, LOOKS = 0.25, 5
"""Making takes less than a millisecond; by our own looks, so that a machine that stood still is no maker."""
BEING_MADE, BROKEN = (0, 1), 3
"""States of a segment, in its first word, as Boost.Interprocess has them; 2 is ready."""
WORD_BYTES, PAGE_BYTES = 4, 4096


def is_half_made(file: Path) -> bool:
    """Whether its maker has not come to the end, yet or for ever."""
    with file.open("rb") as segment:
        word = segment.read(WORD_BYTES)
    return len(word) < WORD_BYTES or int.from_bytes(word, sys.byteorder) in BEING_MADE


def give_up(file: Path) -> None:
    """Those who wait look at its size first, then at its word."""
    with file.open("r+b") as segment:
        segment.truncate(max(file.stat().st_size, PAGE_BYTES))
        segment.write(BROKEN.to_bytes(WORD_BYTES, sys.byteorder))
    file.unlink()


class Sweeper:
    """Gives up what it has found half made in several looks on end."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._made: set[tuple[str, int, int]] = set()
        """Once made, a file stays so; thousands may lie there."""
        self._looks: dict[tuple[str, int, int], int] = {}

    def look(self) -> list[str]:
        """The files given up just now."""
        now, looks, swept = self._files(), {}, []
        self._made &= now
        for which in now - self._made:
            file = self._folder / which[0]
            try:
                if not is_half_made(file):
                    self._made.add(which)
                    continue
                looks[which] = self._looks.get(which, 0) + 1
                if looks[which] >= LOOKS:
                    give_up(file)
                    swept.append(file.name)
            except (FileNotFoundError, PermissionError):
                continue  # gone meanwhile, or another user's
        self._looks = looks
        return swept

    def _files(self) -> set[tuple[str, int, int]]:
        """Name, inode and birth of each: what is made anew under an old name is another file."""
        found = set()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(FILES) and not entry.name.endswith(LOCKS):
                    with suppress(FileNotFoundError):
                        told = entry.stat()
                        found.add((entry.name, told.st_ino, told.st_ctime_ns))
        return found


def main() -> int:
    """Until told to stop."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sweeper = Sweeper()
    while not stop.wait(PERIOD_S):
        for name in sweeper.look():
            sys.stdout.write(f"{name} was left half made by a process that is gone; removed\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

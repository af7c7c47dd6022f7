"""Episodes being recorded: a bounded queue in front of a writer thread, numbered folders, keep or discard.

Needs no ROS: it takes CDR bytes. What does not fit into the queue is counted by topic, never lost in silence.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

from como_ros import wire
from como_ros.bag_writer import FLUSH_S, BagError, EpisodeWriter
from como_ros.control.supervision import POLICY, TELEOP
from como_ros.typestore import deserialize
from policies.spaces import CAMERAS, INSTRUCTION, Contract, image_key

DISCARDED = "discarded"
"""Folder beside the episodes that takes those the operator threw away."""

HURRY_NS = 200_000_000
"""Where a message has waited so long, size matters less than time: what waits is lost with this process."""

FILLED = 0.5
"""Share of the queue from which on the disk is said to be behind: before anything is lost."""

COLOUR_KEYS = tuple(map(image_key, CAMERAS))

Item = tuple[str, int, bytes]


class Recording:
    """One open episode; `put` from any thread. Only the writer thread touches the disk."""

    def __init__(self, folder: Path, contract: Contract, queue_bytes: int, **provenance: str) -> None:
        self.folder = folder
        self.begun_s = time.monotonic()
        self.received: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.error = ""
        """Why the writer gave up, if it did."""
        self.queued_bytes = self.peak_bytes = self.written_bytes = 0
        """Waiting for the disk now and at most so far; handed to it."""
        self._flags: tuple[str, ...] = ()
        self._writer = EpisodeWriter(folder, contract, **provenance)
        self._items: deque[Item] = deque()
        self._queue_bytes = queue_bytes
        self._closing = False
        self._sizes: dict[str, tuple[int, int]] = {}
        self._driver = ""
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag writer", daemon=True)
        self._thread.start()

    def put(self, topic: str, arrived_ns: int, cdr: bytes) -> bool:
        """Queue one message for the disk, or count it as dropped and say so."""
        with self._change:
            self.received[topic] += 1
            if self.error or self._closing or self.queued_bytes + len(cdr) > self._queue_bytes:
                self.drops[topic] += 1
                return False
            self._items.append((topic, arrived_ns, cdr))
            self.queued_bytes += len(cdr)
            self.peak_bytes = max(self.peak_bytes, self.queued_bytes)
            self._change.notify()
            return True

    def flag(self, flags: tuple[str, ...]) -> None:
        """All that is wrong with the episode so far; it stands in the bag even if nobody closes it."""
        with self._change:
            self._flags = flags

    @property
    def behind_s(self) -> float:
        """How long the oldest message has been waiting for the disk."""
        with self._change:
            return (time.time_ns() - self._items[0][1]) / 1e9 if self._items else 0.0

    @property
    def complaints(self) -> tuple[str, ...]:
        queued_mb, most_mb = self.queued_bytes / 1e6, self._queue_bytes / 1e6
        if queued_mb < FILLED * most_mb:
            return ()
        return (f"the disk is behind: {queued_mb:.0f} of {most_mb:.0f} MB wait for it",)

    def lose(self, topic: str, count: int) -> None:
        """Count messages that never arrived."""
        with self._change:
            self.drops[topic] += count

    def close(self, outcome: str) -> None:
        """Write what is queued, then the index; where the disk failed the episode stays unfinished."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()
        if not self.error:
            self._close(outcome)
        if self.error:
            left = "what reached the disk can be read" if self.folder.exists() else "nothing is left of it"
            raise BagError(f"{self.folder}: {self.error}; {left}")

    def _close(self, outcome: str) -> None:
        try:
            self._writer.flush()
            lost = json.dumps(dict(self.drops))
            self._writer.close(outcome, drops=lost, flags=json.dumps(self._flags))
        except OSError as error:
            self._give_up(f"the disk refused ({error.strerror})")
        except BagError as error:
            self._give_up(str(error))

    def _run(self) -> None:
        try:
            flags = self._flags
            while not self._drained():
                if (item := self._next()) is None:
                    self._writer.flush()
                else:
                    self._store(*item)
                if self._flags != flags:
                    flags = self._flags
                    self._writer.restate(flags=json.dumps(flags))
        except OSError as error:
            self._give_up(f"the disk refused ({error.strerror})")
        except ValueError as error:  # a message that is none, cameras that do not agree
            self._give_up(str(error))
        except Exception as error:  # whatever it is, an episode whose writer has ended must not look whole
            self._give_up(f"the writer failed ({type(error).__name__}: {error})")

    def _store(self, topic: str, arrived_ns: int, cdr: bytes) -> None:
        """What is being written still counts as queued: it takes memory until it is done."""
        self._writer.hurry(time.time_ns() - arrived_ns > HURRY_NS)
        self._writer.write(topic, arrived_ns, cdr)
        self._learn(topic, cdr)
        with self._change:
            self.queued_bytes -= len(cdr)
            self.written_bytes += len(cdr)

    def _give_up(self, why: str) -> None:
        with self._change:
            self.error = why
            self._items.clear()

    def _learn(self, topic: str, cdr: bytes) -> None:
        """What messages say of the episode: its instruction, its images' size, that a person took over."""
        row = wire.topic(topic)
        if row.key == "supervisor_state":
            before, self._driver = self._driver, str(deserialize(cdr, row.type).data)
            if (before, self._driver) == (POLICY, TELEOP):
                self._writer.restate(intervention="true")
        if row.key == INSTRUCTION and not self._writer.instruction:
            self._writer.restate(instruction=str(deserialize(cdr, row.type).data))
        elif row.key in COLOUR_KEYS and row.key not in self._sizes:
            _, _, image = wire.decode(topic, deserialize(cdr, row.type))
            self._sizes[row.key] = image.shape[:2]
            contract = replace(self._writer.contract, image_hw=next(iter(self._sizes.values())))
            self._writer.restate(contract=contract)
            self._check_sizes()

    def _check_sizes(self) -> None:
        """A contract holds one size for all cameras: an episode of two is refused while it can be mended."""
        if len(set(self._sizes.values())) > 1:
            told = ", ".join(f"{key} is {size}" for key, size in self._sizes.items())
            raise BagError(f"cameras of different sizes ({told}); start the camera node with one size")

    def _drained(self) -> bool:
        with self._change:
            return self._closing and not self._items

    def _next(self) -> Item | None:
        """The oldest message; None when nothing came for a while."""
        with self._change:
            if not self._items and not self._closing:
                self._change.wait(FLUSH_S)
            return self._items.popleft() if self._items else None


class EpisodeShelf:
    """Numbers the episodes in one folder; discarded ones are moved aside, not deleted."""

    def __init__(self, folder: Path, min_free_gb: float = 1.0) -> None:
        self.folder = folder
        self._min_free_gb = min_free_gb
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BagError(f"{folder} cannot be made ({error.strerror}); give another folder") from error

    def next_folder(self) -> Path:
        """A folder that no episode had before; refused when the disk is nearly full."""
        try:
            free_gb = shutil.disk_usage(self.folder).free / 1e9
        except OSError as error:
            raise BagError(f"{self.folder} cannot be used ({error.strerror}); mount or make it") from error
        if free_gb < self._min_free_gb:
            raise BagError(
                f"{self.folder} has {free_gb:.1f} GB left, {self._min_free_gb:.1f} needed; make room"
            )
        taken = [*self.folder.glob("episode_*"), *self.folder.glob("*/episode_*")]
        numbers = [int(found[1]) for path in taken if (found := re.fullmatch(r"episode_(\d+)", path.name))]
        return self.folder / f"episode_{max(numbers, default=-1) + 1:06d}"

    def discard(self, episode: Path) -> Path:
        target = self.folder / DISCARDED / episode.name
        try:
            target.parent.mkdir(exist_ok=True)
            return episode.rename(target)
        except OSError as error:
            raise BagError(f"{episode} cannot be moved aside ({error.strerror}); it stays there") from error

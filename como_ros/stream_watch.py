"""Whether every stream of an episode is well while it is recorded: silent, late, slow or lossy ones by name.

Fed with raw messages as they arrive; takes the time as an argument and needs no ROS. Silence and pace are
judged by capture stamps where messages have come, so that a recorder that was held up itself accuses nobody.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from como_ros import wire
from policies.spaces import Contract
from policies.timeline import EE_POSE, observation_streams

WINDOW_S = 1.0
"""What a stream is judged by."""
SILENT_S = 0.5
"""Without a message for so long, a stream that is not allowed to be silent for longer anyway is silent."""
SLOW = 1.5
"""Times its usual interval."""
HELD_UP_S = 0.3
"""A check so late says nothing: messages may be waiting."""
WRENCH = "wrench"
"""The arm's stamped stream that no observation needs."""
ENOUGH = 5
"""Messages that a usual interval is known by."""
_STAMPS = struct.Struct(">iI"), struct.Struct("<iI")
_STAMP_BEHIND = 4
"""Bytes before the stamp; the second one says whether the rest is little endian."""


def stamp_in(cdr: bytes) -> int | None:
    """Capture time of a message that begins with a header, without reading the rest; None where it is cut."""
    if len(cdr) < _STAMP_BEHIND + 8:
        return None
    sec, nanosec = _STAMPS[cdr[1] & 1].unpack_from(cdr, _STAMP_BEHIND)
    return int(sec) * 1_000_000_000 + int(nanosec)


def _stream_of(topic: str) -> str:
    """Pictures are one stream, packed or not."""
    return topic.removesuffix(wire.COMPRESSED)


class Numbering:
    """Numbers that the senders of one topic gave their messages: what is left out was lost on the way."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}

    def missing(self, sender: bytes, number: int) -> int:
        """How many were left out before this one; the first of a sender tells nothing."""
        before, self._last[sender] = self._last.get(sender, number - 1), number
        return max(0, number - before - 1)


@dataclass
class _Stream:
    """One topic's recent past."""

    key: str
    max_age_s: float
    usual_s: float
    """Its interval: the shortest median of any second where it is learned, as for cameras of any rate."""
    learned: bool
    recent: deque[tuple[float, int, int]] = field(default_factory=deque)
    """(arrival on the steady clock, arrival, capture) of the last second."""
    heard_s: float = 0.0
    received: int = 0
    lost: int = 0
    gap_s: float = 0.0
    """The longest silence of the episode."""
    hole_s: float = 0.0
    """The longest one since the last check."""

    def note(self, now_s: float, arrived_ns: int, captured_ns: int) -> None:
        if self.recent:
            self.hole_s = max(self.hole_s, (captured_ns - self.recent[-1][2]) / 1e9)
            self.gap_s = max(self.gap_s, self.hole_s)
        self.recent.append((now_s, arrived_ns, captured_ns))
        self.forget(now_s)
        self.heard_s, self.received = now_s, self.received + 1

    def forget(self, now_s: float) -> None:
        """All but the last second, and the newest message however old it is."""
        while len(self.recent) > 1 and self.recent[0][0] < now_s - WINDOW_S:
            self.recent.popleft()

    def step_s(self) -> float:
        """Median interval between captures; infinite where there are too few."""
        if len(self.recent) < 2:
            return float("inf")
        return float(np.median(np.diff([captured for _, _, captured in self.recent]))) / 1e9

    def age_s(self) -> float:
        """From capture to arrival, of the freshest message of the last second."""
        return min((arrived - captured for _, arrived, captured in self.recent), default=0) / 1e9

    def begin(self, now_s: float) -> None:
        self.recent.clear()
        self.heard_s, self.received, self.lost = now_s, 0, 0
        self.gap_s = self.hole_s = 0.0

    def faults(self, now_s: float) -> Iterable[tuple[str, float, str]]:
        """(kind, how bad, in words) of what is wrong now."""
        hole_s, self.hole_s = self.hole_s, 0.0
        silent_s = now_s - self.heard_s
        if hole_s > self.max_age_s or silent_s > max(SILENT_S, self.max_age_s):
            longest_s = max(hole_s, silent_s)
            yield "silent", longest_s, f"silent for {longest_s:.1f} s"
        few = len(self.recent) < ENOUGH
        if silent_s > WINDOW_S or len(self.recent) < 2 or (few and self.received < ENOUGH):
            return
        if (age_s := self.age_s()) > self.max_age_s:
            yield "late", age_s, f"{age_s:.2f} s late"
        step_s = self.step_s()
        if step_s > SLOW * self.usual_s:
            yield "slow", step_s, f"slow, {1 / step_s:.1f} Hz"
        elif self.learned and step_s > 0 and not few:
            self.usual_s = min(self.usual_s, step_s)


class StreamWatch:
    """All streams of the wire that are stamped at capture.

    Those an observation needs may not be missing, nor those that were there before or that somebody offers.
    """

    def __init__(self, contract: Contract) -> None:
        needed = observation_streams(contract)
        ages = {key: stream.max_age_ns / 1e9 for key, stream in needed.items()}
        image_age_s = max(ages.values())
        self._streams: dict[str, _Stream] = {}
        self._expected = {topic.name for topic in wire.TOPICS.values() if topic.key in needed}
        for topic in wire.TOPICS.values():
            if topic.qos == "sensor":
                age_s = ages.get(topic.key, image_age_s)
                self._streams[topic.name] = _Stream(topic.key, age_s, 1 / contract.action_rate_hz, True)
            elif topic.key in ages or topic.key == WRENCH:
                age_s = ages.get(topic.key, ages[EE_POSE])
                self._streams[topic.name] = _Stream(topic.key, age_s, 1 / topic.rate_hz, False)
        self._checked_s = self._begun_s = 0.0
        self._flags: dict[tuple[str, str], tuple[float, float, str]] = {}

    def hear(self, topic: str) -> None:
        """A message that no episode takes: its stream is there, and may not be missing in the next one."""
        self._expected.add(_stream_of(topic))

    def begin(self, now_s: float, offered: Collection[str] = ()) -> None:
        """An episode begins; of `offered` there are publishers. What is usual of a stream is remembered."""
        self._expected.update(map(_stream_of, offered))
        for stream in self._streams.values():
            stream.begin(now_s)
        self._begun_s = self._checked_s = now_s
        self._flags.clear()

    def note(self, topic: str, now_s: float, arrived_ns: int, cdr: bytes) -> None:
        """One message has arrived."""
        self.hear(topic)
        stream = self._streams.get(_stream_of(topic))
        if stream is not None and (captured_ns := stamp_in(cdr)) is not None:
            stream.note(now_s, arrived_ns, captured_ns)

    def lose(self, topic: str, count: int, now_s: float) -> None:
        """So many messages will never be in the episode."""
        if (stream := self._streams.get(_stream_of(topic))) is not None:
            stream.lost += count
        key = wire.topic(topic).key
        first_s, so_far, _ = self._flags.get((key, "lost"), (now_s - self._begun_s, 0.0, ""))
        total = so_far + count
        self._flags[key, "lost"] = first_s, total, f"lost {total:.0f} messages"

    def check(self, now_s: float) -> tuple[str, ...]:
        """What is wrong now, a sentence a stream; it stays in `flags` also when it is over."""
        held_up, self._checked_s = now_s - self._checked_s > HELD_UP_S, now_s
        if held_up:
            return ()
        found = [(stream.key, *fault) for stream in self._watched for fault in stream.faults(now_s)]
        for key, kind, size, words in found:
            first_s, worst, _ = self._flags.get((key, kind), (now_s - self._begun_s, -1.0, ""))
            if size > worst:
                self._flags[key, kind] = first_s, size, words
        lost = [f"{key} {words}" for (key, kind), (_, _, words) in self._flags.items() if kind == "lost"]
        return (*(f"{key} {words}" for key, _, _, words in found), *lost)

    @property
    def _watched(self) -> list[_Stream]:
        return [stream for name, stream in self._streams.items() if name in self._expected]

    @property
    def flags(self) -> tuple[str, ...]:
        """All that was wrong in this episode at its worst, with the second it was first seen."""
        return tuple(
            f"{key} {words}, first at {first_s:.1f} s"
            for (key, _), (first_s, _, words) in self._flags.items()
        )

    def figures(self, now_s: float) -> dict[str, float | int]:
        """Rate, longest silence, age and losses of every stream that is there or should be."""
        told: dict[str, float | int] = {}
        for stream in self._watched:
            stream.forget(now_s)
            told |= {
                f"{stream.key} Hz": len(stream.recent) / WINDOW_S,
                f"{stream.key} longest_gap_s": max(stream.gap_s, now_s - stream.heard_s),
                f"{stream.key} age_ms": stream.age_s() * 1e3,
                f"{stream.key} lost": stream.lost,
            }
        return told

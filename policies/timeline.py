"""The one resampler: stamped values in, what is known at one instant out, live and from bags alike.

Callbacks push, one loop samples. A stream that has nothing fresh enough makes a Gap that says so; nothing is
ever filled in. A stamp more than `RESET_NS` older than the stream's newest means that the clock was set back:
everything seen before is forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np

from policies.spaces import Contract, Observation, image_key, pack_state

EE_POSE = "ee_pose"
"""(7,) pose7 of the end effector in the base frame."""
JOINTS = "joints"
"""(8,) seven arm joints and the gripper's width."""

RESET_NS = 1_000_000_000
"""One second separates a late sensor from a clock that was set back."""


class Sample(NamedTuple):
    """A value and the time it holds for."""

    stamp_ns: int
    value: Any


@dataclass(frozen=True)
class Gap:
    """There is no observation at this instant, and why."""

    stamp_ns: int
    reasons: tuple[str, ...]
    """One sentence a stream, each naming the stream and its age."""

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How one key is sampled."""

    policy: Literal["hold", "nearest", "interpolate"]
    """hold: newest at or before the instant; nearest: closest on either side; interpolate: between both
    sides, or the newest before where nothing fresh is known after."""
    max_age_ns: int
    """Farthest a used value may lie from the instant."""
    pose: bool = False
    """Values are pose7 rows: interpolate on SE(3)."""
    capacity: int = 256
    """Values kept; older ones are forgotten."""


class _Buffer:
    """One stream's newest values, sorted by stamp."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.stamps: list[int] = []
        self.values: list[Any] = []

    def clear(self) -> None:
        self.stamps.clear()
        self.values.clear()

    def insert(self, stamp_ns: int, value: Any) -> None:
        """Keep order; a second value of the same stamp replaces the first."""
        at = bisect_right(self.stamps, stamp_ns)
        if at and self.stamps[at - 1] == stamp_ns:
            self.values[at - 1] = value
            return
        self.stamps.insert(at, stamp_ns)
        self.values.insert(at, value)
        excess = len(self.stamps) - self.stream.capacity
        if excess > 0:
            del self.stamps[:excess], self.values[:excess]

    def sample(self, now_ns: int) -> Sample | str:
        """The value at `now_ns`, or why there is none."""
        if not self.stamps:
            return "nothing received yet"
        at = bisect_right(self.stamps, now_ns)
        before, after = self._fresh(at - 1, now_ns), self._fresh(at, now_ns)
        if self.stream.policy == "nearest":
            both = [sample for sample in (before, after) if sample]
            return min(both, key=lambda s: abs(s.stamp_ns - now_ns)) if both else self._age(at, now_ns)
        if before is None:
            return self._age(at, now_ns)
        if self.stream.policy == "hold" or after is None or before.stamp_ns == now_ns:
            return before
        return self._between(before, after, now_ns)

    def _fresh(self, index: int, now_ns: int) -> Sample | None:
        """The value at `index` if there is one and it lies within the maximum age."""
        if not 0 <= index < len(self.stamps):
            return None
        if abs(self.stamps[index] - now_ns) > self.stream.max_age_ns:
            return None
        return Sample(self.stamps[index], self.values[index])

    def _age(self, at: int, now_ns: int) -> str:
        limit = f"limit {self.stream.max_age_ns / 1e9:.3f} s"
        if at == 0:
            return f"first value lies {(self.stamps[0] - now_ns) / 1e9:.3f} s in the future, {limit}"
        return f"newest value is {(now_ns - self.stamps[at - 1]) / 1e9:.3f} s old, {limit}"

    def _between(self, first: Sample, second: Sample, now_ns: int) -> Sample:
        fraction = (now_ns - first.stamp_ns) / (second.stamp_ns - first.stamp_ns)
        mix = interpolate_pose7 if self.stream.pose else interpolate_linear
        return Sample(now_ns, mix(first.value, second.value, fraction))


class Timeline:
    """Several streams on one clock. Thread-safe; memory is bounded by the streams' capacities."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self.streams = dict(streams)
        self.resets = 0
        self._buffers = {key: _Buffer(stream) for key, stream in streams.items()}
        self._lock = Lock()

    def push(self, key: str, stamp_ns: int, value: Any) -> None:
        """Remember a value, not to be changed afterwards; keys that no stream declares are ignored."""
        buffer = self._buffers.get(key)
        if buffer is None:
            return
        with self._lock:
            if buffer.stamps and stamp_ns < buffer.stamps[-1] - RESET_NS:
                self._forget()
            buffer.insert(int(stamp_ns), value)

    def _forget(self) -> None:
        self.resets += 1
        for buffer in self._buffers.values():
            buffer.clear()

    def sample(self, now_ns: int) -> dict[str, Sample] | Gap:
        """Every stream at `now_ns`, or a Gap that names each one that has no fresh value."""
        with self._lock:
            found = {key: buffer.sample(now_ns) for key, buffer in self._buffers.items()}
        reasons = tuple(f"{key}: {why}" for key, why in found.items() if isinstance(why, str))
        if reasons:
            return Gap(now_ns, reasons)
        return {key: sample for key, sample in found.items() if isinstance(sample, Sample)}


def observation_streams(
    contract: Contract, image_max_age_s: float = 0.5, state_max_age_s: float = 0.2
) -> dict[str, Stream]:
    """The streams that an observation is made of."""
    image = Stream(policy="hold", max_age_ns=round(image_max_age_s * 1e9), capacity=16)
    state_age_ns = round(state_max_age_s * 1e9)
    return {
        **{image_key(camera): image for camera in contract.cameras},
        EE_POSE: Stream(policy="interpolate", max_age_ns=state_age_ns, pose=True),
        JOINTS: Stream(policy="interpolate", max_age_ns=state_age_ns),
    }


def observation_at(timeline: Timeline, now_ns: int, instruction: str = "") -> Observation | Gap:
    """What the policy sees at `now_ns`; the timeline declares `observation_streams`."""
    found = timeline.sample(now_ns)
    if isinstance(found, Gap):
        return found
    joints = found[JOINTS].value
    return Observation(
        stamp_ns=now_ns,
        images={key[len("images/") :]: s.value for key, s in found.items() if key.startswith("images/")},
        state=pack_state(found[EE_POSE].value, joints[7], joints[:7]),
        instruction=instruction,
        stamps_ns={key: sample.stamp_ns for key, sample in found.items()},
    )


def replay(
    timeline: Timeline,
    arrivals: Iterable[tuple[int, str, int, Any]],
    ticks_ns: Iterable[int],
    instruction: str = "",
) -> Iterator[Observation | Gap]:
    """Play (arrived_ns, key, stamp_ns, value) as they came and look at every tick as a live loop would.

    Where the clock was set back, both arrivals and ticks step back: what arrived after it waits for the ticks
    after it.
    """
    pending = _eras((arrival[0], arrival) for arrival in arrivals)
    following = next(pending, None)
    for era, tick_ns, _ in _eras((tick_ns, None) for tick_ns in ticks_ns):
        while following is not None and following[:2] <= (era, tick_ns):
            timeline.push(*following[2][1:])
            following = next(pending, None)
        yield observation_at(timeline, tick_ns, instruction)


def _eras(stamped: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, int, Any]]:
    """How often the clock was set back before each, its stamp, and what it stamps."""
    era, newest_ns = 0, None
    for stamp_ns, item in stamped:
        if newest_ns is not None and stamp_ns < newest_ns - RESET_NS:
            era, newest_ns = era + 1, stamp_ns
        newest_ns = stamp_ns if newest_ns is None else max(newest_ns, stamp_ns)
        yield era, stamp_ns, item


# Between two values ------------------------------------------------------------------------------


def interpolate_linear(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    start = np.asarray(first, float)
    return np.asarray(start + fraction * (np.asarray(second, float) - start))


def interpolate_pose7(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    """Position on the line, orientation on the shorter great arc."""
    position = interpolate_linear(first[:3], second[:3], fraction)
    rotation = _slerp(np.asarray(first[3:7], float), np.asarray(second[3:7], float), fraction)
    return np.concatenate([position, rotation])


def _slerp(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    cosine = float(first @ second)
    if cosine < 0:
        second, cosine = -second, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        mixed = first + fraction * (second - first)
    else:
        mixed = np.sin((1 - fraction) * angle) * first + np.sin(fraction * angle) * second
    return np.asarray(mixed / np.linalg.norm(mixed))

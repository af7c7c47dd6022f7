"""Capture stamps that cannot be right, found by comparing them with the times of arrival.

The time between capture and arrival of one stream is never negative and hardly changes. Where it is or does,
the stamps come from another clock, or two streams carry each other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

EARLY_NS = 5_000_000
"""So much after its arrival a message may be stamped: clocks are never exactly equal."""
LATE_NS = 1_000_000_000
"""A stream that is later at the median has the stamps of another clock, or none at all."""
PACE = 0.1
"""How far the stamps' pace may differ from the clock's, as a share."""
APART_NS = 1_000_000_000
"""And by how much in all: on a machine that is held up messages arrive in heaps."""
UNSTEADY_NS = 3_000_000
"""Below this spread a stream's stamps are its own."""
BETTER = 3.0
"""Stamps are another stream's if they fit that one's arrivals so many times better, both ways."""
CLOSER = 1.5
"""And so many times better than the stream's own would if they were picked in the same way."""
LAGS_NS = range(0, 100_000_000, 4_000_000)
"""From capture to arrival, as tried where stamps may be another stream's."""
ENOUGH = 20
"""Messages below which nothing is said."""


class Stamps(NamedTuple):
    """One stream in the order of arrival."""

    arrived_ns: np.ndarray
    captured_ns: np.ndarray

    @property
    def spread_ns(self) -> float:
        return _spread(self.arrived_ns - self.captured_ns)


def stamp_problems(streams: Mapping[str, Stamps]) -> list[str]:
    """What is wrong, each naming the streams, the first stamp and the remedy."""
    found = [sentence for key, stamps in sorted(streams.items()) for sentence in _alone(key, stamps)]
    long = {key: stamps for key, stamps in streams.items() if len(stamps.arrived_ns) >= ENOUGH}
    return found + list(_swapped(long))


def _alone(key: str, stamps: Stamps) -> Iterable[str]:
    latency = stamps.arrived_ns - stamps.captured_ns
    if (early := np.flatnonzero(latency < -EARLY_NS)).size:
        first = early[0]
        told = f"{-latency[first] / 1e9:.3f} s after it arrived, first at {stamps.captured_ns[first]} ns"
        yield f"{key} is stamped {told}; put its clock right or stamp it when it is captured"
    if (late_ns := int(np.median(latency))) > LATE_NS:
        told = f"{late_ns / 1e9:.3f} s before it arrives, first at {stamps.captured_ns[0]} ns"
        yield f"{key} is stamped {told}; stamp it when it is captured, with the recorder's clock"
    arrived, captured = (times[-1] - times[0] for times in stamps)
    apart = abs(captured - arrived)
    if len(latency) >= ENOUGH and arrived > 0 and apart > max(PACE * arrived, APART_NS):
        told = f"{captured / arrived:.2f} times the pace of the clock from {stamps.captured_ns[0]} ns on"
        yield f"{key} has stamps that run at {told}; they are another stream's or counted, stamp at capture"


def _swapped(streams: Mapping[str, Stamps]) -> Iterable[str]:
    for (key, one), (other_key, other) in combinations(sorted(streams.items()), 2):
        if _fits_better(one, other) and _fits_better(other, one):
            first = one.captured_ns[0]
            yield f"{key} and {other_key} carry each other's stamps from {first} ns on; mend their publisher"


def _fits_better(arrivals: Stamps, stamps: Stamps) -> bool:
    """Whether the other stream's stamps explain these arrivals, and the stream's own do not.

    On a machine that is held up the closest stamps always fit better than those in order: also one's own.
    """
    own = arrivals.spread_ns
    if own < UNSTEADY_NS:
        return False
    return _closest(arrivals, stamps) < min(own / BETTER, _closest(arrivals, arrivals) / CLOSER)


def _closest(arrivals: Stamps, stamps: Stamps) -> float:
    """How well each arrival's closest stamp explains it, at the best lag."""
    return min(_spread(_latency(arrivals, stamps, lag_ns)) for lag_ns in LAGS_NS)


def _latency(arrivals: Stamps, stamps: Stamps, lag_ns: int) -> np.ndarray:
    """From the stamp that lies closest to `lag_ns` before each arrival."""
    order, wanted = np.sort(stamps.captured_ns), arrivals.arrived_ns - lag_ns
    after = np.clip(np.searchsorted(order, wanted), 1, len(order) - 1)
    closer = np.where(wanted - order[after - 1] < order[after] - wanted, after - 1, after)
    return arrivals.arrived_ns - order[closer]


def _spread(latency_ns: np.ndarray) -> float:
    """Between the tenth and the ninetieth percentile: late messages do not count."""
    low, high = np.percentile(latency_ns, (10, 90))
    return float(high - low)

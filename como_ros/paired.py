"""Two ways of doing the same, measured side by side: what is reported is the ratio, never the seconds.

Both are called in turn, in random order within each pair, in one process and one thread. Time is the thread's
own processor time, so that other work on the machine does not count. The median over pairs is given with a
bootstrap interval; a gate that is missed once is tried once more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

WARM_UPS = 3


@dataclass(frozen=True)
class Contest:
    """`ours` must take at most `gate` times as long as `other`."""

    id: str
    what: str
    ours: Callable[[], Any]
    other: Callable[[], Any]
    gate: float
    repeats: tuple[int, int] = (1, 1)
    """Calls a measurement of each, so that it is long against the clock's step."""


@dataclass(frozen=True)
class Row:
    id: str
    what: str
    ratio: float
    low: float
    high: float
    """Interval of 95 % around the median."""
    gate: float
    ok: bool
    pairs: int


def judge(contest: Contest, pairs: int = 15, seed: int = 0) -> dict[str, Any]:
    """The contest's row; measured once more where the gate was missed."""
    row = _measure(contest, pairs, seed)
    return asdict(row if row.ok else _measure(contest, pairs, seed + 1))


def _measure(contest: Contest, pairs: int, seed: int) -> Row:
    rng = np.random.default_rng(seed)
    ratios = np.array([_pair(contest, bool(rng.integers(2))) for _ in range(WARM_UPS + pairs)][WARM_UPS:])
    medians = np.median(rng.choice(ratios, (1000, pairs)), axis=1)
    ratio = float(np.median(ratios))
    low, high = np.percentile(medians, (2.5, 97.5))
    return Row(
        contest.id, contest.what, ratio, float(low), float(high), contest.gate, ratio <= contest.gate, pairs
    )


def _pair(contest: Contest, ours_first: bool) -> float:
    arms = [(contest.ours, contest.repeats[0]), (contest.other, contest.repeats[1])]
    order = (0, 1) if ours_first else (1, 0)
    took = {i: _seconds(*arms[i]) for i in order}
    return took[0] / took[1]


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    begun = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - begun) / repeats


def machine() -> dict[str, float]:
    """What the ratios were measured on: cores, load, and how fast it copies and multiplies right now."""
    block, square = np.ones(8 << 20, np.uint8), np.ones((256, 256), np.float32)
    copied, multiplied = _seconds(block.copy, 10), _seconds(lambda: square @ square, 10)
    return {
        "cores": os.cpu_count() or 0,
        "load": os.getloadavg()[0],
        "memcpy_gb_s": len(block) / copied / 1e9,
        "sgemm_gflop_s": 2 * 256**3 / multiplied / 1e9,
    }

"""Following an operator's hand: between poses that have arrived, never ahead of it, never a new plan. Pure.

The hand's way is played back a little late, some 30 ms at 50 Hz, so that two poses enclose the moment played.
Where the arm cannot be there in time it approaches as a critically damped system of second order whose speed
and acceleration are limited. A pose carried on to now would have no lag, but an operator who slows down over
a table would find the arm in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from math import exp, sqrt

import numpy as np

from como_ros.control.interpolation import Setpoint
from como_ros.control.rotations import vector_from_matrix

APART_NS = 8_000_000
"""Poses closer together than this say nothing of the speed."""
KEPT = 6
PERIOD_NS, PERIODS_BEHIND = 20_000_000, 1.5
"""The first counts as long as only one pose is known."""
MOST_BEHIND_NS = 150_000_000
SLOWEST, FASTEST = 0.7, 1.1
"""Of playing back, while it falls further behind or catches up."""


@dataclass(frozen=True)
class TrackingConfig:
    """How briskly the arm follows."""

    pull_1_s: float = 25.0
    """Wanted closing speed per metre of gap; the filter's natural frequency is twice this, in rad/s."""
    acceleration_m_s2: float = 5.0
    acceleration_rad_s2: float = 15.0


@dataclass(frozen=True)
class Speeds:
    """The fastest allowed."""

    linear_m_s: float
    angular_rad_s: float


@dataclass(frozen=True)
class _Heard:
    setpoint: Setpoint
    stamp_ns: int
    late_ns: int
    """From its stamp, on whatever clock, to its arrival."""


class OperatorPath:
    """Where the operator's hand was, as far back as the latest and rarest of its last poses ask for."""

    def __init__(self) -> None:
        self._poses: deque[_Heard] = deque(maxlen=KEPT)
        self._moment_ns, self._asked_ns = -(10**18), -(10**18)

    @property
    def newest_ns(self) -> int:
        return self._poses[-1].stamp_ns if self._poses else -(10**18)

    def add(self, pose7: np.ndarray, stamp_ns: int, now_ns: int) -> None:
        """A pose newer than all before."""
        if len(self._poses) > 1 and stamp_ns - self._poses[-2].stamp_ns < APART_NS:
            self._poses.pop()
        self._poses.append(_Heard(Setpoint.still(pose7), stamp_ns, now_ns - stamp_ns))

    def at(self, now_ns: int) -> Setpoint:
        moment_ns = self._play(now_ns)
        for before, after in pairwise(self._poses):
            if before.stamp_ns <= moment_ns < after.stamp_ns:
                twist = rate_between(
                    before.setpoint, after.setpoint, (after.stamp_ns - before.stamp_ns) / 1e9
                )
                passed_s = (moment_ns - before.stamp_ns) / 1e9
                return Setpoint(before.setpoint.pose7, twist).after(passed_s)
        return (self._poses[0] if moment_ns < self._poses[0].stamp_ns else self._poses[-1]).setpoint

    def _play(self, now_ns: int) -> int:
        """The moment of the hand's way that is due; what the poses ask for is come to without a leap."""
        passed_ns, due_ns = now_ns - self._asked_ns, now_ns - self._behind_ns()
        least, most = (self._moment_ns + round(pace * passed_ns) for pace in (SLOWEST, FASTEST))
        self._moment_ns, self._asked_ns = min(max(due_ns, least), most), now_ns
        return self._moment_ns

    def _behind_ns(self) -> int:
        late_ns = max(heard.late_ns for heard in self._poses)
        apart_ns = max((b.stamp_ns - a.stamp_ns for a, b in pairwise(self._poses)), default=PERIOD_NS)
        return late_ns + min(round(PERIODS_BEHIND * apart_ns), MOST_BEHIND_NS)


def approach(
    config: TrackingConfig, goal: Setpoint, last: Setpoint, dt_s: float, fastest: Speeds
) -> Setpoint:
    """The set-point `dt_s` after `last` on the way to a goal that moves."""
    turn = vector_from_matrix(goal.rotation @ last.rotation.T)
    gap = goal.pose7[:3] - last.pose7[:3]
    linear, angular = (
        _chase(config.pull_1_s, way, goal.twist[part], last.twist[part], limits, dt_s)
        for way, part, limits in (
            (gap, slice(0, 3), (fastest.linear_m_s, config.acceleration_m_s2)),
            (turn, slice(3, 6), (fastest.angular_rad_s, config.acceleration_rad_s2)),
        )
    )
    twist = np.concatenate([linear, angular])
    return Setpoint(Setpoint(last.pose7, (last.twist + twist) / 2).after(dt_s).pose7, twist)


@dataclass(frozen=True)
class Briskness:
    """The largest acceleration that may be asked of the arm."""

    linear_m_s2: float
    angular_rad_s2: float


def ease(
    config: TrackingConfig, goal: Setpoint, last: Setpoint, dt_s: float, fastest: Speeds, most: Briskness
) -> Setpoint:
    """The goal itself where the arm can be there in time, else the next step of an approach to it."""
    mean = rate_between(last, goal, dt_s)
    for rate in (mean, goal.twist):
        change = rate - last.twist
        if _length(change[:3]) > most.linear_m_s2 * dt_s or _length(change[3:]) > most.angular_rad_s2 * dt_s:
            return approach(config, goal, last, dt_s, fastest)
    return goal


def _chase(
    pull: float,
    gap: np.ndarray,
    goal_rate: np.ndarray,
    rate: np.ndarray,
    limits: tuple[float, float],
    dt_s: float,
) -> np.ndarray:
    """The next rate of position or rotation: towards the goal's own rate plus one that closes the gap."""
    speed, acceleration = limits
    wanted = _clipped(goal_rate + _closing(gap, pull, 0.7 * acceleration), speed)
    change = (1 - exp(-4 * pull * dt_s)) * (wanted - rate)
    return _clipped(rate + _clipped(change, acceleration * dt_s), speed)


def _closing(gap: np.ndarray, pull: float, braking: float) -> np.ndarray:
    """In proportion when near; from afar no faster than `braking` can still stop."""
    size = float(np.linalg.norm(gap))
    near = braking / pull**2
    if size <= near:
        return pull * gap
    return gap * (sqrt(2 * braking * (size - near / 2)) / size)


def _length(v: np.ndarray) -> float:
    return float(np.linalg.norm(v))


def rate_between(a: Setpoint, b: Setpoint, span_s: float) -> np.ndarray:
    """(6,) the steady twist that leads from one pose to the other in that time."""
    turn = vector_from_matrix(b.rotation @ a.rotation.T)
    return np.concatenate([b.pose7[:3] - a.pose7[:3], turn]) / span_s


def _clipped(v: np.ndarray, longest: float) -> np.ndarray:
    return v * min(1.0, longest / max(float(np.linalg.norm(v)), 1e-9))

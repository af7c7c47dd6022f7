"""Following an operator's hand: one filter from set-point to set-point, never a new plan at every pose. Pure.

The newest pose is carried on to now with the operator's speed, and approached as a critically damped system
of second order whose speed and acceleration are limited: no lag at constant speed, no overshoot of a step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from como_ros.control.interpolation import Setpoint
from como_ros.control.rotations import vector_from_matrix

APART_NS = 8_000_000
"""Poses closer together than this say nothing of the speed."""


@dataclass(frozen=True)
class TrackingConfig:
    """How briskly the arm follows."""

    pull_1_s: float = 10.0
    """Wanted closing speed per metre of gap; the filter's natural frequency is twice this, in rad/s."""
    acceleration_m_s2: float = 5.0
    acceleration_rad_s2: float = 15.0
    predict_s: float = 0.06
    """How long a pose is carried on: three periods at 50 Hz."""


@dataclass(frozen=True)
class Speeds:
    """The fastest allowed."""

    linear_m_s: float
    angular_rad_s: float


class OperatorPath:
    """Where the operator's hand is: the newest pose, carried on with the slower of its last two speeds.

    The slower of two, so that a step in the poses is not taken for a speed.
    """

    def __init__(self, config: TrackingConfig, fastest: Speeds) -> None:
        self._predict_s, self._fastest = config.predict_s, fastest
        self._poses: deque[tuple[Setpoint, int]] = deque(maxlen=3)
        self._newest = Setpoint.still(np.array([0, 0, 0, 0, 0, 0, 1.0]))
        self.newest_ns = -(10**18)

    def add(self, pose7: np.ndarray, stamp_ns: int) -> None:
        """A pose newer than all before."""
        if len(self._poses) > 1 and stamp_ns - self._poses[-2][1] < 2 * APART_NS:
            self._poses.pop()
        self._poses.append((Setpoint.still(pose7), stamp_ns))
        self._newest, self.newest_ns = Setpoint(pose7, self._speed()), stamp_ns

    def at(self, now_ns: int) -> Setpoint:
        gone_s = max((now_ns - self.newest_ns) / 1e9, 0.0)
        if gone_s <= self._predict_s:
            return self._newest.after(gone_s)
        return Setpoint.still(self._newest.after(self._predict_s).pose7)

    def _speed(self) -> np.ndarray:
        if len(self._poses) < 3:
            return np.zeros(6)
        (first, first_ns), (second, second_ns), (third, third_ns) = self._poses
        before = _rate(first, second, (second_ns - first_ns) / 1e9)
        after = _rate(second, third, (third_ns - second_ns) / 1e9)
        linear = _clipped(_slower(before[:3], after[:3]), self._fastest.linear_m_s)
        return np.concatenate([linear, _clipped(_slower(before[3:], after[3:]), self._fastest.angular_rad_s)])


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
    mean = _rate(last, goal, dt_s)
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


def _rate(a: Setpoint, b: Setpoint, span_s: float) -> np.ndarray:
    turn = vector_from_matrix(b.rotation @ a.rotation.T)
    return np.concatenate([b.pose7[:3] - a.pose7[:3], turn]) / span_s


def _slower(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shorter of two rates, or none when they point apart."""
    if a @ b <= 0:
        return np.zeros(3)
    return a if a @ a < b @ b else b


def _clipped(v: np.ndarray, longest: float) -> np.ndarray:
    return v * min(1.0, longest / max(float(np.linalg.norm(v)), 1e-9))

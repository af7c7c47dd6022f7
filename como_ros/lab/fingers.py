"""How the Franka hand moves its two fingers: one law for the protocol's hand and for the fast mode.

Give an order at any time, from any thread, and ask for the forces in every physics step:

    servo = FingerServo()
    servo.move(0.08, 0.1)                  # width in m, speed of the width in m/s; returns at once
    servo.grasp(0.05, 40.0)                # close at a speed, then press with a force in N; returns at once
    servo.stop()                           # stay at this width, pressing as hard as now
    f1, f2 = servo.forces(q, dq, dt)       # per finger: positions m, velocities m/s; forces in N, + opens

`q` and `dq` are those of `finger_joint1/2` (each 0..0.04 m), the forces go to their `qfrc_applied`. The
newest order counts. Repeating an order restarts its ramp, so callers that are asked for a width a hundred
times a second pass on only a changed one. The fingers start still, wherever they are.

The real hand's one motor moves both fingers, so the law speaks of the width and a stiff spring keeps the
fingers at equal distance from the middle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from como_ros.errors import ComoError

MAX_WIDTH_M = 0.08
MAX_SPEED_M_S = 0.1
"""Of the width: 50 mm/s per finger, the hand's data sheet."""
MAX_FORCE_N = 70.0
"""Continuous grasping force of the data sheet; each of the two fingers presses with it."""

STIFFNESS_N_M, DAMPING_N_S_M = 4000.0, 35.0
"""Per finger, about critical for its 0.117 kg with the motor's inertia."""
COUPLING_N_M, COUPLING_N_S_M = 4000.0, 35.0
"""Against a difference of the two fingers."""


@dataclass(frozen=True)
class _Order:
    """Go to a width at a speed, pressing with at most a force; no width: close and press; no speed: stay."""

    width_m: float | None
    speed_m_s: float
    force_n: float


class FingerServo:
    """The fingers' servo; orders from any thread, `forces` from the one that steps the physics."""

    def __init__(self) -> None:
        self._order = _Order(None, 0.0, MAX_FORCE_N)
        self._obeyed: _Order | None = None
        self._finished: _Order | None = None
        self.jammed = False
        self._ramp_m = 0.0
        self._bias_n = self._force_n = 0.0

    @property
    def done(self) -> bool:
        """The newest order's ramp has ended: at its width, or pressing with its force."""
        return self._finished is self._order

    def move(self, width_m: float, speed_m_s: float) -> None:
        """Go to a width; on something in between, press ever harder, up to what the hand can give."""
        if not 0 <= width_m <= MAX_WIDTH_M:
            raise ComoError(f"width {width_m} m is outside the hand's stroke 0..{MAX_WIDTH_M} m")
        self._obey(_Order(width_m, _speed(speed_m_s), MAX_FORCE_N))

    def grasp(self, speed_m_s: float, force_n: float) -> None:
        """Close until something stops the fingers, then press; more than the hand can give is clipped."""
        if not (math.isfinite(force_n) and force_n > 0):
            raise ComoError(
                f"grasp force {force_n} N is not positive; up to {MAX_FORCE_N:.0f} N are possible"
            )
        self._obey(_Order(None, _speed(speed_m_s), min(force_n, MAX_FORCE_N)))

    def stop(self) -> None:
        self._obey(_Order(None, 0.0, MAX_FORCE_N))

    def jam(self, on: bool) -> None:
        """Fault: the fingers stay where they are, whatever is ordered, until it is taken off."""
        if on:
            self.stop()
        self.jammed = on

    def _obey(self, order: _Order) -> None:
        if not self.jammed:
            self._order = order

    def forces(self, q: Sequence[float], dq: Sequence[float], dt: float) -> tuple[float, float]:
        """Force on each finger for the next step of `dt` seconds."""
        first, second, first_v, second_v = float(q[0]), float(q[1]), float(dq[0]), float(dq[1])
        width, order = first + second, self._order
        if order is not self._obeyed:
            self._begin(order, width)
        ramp_v = self._advance(order, width, dt)
        common = self._bias_n + STIFFNESS_N_M * (self._ramp_m - width) / 2
        common += DAMPING_N_S_M * (ramp_v - first_v - second_v) / 2
        self._force_n = common = min(max(common, -order.force_n), order.force_n)
        apart = COUPLING_N_M * (first - second) + COUPLING_N_S_M * (first_v - second_v)
        return common - apart, common + apart

    def _begin(self, order: _Order, width: float) -> None:
        self._obeyed = order
        self._ramp_m = width
        self._bias_n = 0.0 if order.speed_m_s else self._force_n

    def _advance(self, order: _Order, width: float, dt: float) -> float:
        """One step of the ramp towards the order's width, or ahead of the fingers by the order's force."""
        goal = order.width_m
        if goal is None:
            goal = width - 2 * order.force_n / STIFFNESS_N_M
        reach = order.speed_m_s * dt
        step = min(max(goal - self._ramp_m, -reach), reach)
        self._ramp_m += step
        if abs(goal - self._ramp_m) <= reach or not reach:
            self._finished = order
        return step / dt


def _speed(speed_m_s: float) -> float:
    """Within what the hand can do."""
    if not (math.isfinite(speed_m_s) and speed_m_s > 0):
        raise ComoError(f"hand speed {speed_m_s} m/s is not positive; up to {MAX_SPEED_M_S} m/s are possible")
    return min(speed_m_s, MAX_SPEED_M_S)

"""How fast the end effector may go before a joint exceeds its speed or runs into its end. Pure.

A bound on the end effector's speed does not bound the joints: 0.8 m/s away from the base take 2.5 rad/s of a
Panda's shoulder in the middle of the workspace, and its table ends at 2.2. The joints' rates are those of
least norm that make the motion, at the joints' measured angles.
"""

from __future__ import annotations

import numpy as np

from como_ros.control.interpolation import Setpoint
from como_ros.control.kinematics import jacobian
from como_ros.control.limits import RobotLimits
from como_ros.control.tracking import Briskness, rate_between

SPEED_SHARE = 0.7
"""Of a joint's speed: an arm that has fallen behind its set-points follows faster than they went."""
MARGIN_RAD, END_TIME_S = 0.02, 0.2
"""A joint comes to rest so far from its end, the last of the way in that time constant."""
STANDS_RAD_S = 1e-3
"""A slower joint stands: else one that is at its end would forbid what hardly moves it."""
DAMPING = 1e-4
"""Keeps rates finite where the arm is stretched, in m^2; where it works its squares are 4e-3 and more."""


def slow_down(
    limits: RobotLimits, q: np.ndarray, wanted: Setpoint, last: Setpoint, dt_s: float, most: Briskness
) -> tuple[Setpoint, str]:
    """As far towards the wanted set-point as the joints can go, and why not all the way, or nothing."""
    rate = rate_between(last, wanted, dt_s)
    share, joint = _share(limits, q, rate)
    share = max(share, *_softly(rate, last.twist, dt_s, most))
    if share >= 1.0:
        return wanted, ""
    way = Setpoint(last.pose7, share * rate).after(dt_s)
    return Setpoint(way.pose7, share * wanted.twist), f"too fast for joint {joint + 1}: slowed to {share:.0%}"


def joint_rates(q: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """(7,) rad/s that move the end effector so."""
    rows = jacobian(q)
    return rows.T @ np.linalg.solve(rows @ rows.T + DAMPING * np.eye(6), twist)


def _share(limits: RobotLimits, q: np.ndarray, twist: np.ndarray) -> tuple[float, int]:
    """Of the motion, and the joint that allows no more."""
    rates = joint_rates(q, twist)
    room = np.where(rates > 0, np.subtract(limits.q_max, q), np.subtract(q, limits.q_min)) - MARGIN_RAD
    fastest = np.minimum(np.multiply(SPEED_SHARE, limits.joint_velocity), np.maximum(room, 0.0) / END_TIME_S)
    shares = np.where(np.abs(rates) < STANDS_RAD_S, 1.0, fastest / np.maximum(np.abs(rates), STANDS_RAD_S))
    joint = int(shares.argmin())
    return float(shares[joint]), joint


def _softly(rate: np.ndarray, last: np.ndarray, dt_s: float, most: Briskness) -> tuple[float, float]:
    """The shares below which slowing down would change speed more briskly than the arm may."""
    linear, angular = (
        _least(rate[part], last[part], limit * dt_s)
        for part, limit in ((slice(0, 3), most.linear_m_s2), (slice(3, 6), most.angular_rad_s2))
    )
    return linear, angular


def _least(rate: np.ndarray, last: np.ndarray, change: float) -> float:
    """The smallest share of `rate` that lies within `change` of `last`; the nearest where none does."""
    square, along = float(rate @ rate), float(rate @ last)
    if square < 1e-12:
        return 0.0
    beyond = along**2 - square * (float(last @ last) - change**2)
    return min(max((along - np.sqrt(max(beyond, 0.0))) / square, 0.0), 1.0)

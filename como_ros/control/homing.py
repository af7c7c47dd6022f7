"""A joint motion from here to there: one smooth sweep, all joints together, at a bounded speed. Pure."""

from __future__ import annotations

import numpy as np

from como_ros.control.kinematics import ee_pose7, link_frames
from como_ros.control.limits import RobotLimits

HOME_Q = (0.0, -0.3, 0.0, -2.2, 0.0, 1.9, np.pi / 4)
"""Where the arm waits, above the table with the hand pointing down."""
PEAK_OVER_MEAN = 1.875  # of a quintic smoothstep
EASE_S = 0.15
"""From full pace to rest: 0.8 rad/s then brakes at 5.3 rad/s^2, within both robots' tables."""
LONGEST_TICK_S = 0.03
MARGIN_RAD = 0.05
"""Kept from the ends of the joints' ranges."""
LOOKS, GIVES_M = 32, 0.002
"""Moments at which a sweep is looked at, and how far a fingertip may sink below where it began."""


class JointMove:
    """Where the joints should be and how fast, at any time since the start."""

    def __init__(self, start: np.ndarray, goal: np.ndarray, peak_rad_s: float = 0.8) -> None:
        self._start, self._way = np.asarray(start, float), np.asarray(goal, float) - start
        self.seconds = max(0.1, PEAK_OVER_MEAN * float(np.abs(self._way).max()) / peak_rad_s)

    def at(self, since_s: float) -> tuple[np.ndarray, np.ndarray]:
        """(7,) positions and (7,) velocities."""
        u = min(max(since_s / self.seconds, 0.0), 1.0)
        blend, rate = u**3 * (10 - 15 * u + 6 * u * u), 30 * u * u * (1 - u) ** 2 / self.seconds
        return self._start + blend * self._way, rate * self._way


class MotionTime:
    """The time along a motion: it can come to rest and run on, and its pace never jumps."""

    def __init__(self, now_ns: int) -> None:
        self.since_s = 0.0
        self.pace = 1.0
        """Seconds of the motion a second, 0 to 1; full at once, because a motion starts at rest."""
        self._now_ns = now_ns

    def tick(self, now_ns: int, runs: bool) -> None:
        """Go on to now, towards full pace or towards rest; whoever came late does not make up for it."""
        passed_s = min(max(0, now_ns - self._now_ns) / 1e9, LONGEST_TICK_S)
        change = passed_s / EASE_S
        before, self._now_ns = self.pace, now_ns
        self.pace = min(1.0, before + change) if runs else max(0.0, before - change)
        self.since_s += passed_s * (before + self.pace) / 2


def refusal(limits: RobotLimits, q: np.ndarray, dq: np.ndarray, start: np.ndarray) -> str:
    """Why joints may not be asked to be there and so fast; one that starts near its end may come back."""
    if not (np.isfinite(q).all() and np.isfinite(dq).all()):
        return f"not finite: joints {q.tolist()}, rates {dq.tolist()}"
    low = np.minimum(np.add(limits.q_min, MARGIN_RAD), start)
    high = np.maximum(np.subtract(limits.q_max, MARGIN_RAD), start)
    for joint in range(len(q)):
        if not low[joint] - 1e-9 <= q[joint] <= high[joint] + 1e-9:
            return (
                f"joint {joint + 1} at {q[joint]:.3f} rad, allowed are {low[joint]:.3f} to {high[joint]:.3f}"
            )
        if abs(dq[joint]) > limits.joint_velocity[joint]:
            return (
                f"joint {joint + 1} at {dq[joint]:.2f} rad/s, allowed are {limits.joint_velocity[joint]:.2f}"
            )
    return ""


def sinks(start: np.ndarray, floor_m: float) -> str:
    """Why a sweep home may not begin there: on its way the arm would press on the table; or nothing."""
    way = HOME_Q - start
    heights = [lowest_m(start + share * way) for share in np.linspace(0.0, 1.0, LOOKS)]
    if min(heights) >= min(floor_m, heights[0]) - GIVES_M:
        return ""
    return (
        f"on its way the arm would come down to {min(heights):.3f} m, the table is at {floor_m:.3f} m; "
        "guide it up by hand, then home"
    )


def lowest_m(q: np.ndarray) -> float:
    """Height of the lowest of fingertips, hand, wrist and elbow."""
    return float(min(ee_pose7(q)[2], link_frames(q)[3:, 2, 3].min()))

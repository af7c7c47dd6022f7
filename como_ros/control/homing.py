"""A joint motion from here to there: one smooth sweep, all joints together, at a bounded speed. Pure."""

from __future__ import annotations

import numpy as np

from como_ros.control.limits import RobotLimits

HOME_Q = (0.0, -0.3, 0.0, -2.2, 0.0, 1.9, np.pi / 4)
"""Where the arm waits, above the table with the hand pointing down."""
PEAK_OVER_MEAN = 1.875  # of a quintic smoothstep
MARGIN_RAD = 0.05
"""Kept from the ends of the joints' ranges."""


class JointMove:
    """Where the joints should be and how fast, at any moment."""

    def __init__(self, start: np.ndarray, goal: np.ndarray, start_ns: int, peak_rad_s: float = 0.8) -> None:
        self._start, self._way = np.asarray(start, float), np.asarray(goal, float) - start
        self._start_ns = start_ns
        self.seconds = max(0.1, PEAK_OVER_MEAN * float(np.abs(self._way).max()) / peak_rad_s)

    @property
    def end_ns(self) -> int:
        return self._start_ns + round(self.seconds * 1e9)

    def at(self, now_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """(7,) positions and (7,) velocities."""
        u = min(max((now_ns - self._start_ns) / 1e9 / self.seconds, 0.0), 1.0)
        blend, rate = u**3 * (10 - 15 * u + 6 * u * u), 30 * u * u * (1 - u) ** 2 / self.seconds
        return self._start + blend * self._way, rate * self._way


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

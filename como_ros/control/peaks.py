"""How brisk a run of set-points was: the largest speed, acceleration and jerk of its twists. Pure."""

from __future__ import annotations

import numpy as np

QUANTITIES = ("velocity", "acceleration", "jerk")
SHORTEST_S = 1e-3


class Peaks:
    """Norms of translation and rotation apart, each with its first two differences over time; from rest."""

    def __init__(self) -> None:
        self.linear, self.angular = np.zeros(3), np.zeros(3)
        """(3,) velocity, acceleration, jerk: the largest so far."""
        self.step_m_s = 0.0
        """Largest change of velocity from one set-point to the next."""
        self._twist, self._push = np.zeros(6), np.zeros(6)

    def add(self, twist: np.ndarray, dt_s: float) -> None:
        """The next set-point's (6,) twist, `dt_s` after the one before."""
        twist, dt_s = np.asarray(twist, float), max(dt_s, SHORTEST_S)
        step = twist - self._twist
        push = step / dt_s
        rates = np.stack([twist, push, (push - self._push) / dt_s])
        self._twist, self._push = twist, push
        self.step_m_s = max(self.step_m_s, float(np.linalg.norm(step[:3])))
        self.linear = np.maximum(self.linear, np.linalg.norm(rates[:, :3], axis=1))
        self.angular = np.maximum(self.angular, np.linalg.norm(rates[:, 3:], axis=1))

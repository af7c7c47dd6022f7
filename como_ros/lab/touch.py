"""What the arm feels of what it touches, the same in fast mode and behind the protocol.

Signs are libfranka's: what the robot does to its surroundings is positive, so an arm that presses on the
table shows a negative z force and one that carries something a positive one. Nothing is subtracted for a
configured load. An arm that touches nothing feels nothing: unlike a real one, the lab knows its own model.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

CUTOFF_HZ = 10.0
"""Of the low-pass on the torques; libfranka names no figure."""
SMALLEST_NM = 1e-6
"""Filtered torques below this are nothing."""
SMALLEST_PIVOT = 1e-6
"""Keeps the wrench finite where the Jacobian loses rank; at home its squares are 4e-3 and more."""


class Touch:
    """External torques of the arm's joints through a low-pass, and the wrench that makes them."""

    def __init__(self) -> None:
        self.torque_nm = np.zeros(7)
        """Replaced by every `feel`, never changed in place."""
        self._square, self._projected = np.zeros((6, 6)), np.zeros(6)

    def feel(self, torque_nm: np.ndarray, seconds: float) -> None:
        """The mean torque of the time since the last call."""
        gain = 1 - math.exp(-2 * math.pi * CUTOFF_HZ * seconds)
        felt = self.torque_nm + gain * (torque_nm - self.torque_nm)
        self.torque_nm = felt if largest(felt) >= SMALLEST_NM else np.zeros(7)

    def wrench(self, jacobian: np.ndarray) -> np.ndarray:
        """(6,) N and Nm that make these torques, by least squares, in the frame of the (6, 7) Jacobian.

        In MuJoCo's own algebra: numpy's may wait for threads of its own, which a real-time thread starves.
        """
        wrench = np.zeros(6)
        if not self.torque_nm.any():
            return wrench
        rows = np.ascontiguousarray(jacobian)
        mujoco.mju_mulMatMatT(self._square, rows, rows)
        mujoco.mju_mulMatVec(self._projected, rows, self.torque_nm)
        mujoco.mju_cholFactor(self._square, SMALLEST_PIVOT)
        mujoco.mju_cholSolve(wrench, self._square, self._projected)
        return wrench


def largest(values: np.ndarray) -> float:
    return max(map(abs, values.tolist()))

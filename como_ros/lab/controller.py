"""The impedance law franky runs on the arm, in-process: fast mode moves as the real client would.

tau = J^T (-K e - D (J dq - v)) + Coriolis, with D = 2 sqrt(K) (franky's critical damping is for unit mass),
errors clipped as the arm driver has them clipped, and the torque rate limited to 1 Nm per cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from como_ros.lab import scene

MAX_ERROR_M, MAX_ERROR_RAD = 0.05, 0.25
"""The arm driver's clips: 75 N at most at 1500 N/m."""
MAX_TORQUE_STEP_NM = 1.0


@dataclass(frozen=True)
class Gains:
    """Cartesian stiffness; the arm node uses the same numbers."""

    translation_n_m: float = 1500.0
    rotation_nm_rad: float = 60.0
    finger_kp: float = 1000.0
    finger_kd: float = 20.0
    finger_force_n: float = 100.0


class ImpedanceController:
    """Turns a Cartesian set-point into `qfrc_applied` for one simulation step.

    Called a thousand times a simulated second: views instead of copies, numbers instead of short arrays.
    """

    def __init__(self, model: mujoco.MjModel, gains: Gains | None = None) -> None:
        self._model, self._gains = model, gains or Gains()
        self._arm = _contiguous(scene.joint_addresses(model, scene.ARM_JOINTS)[1])
        finger_q, finger_v = scene.joint_addresses(model, scene.FINGER_JOINTS)
        self._fingers = list(zip(finger_q.tolist(), finger_v.tolist(), strict=True))
        self._site = model.site("tcp").id
        self._stiffness = np.repeat([self._gains.translation_n_m, self._gains.rotation_nm_rad], 3)
        self._damping = 2 * np.sqrt(self._stiffness)
        self._linear, self._angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        self._jacobian = np.zeros((6, self._arm.stop - self._arm.start))
        self._local, self._current = np.zeros(3), np.zeros(4)
        self._error, self._torque = np.zeros(6), np.zeros(7)

    def reset(self) -> None:
        self._torque[:] = 0

    def apply(
        self,
        data: mujoco.MjData,
        position: np.ndarray,
        wxyz: np.ndarray,
        twist: np.ndarray,
        width_m: float,
    ) -> None:
        """Set the forces for the next step towards a pose (wxyz quaternion) moving with `twist`."""
        mujoco.mj_jacSite(self._model, data, self._linear, self._angular, self._site)
        jacobian, arm = self._jacobian, self._arm
        jacobian[:3], jacobian[3:] = self._linear[:, arm], self._angular[:, arm]
        self._measure_error(data, position, wxyz)
        slip = jacobian @ data.qvel[arm]
        slip -= twist
        wanted = (self._stiffness * self._error + self._damping * slip) @ jacobian
        change = data.qfrc_bias[arm] - data.qfrc_gravcomp[arm] - wanted - self._torque
        np.minimum(change, MAX_TORQUE_STEP_NM, out=change)
        np.maximum(change, -MAX_TORQUE_STEP_NM, out=change)
        self._torque += change
        data.qfrc_applied[arm] = self._torque
        self._squeeze(data, width_m)

    def _measure_error(self, data: mujoco.MjData, position: np.ndarray, wxyz: np.ndarray) -> None:
        error, rotation = self._error, data.site_xmat[self._site]
        mujoco.mju_mat2Quat(self._current, rotation)
        mujoco.mju_subQuat(self._local, self._current, wxyz)
        mujoco.mju_mulMatVec(error[3:], rotation.reshape(3, 3), self._local)
        np.subtract(data.site_xpos[self._site], position, out=error[:3])
        x, y, z, a, b, c = error.tolist()
        if (size := math.sqrt(x * x + y * y + z * z)) > MAX_ERROR_M:
            error[:3] *= MAX_ERROR_M / size
        if (size := math.sqrt(a * a + b * b + c * c)) > MAX_ERROR_RAD:
            error[3:] *= MAX_ERROR_RAD / size

    def _squeeze(self, data: mujoco.MjData, width_m: float) -> None:
        gains, qpos, qvel, applied = self._gains, data.qpos, data.qvel, data.qfrc_applied
        for q, v in self._fingers:
            force = gains.finger_kp * (width_m / 2 - qpos[q]) - gains.finger_kd * qvel[v]
            applied[v] = min(max(force, -gains.finger_force_n), gains.finger_force_n)


def _contiguous(addresses: np.ndarray) -> slice:
    """The addresses as a slice, so that reading through it makes a view and not a copy."""
    found = slice(int(addresses[0]), int(addresses[-1]) + 1)
    assert addresses.tolist() == list(range(found.start, found.stop)), "the arm's joints lie side by side"
    return found

"""The impedance law franky runs on the arm, in-process: fast mode moves as the real client would.

tau = J^T (-K e - D (J dq - v)) + Coriolis, with D = 2 sqrt(K) (franky's critical damping is for unit mass),
errors clipped at 0.1 m and 0.25 rad, and the torque rate limited to 1 Nm per cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from como_ros.lab import scene


@dataclass(frozen=True)
class Gains:
    """Cartesian stiffness; the arm node uses the same numbers."""

    translation_n_m: float = 1500.0
    rotation_nm_rad: float = 60.0
    finger_kp: float = 1000.0
    finger_kd: float = 20.0
    finger_force_n: float = 100.0


class ImpedanceController:
    """Turns a Cartesian set-point into `qfrc_applied` for one simulation step."""

    def __init__(self, model: mujoco.MjModel, gains: Gains = Gains()) -> None:
        self._model, self._gains = model, gains
        self._arm_q, self._arm_v = scene.joint_addresses(model, scene.ARM_JOINTS)
        self._finger_q, self._finger_v = scene.joint_addresses(model, scene.FINGER_JOINTS)
        self._site = model.site("tcp").id
        self._stiffness = np.repeat([gains.translation_n_m, gains.rotation_nm_rad], 3)
        self._damping = 2 * np.sqrt(self._stiffness)
        self._jacobian = np.zeros((6, model.nv))
        self._local, self._error = np.zeros(3), np.zeros(6)
        self._current = np.zeros(4)
        self._torque = np.zeros(7)

    def reset(self) -> None:
        self._torque[:] = 0

    def apply(
        self, data: mujoco.MjData, position: np.ndarray, wxyz: np.ndarray, twist: np.ndarray, width_m: float
    ) -> None:
        """Set the forces for the next step towards a pose (wxyz quaternion) moving with `twist`."""
        mujoco.mj_jacSite(self._model, data, self._jacobian[:3], self._jacobian[3:], self._site)
        jacobian = self._jacobian[:, self._arm_v]
        error = self._pose_error(data, position, wxyz)
        velocity = jacobian @ data.qvel[self._arm_v]
        wanted = jacobian.T @ (-self._stiffness * error - self._damping * (velocity - twist))
        wanted += data.qfrc_bias[self._arm_v] - data.qfrc_gravcomp[self._arm_v]
        self._torque += np.clip(wanted - self._torque, -1.0, 1.0)
        data.qfrc_applied[self._arm_v] = self._torque
        self._squeeze(data, width_m)

    def _pose_error(self, data: mujoco.MjData, position: np.ndarray, wxyz: np.ndarray) -> np.ndarray:
        mujoco.mju_mat2Quat(self._current, data.site_xmat[self._site])
        mujoco.mju_subQuat(self._local, self._current, wxyz)
        self._error[3:] = data.site_xmat[self._site].reshape(3, 3) @ self._local
        self._error[:3] = data.site_xpos[self._site] - position
        for part, limit in ((self._error[:3], 0.1), (self._error[3:], 0.25)):
            size = np.sqrt(part @ part)
            if size > limit:
                part *= limit / size
        return self._error

    def _squeeze(self, data: mujoco.MjData, width_m: float) -> None:
        gains = self._gains
        error = width_m / 2 - data.qpos[self._finger_q]
        force = gains.finger_kp * error - gains.finger_kd * data.qvel[self._finger_v]
        data.qfrc_applied[self._finger_v] = np.clip(force, -gains.finger_force_n, gains.finger_force_n)

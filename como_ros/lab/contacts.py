"""What the robot behind the protocol says of contacts: external torque and wrench, levels, reflex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from franka_sim.franka_protocol import SetCollisionBehaviorCommand
from franka_sim.limits.checker import Violation

from como_ros.lab.touch import Touch, largest

ACCELERATING_RAD_S2 = 1.0
"""A joint that changes speed faster than this is judged by the acceleration thresholds."""
JOINT_REFLEX, CARTESIAN_REFLEX = 6, 7
"""Places in the protocol's list of errors."""
REFLEX_NAMES = {JOINT_REFLEX: "joint_reflex", CARTESIAN_REFLEX: "cartesian_reflex"}
AXES = ("x", "y", "z", "roll", "pitch", "yaw")


class ContactSensor:
    """Read once in every physics step, by the physics thread."""

    def __init__(self, model: mujoco.MjModel, arm_dofs: np.ndarray) -> None:
        self._model, self._arm = model, arm_dofs
        self._touch = Touch()
        self._joint_forces = np.zeros(model.nv)
        self.ee_t_k = np.eye(4)
        """Stiffness frame in the end effector's, as the client set it."""
        self.peak_torque_nm = self.peak_force_n = 0.0
        """The largest of any joint and axis since they were last set to zero."""

    def read(self, data: mujoco.MjData, jacobian: np.ndarray, ee_pose: np.ndarray) -> dict[str, np.ndarray]:
        """The fields of the robot's state; Jacobian and pose are the end effector's, in the base frame."""
        self._touch.feel(self._raw(data), self._model.opt.timestep)
        torque, wrench = self._touch.torque_nm, self._touch.wrench(jacobian)
        if not torque.any():
            return _fields(torque, wrench, np.zeros(6))
        rotation = ee_pose[:3, :3]
        turn, lever = rotation @ self.ee_t_k[:3, :3], rotation @ self.ee_t_k[:3, 3]
        if lever.any():
            wrench[3:] -= np.cross(lever, wrench[:3])
        self.peak_torque_nm = max(self.peak_torque_nm, largest(torque))
        self.peak_force_n = max(self.peak_force_n, largest(wrench[:3]))
        return _fields(torque, wrench, (wrench.reshape(2, 3) @ turn).reshape(6))

    def _raw(self, data: mujoco.MjData) -> np.ndarray:
        """Torques by which the arm acts on what it touches; the solver lists contacts last."""
        others = data.ne + data.nf + data.nl
        if data.nefc == others:
            return np.zeros(len(self._arm))
        force = data.efc_force.copy()
        force[:others] = 0.0
        mujoco.mj_mulJacTVec(self._model, data, self._joint_forces, force)
        return -self._joint_forces[self._arm]


def _fields(torque: np.ndarray, base: np.ndarray, stiffness: np.ndarray) -> dict[str, np.ndarray]:
    return {"tau_ext_hat_filtered": torque, "O_F_ext_hat_K": base, "K_F_ext_hat_K": stiffness}


@dataclass(frozen=True)
class Thresholds:
    """From `lower` on it is a contact, from `upper` on a collision: 7 torques in Nm, 6 forces in N and Nm."""

    lower_nm: np.ndarray
    upper_nm: np.ndarray
    lower_n: np.ndarray
    upper_n: np.ndarray


UNTOUCHED = Thresholds(np.full(7, 20.0), np.full(7, 40.0), np.full(6, 20.0), np.full(6, 40.0))
"""Before a client has set any."""


NO_JOINT, NO_AXIS = np.zeros(7), np.zeros(6)


@dataclass(frozen=True)
class Collision(Violation):
    """A reflex as the server takes it; joint and Cartesian at once are one abort."""

    def describe(self) -> str:
        names = "+".join(REFLEX_NAMES[index] for index in self.error_indices)
        return f"{names}: {self.signal} {self.axis} = {self.value:.3g} {self.unit}, limit {self.limit:.3g}"


class CollisionReflex:
    """Contact levels of every cycle by the client's thresholds; collisions stay shown until recovery."""

    def __init__(self) -> None:
        self._steady = self._accelerating = UNTOUCHED
        self.recover()

    def set_thresholds(self, wanted: SetCollisionBehaviorCommand) -> None:
        self._accelerating = Thresholds(
            np.array(wanted.lower_torque_thresholds_acceleration),
            np.array(wanted.upper_torque_thresholds_acceleration),
            np.array(wanted.lower_force_thresholds_acceleration),
            np.array(wanted.upper_force_thresholds_acceleration),
        )
        self._steady = Thresholds(
            np.array(wanted.lower_torque_thresholds_nominal),
            np.array(wanted.upper_torque_thresholds_nominal),
            np.array(wanted.lower_force_thresholds_nominal),
            np.array(wanted.upper_force_thresholds_nominal),
        )

    def recover(self) -> None:
        self._joints, self._axes = np.zeros(7), np.zeros(6)

    def judge(self, state: dict[str, Any]) -> tuple[dict[str, np.ndarray], Collision | None]:
        """(fields of the robot's state, the collision if there is one) for one look at the arm."""
        if not state["tau_ext_hat_filtered"].any():
            return self._fields(NO_JOINT, NO_AXIS), None
        speeding_up = bool(np.abs(state["ddq"]).max() > ACCELERATING_RAD_S2)
        limits = self._accelerating if speeding_up else self._steady
        torque, wrench = np.abs(state["tau_ext_hat_filtered"]), np.abs(state["O_F_ext_hat_K"])
        joints, axes = torque > limits.upper_nm, wrench > limits.upper_n
        self._joints, self._axes = np.maximum(self._joints, joints), np.maximum(self._axes, axes)
        fields = self._fields(torque > limits.lower_nm, wrench > limits.lower_n)
        return fields, _collision(torque, wrench, limits, joints, axes)

    def _fields(self, joints: np.ndarray, axes: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "joint_contact": joints.astype(float),
            "cartesian_contact": axes.astype(float),
            "joint_collision": self._joints,
            "cartesian_collision": self._axes,
        }


def _collision(
    torque: np.ndarray, wrench: np.ndarray, limits: Thresholds, joints: np.ndarray, axes: np.ndarray
) -> Collision | None:
    joint, axis = int(np.argmax(joints)), int(np.argmax(axes))
    if axes[axis]:
        also = JOINT_REFLEX if joints[joint] else None
        value, limit = float(wrench[axis]), float(limits.upper_n[axis])
        unit = "N" if axis < 3 else "Nm"
        return Collision(
            CARTESIAN_REFLEX, "O_F_ext_hat_K", AXES[axis], value, limit, unit, extra_error_index=also
        )
    if joints[joint]:
        value, limit = float(torque[joint]), float(limits.upper_nm[joint])
        return Collision(JOINT_REFLEX, "tau_ext_hat_filtered", f"joint {joint + 1}", value, limit, "Nm")
    return None

"""What drives arm and hand in-process: fast mode moves as the real client and the real hand would.

The arm's law is the one franky runs: tau = J^T (-K e - D (J dq - v)) + Coriolis, with the arm driver's gains,
errors clipped axis by axis and the torque held within 1 Nm of the last.
libfranka then sends it through a low-pass of 100 Hz, and the arm feels it one cycle later. Around steps of
5 cm the end effector is 0.9 mm RMS off the real thing without the low-pass and 0.2 mm with it.

The hand does what the arm node's hand does: `grip.decide` turns widths into few commands, and the commands
drive the lab's fingers. And where the robot would stop with a collision reflex, fast mode says so.
"""

from __future__ import annotations

import mujoco
import numpy as np

from como_ros.control import gains
from como_ros.control.gains import COLLISION_N, COLLISION_NM
from como_ros.control.grip import GripConfig, HandCommand, decide
from como_ros.lab import scene
from como_ros.lab.fingers import FingerServo
from como_ros.lab.touch import Touch

MAX_TORQUE_STEP_NM = 1.0
CUTOFF_HZ = 100.0
"""Of libfranka's low-pass, which every command passes."""
AXES = ("N along x", "N along y", "N along z", "Nm about x", "Nm about y", "Nm about z")


class ImpedanceController:
    """Turns a Cartesian set-point into the arm's part of `qfrc_applied` for one simulation step.

    Called a thousand times a simulated second: views instead of copies, made once.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        arm = _contiguous(scene.joint_addresses(model, scene.ARM_JOINTS)[1])
        self._model, self._data, self._arm = model, data, arm
        self._site = model.site("tcp").id
        self._stiffness = np.repeat([gains.STIFFNESS_N_M, gains.STIFFNESS_NM_RAD], 3)
        self._damping = np.repeat([gains.DAMPING_NS_M, gains.DAMPING_NMS_RAD], 3)
        self._farthest = np.repeat([gains.ERROR_CLIP_M, gains.ERROR_CLIP_RAD], 3)
        self._passing = 1 / (1 + 1 / (2 * np.pi * CUTOFF_HZ * model.opt.timestep))
        self._position, self._turn = data.site_xpos[self._site], data.site_xmat[self._site]
        self._rotation, self._speeds = self._turn.reshape(3, 3), data.qvel[arm]
        self._bias, self._gravity = data.qfrc_bias[arm], data.qfrc_gravcomp[arm]
        self._applied = data.qfrc_applied[arm]
        self._linear, self._angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        self.jacobian = np.zeros((6, arm.stop - arm.start))
        """Of the end effector, in the base frame, as of the last `apply`."""
        self._local, self._current = np.zeros(3), np.zeros(4)
        self._error, self._torque = np.zeros(6), np.zeros(7)

    def reset(self) -> None:
        self._torque[:] = 0

    def apply(self, position: np.ndarray, wxyz: np.ndarray, twist: np.ndarray) -> None:
        """Set the forces for the next step towards a pose (wxyz quaternion) moving with `twist`."""
        self._applied[:] = self._torque  # the answer to the state of one cycle before
        mujoco.mj_jacSite(self._model, self._data, self._linear, self._angular, self._site)
        jacobian, arm = self.jacobian, self._arm
        jacobian[:3], jacobian[3:] = self._linear[:, arm], self._angular[:, arm]
        self._measure_error(position, wxyz)
        slip = jacobian @ self._speeds
        slip -= twist
        change = (self._stiffness * self._error + self._damping * slip) @ jacobian
        np.subtract(self._bias, change, out=change)
        change -= self._gravity
        change -= self._torque
        np.minimum(change, MAX_TORQUE_STEP_NM, out=change)
        np.maximum(change, -MAX_TORQUE_STEP_NM, out=change)
        change *= self._passing
        self._torque += change

    def _measure_error(self, position: np.ndarray, wxyz: np.ndarray) -> None:
        error = self._error
        mujoco.mju_mat2Quat(self._current, self._turn)
        mujoco.mju_subQuat(self._local, self._current, wxyz)
        mujoco.mju_mulMatVec(error[3:], self._rotation, self._local)
        np.subtract(self._position, position, out=error[:3])
        np.minimum(error, self._farthest, out=error)
        np.maximum(error, -self._farthest, out=error)


class HandController:
    """Turns wanted widths into the fingers' part of `qfrc_applied`."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, config: GripConfig | None = None) -> None:
        q, v = (_contiguous(found) for found in scene.joint_addresses(model, scene.FINGER_JOINTS))
        self._config, self._dt = config or GripConfig(), model.opt.timestep
        self._places, self._speeds, self._applied = data.qpos[q], data.qvel[v], data.qfrc_applied[v]
        self._servo = FingerServo()
        self._last: HandCommand | None = None

    def reset(self) -> None:
        self._servo, self._last = FingerServo(), None

    def request(self, width_m: float) -> None:
        """Want a width; the command it calls for, if any, is carried out from the next step on."""
        command = decide(self._config, width_m, self._last)
        if command is None:
            return
        self._last = command
        if command.kind == "grasp":
            self._servo.grasp(self._config.speed_m_s, self._config.force_n)
        else:
            self._servo.move(command.width_m, self._config.speed_m_s)

    def apply(self) -> None:
        """Set the forces for the next step."""
        self._applied[:] = self._servo.forces(self._places.tolist(), self._speeds.tolist(), self._dt)


class CollisionStop:
    """Feels what the arm touches, and stops the robot when it is too much, until `reset`."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        arm = _contiguous(scene.joint_addresses(model, scene.ARM_JOINTS)[1])
        self._pushed = data.qfrc_constraint[arm]  # nothing but contact acts there, short of a joint's end
        self._dt, self._sum = model.opt.timestep, np.zeros(7)
        self.reset()

    def reset(self) -> None:
        self._touch, self.wrench = Touch(), np.zeros(6)
        """Of the end effector on what it touches, N and Nm in the base frame, as of the last `judge`."""
        self._sum[:] = 0
        self.stopped = ""
        """Why, or nothing while the robot runs."""

    def add(self) -> None:
        """After every step."""
        self._sum -= self._pushed

    def judge(self, jacobian: np.ndarray, steps: int) -> None:
        """After some steps."""
        self._touch.feel(self._sum / max(steps, 1), self._dt * steps)
        self._sum[:] = 0
        self.wrench = self._touch.wrench(jacobian)
        if self.stopped or not self.wrench.any():
            return
        torque, wrench = np.abs(self._touch.torque_nm), np.abs(self.wrench)
        axis, joint = int(wrench.argmax()), int(torque.argmax())
        if wrench[axis] > COLLISION_N:
            self.stopped = f"collision: {wrench[axis]:.0f} {AXES[axis]} stopped the arm"
        elif torque[joint] > COLLISION_NM:
            self.stopped = f"collision: {torque[joint]:.0f} Nm at joint {joint + 1} stopped the arm"


def _contiguous(addresses: np.ndarray) -> slice:
    """The addresses as a slice, so that reading through it makes a view and not a copy."""
    found = slice(int(addresses[0]), int(addresses[-1]) + 1)
    assert addresses.tolist() == list(range(found.start, found.stop)), "joints of one part lie side by side"
    return found

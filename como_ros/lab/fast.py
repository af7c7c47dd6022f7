"""Fast mode: the lab's world, task and controller stepped in-process, without ROS or FCI.

Time is simulated; nothing here reads a clock. The same seeds give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np

from como_ros.lab import scene
from como_ros.lab.controller import CollisionStop, HandController, ImpedanceController
from como_ros.lab.operator import Plan
from como_ros.lab.render import Renderer
from como_ros.lab.tasks import Layout, Task
from policies import spaces

SETPOINT_PERIOD_S = 0.01

Setpoint = tuple[np.ndarray, np.ndarray, float]
"""pose7, twist6, gripper width."""


class FastLab:
    """One world with its controller; `reset`, `advance`, `look`."""

    def __init__(self, task: Task, image_hw: tuple[int, int] = (128, 128), render: bool = True) -> None:
        self.task = task
        self.model = scene.build_model(task.objects_xml)
        self.data = mujoco.MjData(self.model)
        self._arm = ImpedanceController(self.model, self.data)
        self._hand = HandController(self.model, self.data)
        self._collision = CollisionStop(self.model, self.data)
        self._held: Setpoint | None = None
        self._renderer = Renderer(self.model, image_hw) if render else None
        self._site = self.model.site("tcp").id
        self._arm_q, self._arm_v = scene.joint_addresses(self.model, scene.ARM_JOINTS)
        self._finger_q, _ = scene.joint_addresses(self.model, scene.FINGER_JOINTS)

    def reset(self, seed: int, spread: str = "training", start_q: np.ndarray | None = None) -> Layout:
        """The world as the seed has it, the arm at rest at the seed's joints or at `start_q`."""
        layout = self.task.sample(seed, spread)
        mujoco.mj_resetData(self.model, self.data)
        scene.set_arm_home(self.model, self.data, layout.start_q if start_q is None else start_q)
        self.task.place(self.model, self.data, layout)
        self._arm.reset()
        self._hand.reset()
        self._collision.reset()
        self._held = None
        return layout

    @property
    def time_s(self) -> float:
        return float(self.data.time)

    @property
    def ee_pose7(self) -> np.ndarray:
        matrix = self.data.site_xmat[self._site].reshape(3, 3)
        return np.concatenate([self.data.site_xpos[self._site], spaces.quaternion_from_matrix(matrix)])

    @property
    def joints(self) -> np.ndarray:
        return self.data.qpos[self._arm_q].copy()

    @property
    def joint_velocities(self) -> np.ndarray:
        return self.data.qvel[self._arm_v].copy()

    @property
    def width_m(self) -> float:
        return float(self.data.qpos[self._finger_q].sum())

    @property
    def wrench(self) -> np.ndarray:
        """Of the end effector on what it touches: N and Nm in the base frame, signed as by libfranka."""
        return self._collision.wrench

    @property
    def state(self) -> np.ndarray:
        return spaces.pack_state(self.ee_pose7, self.width_m, self.joints)

    def look(self) -> dict[str, np.ndarray]:
        """Every camera's frame now."""
        if self._renderer is None:
            raise RuntimeError("this lab was built with render=False")
        return {camera: self._renderer.colour(self.data, camera) for camera in spaces.CAMERAS}

    def advance(self, setpoint: Setpoint) -> None:
        """Follow one set-point for its period; like franky, hold the pose and damp towards its twist."""
        self.step(setpoint, round(SETPOINT_PERIOD_S / self.model.opt.timestep))

    def step(self, setpoint: Setpoint, steps: int) -> None:
        """Follow one set-point for some physics steps; after a collision hold where the arm was stopped."""
        pose7, twist, width = self._held or setpoint
        position, wxyz = pose7[:3], pose7[[6, 3, 4, 5]]
        self._hand.request(width)
        for _ in range(steps):
            self._arm.apply(position, wxyz, twist)
            self._hand.apply()
            mujoco.mj_step(self.model, self.data)
            self._collision.add()
        self._collision.judge(self._arm.jacobian, steps)
        if self.stopped and self._held is None:
            self._held = self.ee_pose7, np.zeros(6), width

    def follow(self, setpoint_at: Callable[[float], Setpoint], seconds: float) -> None:
        for _ in range(round(seconds / SETPOINT_PERIOD_S)):
            self.advance(setpoint_at(self.time_s))

    def operator_plan(self, seed: int) -> Plan:
        return self.task.plan(self.task.truth(self.data), self.ee_pose7[:3], seed)

    @property
    def stopped(self) -> str:
        """The collision that has stopped the arm for the rest of the episode, or nothing."""
        return self._collision.stopped

    def success(self) -> tuple[bool, str]:
        """(done, why not); an arm that a collision has stopped does nothing more."""
        if self.stopped:
            return False, self.stopped
        return self.task.success(self.model, self.data)

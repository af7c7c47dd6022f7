"""The world behind the Franka protocol: MuJoCo stepped in real time, felt, published, questioned."""

from __future__ import annotations

import gc
import os
import queue
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from franka_sim.mujoco_franka_sim import MujocoFrankaSim

from como_ros.lab import scene
from como_ros.lab.contacts import ContactSensor
from como_ros.lab.fingers import FingerServo
from como_ros.lab.limit_tables import set_joint_stops
from como_ros.lab.shared_state import SharedState
from como_ros.lab.tasks import RANGES, get_task
from policies import spaces

PUBLISH_EVERY = 5
"""Physics steps between two looks at the world for the cameras."""
SWITCH_INTERVAL_S = 0.0005
PACE_OVER_S = 1.0
"""How far the factor of real time looks back."""
SLOW_BELOW = 0.95


@dataclass(frozen=True)
class LabConfig:
    """One lab."""

    task: str = "pick_place"
    seed: int = 0
    state: str = "lab"
    """Name of the shared memory block that the camera feed reads."""
    control: str = "/tmp/como_lab.sock"
    """Path of the Unix socket for reset, status, truth and faults."""
    robot: str = "panda"
    """Whose limits hold: panda or fr3."""
    spread: str = "training"
    """Range that layouts are drawn from: training or held_out."""
    fault: str = ""
    """One to start with, see `como_ros.lab.faults`."""


class LabArm(MujocoFrankaSim):
    """Our world in franka-sim's place of its own; only the physics thread touches it."""

    def __init__(self, config: LabConfig, on_ready: Callable[[], None]) -> None:
        super().__init__(enable_hand=True)
        self.task = get_task(config.task)
        self.seed, self.spread, self.robot = config.seed, config.spread, config.robot
        self.fingers = FingerServo()
        self.pace = 1.0
        """Seconds of the world in a second of ours; a fault makes it less."""
        self._state_name = config.state
        self._on_ready = on_ready
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._steps = 0
        self._due = 0.0
        self._looks: deque[tuple[float, float]] = deque(maxlen=300)

    def initialize_simulation(self) -> None:
        self.model = scene.build_model(self.task.objects_xml)
        self.data = mujoco.MjData(self.model)
        self._bind_model()
        set_joint_stops(self.model, [self.model.joint(name).id for name in scene.ARM_JOINTS], self.robot)
        self.ee_body_id = self.model.body("flange").id
        self._tcp = self.model.site("tcp").id
        self._pushed = int(self.model.site_bodyid[self._tcp])
        self._sensor = ContactSensor(self.model, self.arm_dofs_idx)
        self.shared = SharedState.create(self._state_name, scene.world_vector_size(self.model))
        scene.set_arm_home(self.model, self.data)
        self.latest_joint_positions = scene.HOME_Q.copy()
        self._position_feedforward.reset(self.latest_joint_positions)
        self.reset(self.seed)
        self._read_and_publish_state()

    def run_simulation(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()  # a full collection costs several of the protocol's 1 ms cycles
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            self._on_ready()
            super().run_simulation()
        finally:
            self.shared.close()

    def finger_control_force(self) -> np.ndarray:
        q, dq = self.data.qpos[self.finger_qpos_adr], self.data.qvel[self.finger_dofs_idx]
        return np.array(self.fingers.forces(q, dq, self.dt))

    def set_stiffness_frame(self, ee_t_k: np.ndarray) -> None:
        """The frame, in the end effector's, at which the external wrench is told."""
        self._sensor.ee_t_k = ee_t_k

    def get_robot_state(self) -> dict[str, Any]:
        return self._state_snapshot | self._felt

    def ask(self, question: Callable[[], Any]) -> Any:
        """Run `question` between two physics steps and return what it returns."""
        answer: Future[Any] = Future()
        self._jobs.put((question, answer))
        return answer.result(timeout=5.0)

    def _read_and_publish_state(self) -> None:
        """Once before every step."""
        self._felt = self._sensor.read(self.data, *self._step_ee_readings())
        super()._read_and_publish_state()
        self._steps += 1
        if self._steps % PUBLISH_EVERY == 0:
            world = scene.world_vector(self.data, self.seed, RANGES.index(self.spread))
            self.shared.write(world, time.time_ns())
            self._looks.append((time.perf_counter(), float(self.data.time)))
        if not self._jobs.empty():
            self._answer(*self._jobs.get())
        if self.pace < 1:
            self._dawdle()

    def _answer(self, question: Callable[[], Any], answer: Future[Any]) -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)  # the asker's, not the world's

    def _dawdle(self) -> None:
        now = time.perf_counter()
        self._due = max(self._due, now - self.dt) + self.dt / self.pace
        time.sleep(max(0.0, self._due - now))

    @property
    def realtime_factor(self) -> float:
        """Of the last second; 1 before there were two looks in it."""
        since = time.perf_counter() - PACE_OVER_S
        looks = [look for look in self._looks if look[0] > since]
        if len(looks) < 2:
            return 1.0
        return (looks[-1][1] - looks[0][1]) / (looks[-1][0] - looks[0][0])

    # Asked for through `ask` ---------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Objects where `seed` says. The arm stays: only the robot's own client may move it."""
        self.layout = self.task.sample(seed, self.spread)
        self.seed = seed
        self.task.place(self.model, self.data, self.layout)
        self._sensor.peak_torque_nm = self._sensor.peak_force_n = 0.0
        self.push(np.zeros(3))

    def push(self, force_n: np.ndarray) -> dict[str, Any]:
        """Somebody pushes the hand until told otherwise; the robot does not feel it, as it feels contacts."""
        self.data.xfrc_applied[self._pushed, :3] = force_n
        return {"force": force_n.tolist()}

    def status(self) -> dict[str, Any]:
        success, reason = self.task.success(self.model, self.data)
        factor = self.realtime_factor
        slow = f"physics runs at {factor:.2f} of real time, below {SLOW_BELOW}" if factor < SLOW_BELOW else ""
        return {
            "success": bool(success),
            "reason": reason,
            "time": float(self.data.time),
            "ready": True,
            "pid": os.getpid(),
            "task": self.task.name,
            "seed": self.seed,
            "instruction": self.layout.instruction,
            "robot": self.robot,
            "realtime_factor": factor,
            "warning": slow,
            "peak_force_n": self._sensor.peak_force_n,
            "peak_torque_nm": self._sensor.peak_torque_nm,
        }

    def truth(self) -> dict[str, Any]:
        """Where things are, for scripted operators and metrics, never for a policy."""
        matrix = self.data.site_xmat[self._tcp].reshape(3, 3)
        return {
            "task": self.task.name,
            "things": self.task.truth(self.data),
            "ee": [*self.data.site_xpos[self._tcp].tolist(), *spaces.quaternion_from_matrix(matrix).tolist()],
            "joints": self.data.qpos[self.arm_qpos_adr].tolist(),
            "width": float(self.data.qpos[self.finger_qpos_adr].sum()),
            "seed": self.seed,
            "time": float(self.data.time),
        }

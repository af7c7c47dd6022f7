"""The lab as a robot controller: our MuJoCo world behind the Franka protocol, arm on 1337, hand on 1338.

franka-sim speaks the protocol; `LabArm` is the world it moves. Motion limits and communication constraints
are enforced. Beside it: the world's state in shared memory for the cameras, and a Unix socket for the lab's
own commands (`como_ros.lab.control`). Runs until SIGINT or SIGTERM:

    python -m como_ros.lab.fci --task pick_place --seed 3 --state lab --control /tmp/como_lab.sock
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import mujoco
from franka_sim.franka_sim_server import FrankaSimServer
from franka_sim.mujoco_franka_sim import MujocoFrankaSim

from como_ros.drivers.priority import run_before_others
from como_ros.errors import ComoError
from como_ros.lab import scene
from como_ros.lab.hand_server import LabHand, LabHandServer
from como_ros.lab.shared_state import SharedState
from como_ros.lab.tasks import RANGES, get_task
from policies import spaces

HOST = "127.0.0.1"
LOCK = Path("/tmp/como_lab_fci.lock")
LOCK_WAIT_S = 120.0
PUBLISH_EVERY = 5
"""Physics steps between two looks at the world for the cameras."""
SWITCH_INTERVAL_S = 0.0005
PRIORITY = 5
PROTOCOL = {"panda": 5, "fr3": 10}
"""Which of franka-sim's limit tables judges the commands."""


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
    spread: str = "training"
    """Range that layouts are drawn from: training or held_out."""


class LabArm(MujocoFrankaSim):
    """Our world in franka-sim's place of its own; only the physics thread touches it."""

    def __init__(self, config: LabConfig, on_ready: Callable[[], None]) -> None:
        super().__init__(enable_hand=True)
        self.task = get_task(config.task)
        self.seed, self.spread = config.seed, config.spread
        self.cameras_frozen = False
        self._state_name = config.state
        self._on_ready = on_ready
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._steps = 0

    def initialize_simulation(self) -> None:
        self.model = scene.build_model(self.task.objects_xml)
        self.data = mujoco.MjData(self.model)
        self._bind_model()
        self.ee_body_id = self.model.body("flange").id
        self._tcp = self.model.site("tcp").id
        self._shared = SharedState.create(self._state_name, scene.world_vector_size(self.model))
        scene.set_arm_home(self.model, self.data)
        self.latest_joint_positions = scene.HOME_Q.copy()
        self._position_feedforward.reset(self.latest_joint_positions)
        self.reset(self.seed)
        self._read_and_publish_state()
        run_before_others(PRIORITY)  # and so will the protocol's threads, which start after this

    def run_simulation(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()  # a full collection costs several of the protocol's 1 ms cycles
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._on_ready()
        super().run_simulation()
        self._shared.close()

    def ask(self, question: Callable[[], Any]) -> Any:
        """Run `question` between two physics steps and return what it returns."""
        answer: Future[Any] = Future()
        self._jobs.put((question, answer))
        return answer.result(timeout=5.0)

    def _read_and_publish_state(self) -> None:
        super()._read_and_publish_state()
        self._steps += 1
        if self._steps % PUBLISH_EVERY == 0 and not self.cameras_frozen:
            world = scene.world_vector(self.data, self.seed, RANGES.index(self.spread))
            self._shared.write(world, time.time_ns())
        if not self._jobs.empty():
            question, answer = self._jobs.get()
            try:
                answer.set_result(question())
            except ValueError as error:
                answer.set_exception(error)

    # Asked for through `ask` ---------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Objects where `seed` says. The arm stays: only the robot's own client may move it."""
        self.seed = seed
        self.layout = self.task.sample(seed, self.spread)
        self.task.place(self.model, self.data, self.layout)

    def status(self) -> dict[str, Any]:
        success, reason = self.task.success(self.model, self.data)
        return {
            "success": bool(success),
            "reason": reason,
            "time": float(self.data.time),
            "ready": True,
            "pid": os.getpid(),
            "task": self.task.name,
            "seed": self.seed,
            "instruction": self.layout.instruction,
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


class Lab:
    """The running server: made, `run` in the main thread, told to `stop` from anywhere."""

    def __init__(self, config: LabConfig, on_ready: Callable[[], None] = lambda: None) -> None:
        if config.robot not in PROTOCOL:
            raise ComoError(f"no robot named {config.robot!r}; known: {', '.join(PROTOCOL)}")
        self.config = config
        self.arm = LabArm(config, on_ready)
        self.server = FrankaSimServer(
            host=HOST,
            physics_sim=self.arm,
            protocol_version=PROTOCOL[config.robot],
            enforce_comm_constraints=True,
            enforce_motion_limits=True,
        )
        self.server.gripper_server = LabHandServer(HOST, LabHand(self.arm))

    def run(self) -> None:
        try:
            self.server.start()
        finally:
            self.server.stop()

    def stop(self) -> None:
        self.arm.running = False


@contextmanager
def only_one_lab(wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """The protocol's ports are fixed, so labs on one machine take turns."""
    deadline = time.monotonic() + wait_s
    with LOCK.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ComoError(
                        f"another lab holds ports 1337 and 1338 for more than {wait_s:.0f} s; stop it first"
                    ) from None
                time.sleep(0.1)
        yield


def serve(config: LabConfig) -> None:
    """Run the lab in this process until SIGINT or SIGTERM."""
    from como_ros.lab.control import ControlSocket

    stopped = threading.Event()

    def announce() -> None:
        if stopped.is_set():
            lab.stop()
        where = f"arm {HOST}:1337, hand {HOST}:1338, task {config.task}, seed {config.seed}"
        print(f"lab ready: {where}, state {config.state}, control {config.control}", flush=True)  # noqa: T201

    def stop(signum: int, frame: FrameType | None) -> None:
        stopped.set()
        lab.stop()

    with only_one_lab():
        lab = Lab(config, announce)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        with ControlSocket(Path(config.control), lab):
            lab.run()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m como_ros.lab.fci", description="Serve the lab's arm.")
    for setting in fields(LabConfig):
        parser.add_argument(f"--{setting.name}", type=type(setting.default), default=setting.default)
    parser.add_argument("--verbose", action="store_true")
    options = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO if options.pop("verbose") else logging.ERROR)
    try:
        serve(LabConfig(**options))
    except ComoError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A real client at work in the lab for as long as one likes, while both cameras are drawn beside it."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from como_ros.control.limits import get_limits
from como_ros.drivers.franka import ArmError, FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.drivers.home_run import HomeRun
from como_ros.errors import ComoError
from como_ros.lab.client import LabClient
from como_ros.lab.operator import OPEN_M, Plan
from como_ros.lab.tasks import Task
from policies.spaces import CAMERAS

PERIOD_S = 0.01
SINE_M, SINE_HZ, RAMP_S = 0.08, 0.25, 1.0
HOME_WAIT_S, HAND_WAIT_S, OPEN_WAIT_S, SETTLE_S = 6.0, 5.0, 3.0, 0.5
LIFTED_M = 0.12
HELD_WITHIN_M = 0.02
IMAGE_PX, IMAGE_HZ = 128, 10


def ticks(seconds: float) -> Iterator[float]:
    """The time since the start, once for every set-point of 100 Hz."""
    begun = time.monotonic()
    while (elapsed_s := time.monotonic() - begun) < seconds:
        yield elapsed_s
        due = begun + (elapsed_s // PERIOD_S + 1) * PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))


@dataclass
class Held:
    """How long the thing stayed between the fingers after the lift."""

    seconds: float = 0.0
    furthest_m: float = 0.0


@dataclass
class Worker:
    """The arm and the hand of a running lab, worked through the protocol; ArmError where the arm stops."""

    task: Task
    control: str
    config: FrankaConfig = field(default_factory=FrankaConfig)

    def __post_init__(self) -> None:
        self.lab = LabClient(self.control)
        self._arm, self._hand = FrankaArm(self.config), Hand(self.config.host)
        if not self._hand.wait_connected(HAND_WAIT_S):
            raise ComoError(f"{self._hand.fault}; the lab's log says more")

    def prepare(self, seed: int) -> None:
        """Home, with the hand open, and the things where the seed says."""
        arm = self._arm
        self._hand.request(OPEN_M)
        if arm.read().mode == "Reflex":
            arm.recover()
        home = HomeRun(arm, get_limits(self.config.robot), Future(), time.monotonic_ns())
        for _ in ticks(HOME_WAIT_S):
            self._check()
            home.tick(time.monotonic_ns())
            if home.send(arm):
                break
        else:
            raise ArmError(f"the arm was not home after {HOME_WAIT_S:.0f} s")
        arm.track()
        for _ in ticks(OPEN_WAIT_S):
            self._check()
            if (self._hand.width_m or 0.0) > OPEN_M - 0.005:
                break
        self.lab.reset(seed)
        self._rest(SETTLE_S)

    def sine(self, seconds: float) -> float:
        """Mean distance in metres from a sine along y, with twist feed-forward, after it has swung in."""
        start, omega, errors_m = self._arm.read().pose7, 2 * np.pi * SINE_HZ, []
        for elapsed_s in ticks(seconds):
            swing = min(elapsed_s / RAMP_S, 1.0) * SINE_M
            target, twist = start.copy(), np.zeros(6)
            target[1] += swing * np.sin(omega * elapsed_s)
            twist[1] = swing * omega * np.cos(omega * elapsed_s)
            self._go(target, twist)
            if elapsed_s > RAMP_S:
                errors_m.append(float(np.linalg.norm(self._arm.read().pose7[:3] - target[:3])))
        return float(np.mean(errors_m))

    def work(self, seed: int, hold_s: float = 0.0) -> tuple[dict[str, Any], Held]:
        """One seed of the task to its end, with a rest in the air; the lab's verdict and what was held."""
        truth = self.lab.truth()
        plan = self.task.plan(truth["things"], np.array(truth["ee"][:3]), seed)
        lifted_s = self._lifted_s(plan) if hold_s else plan.duration_s
        held = Held()
        self.follow(plan, 0.0, lifted_s)
        if hold_s:
            held = self._hold(hold_s)
            self.follow(plan, lifted_s, plan.duration_s)
        self._rest(SETTLE_S)
        return self.lab.status(), held

    def _lifted_s(self, plan: Plan) -> float:
        """When the closed hand has risen in the plan."""
        times = np.arange(0.0, plan.duration_s, 0.05)
        rows = [plan.at(float(t)) for t in times]
        closed = next(i for i, row in enumerate(rows) if row[2] < OPEN_M / 2)
        return float(
            next(t for t, row in zip(times[closed:], rows[closed:], strict=True) if row[0][2] > LIFTED_M)
        )

    def follow(self, plan: Plan, from_s: float, to_s: float) -> None:
        """A part of the plan, arm and hand."""
        for elapsed_s in ticks(to_s - from_s):
            pose7, twist, width_m = plan.at(from_s + elapsed_s)
            self._go(pose7, twist)
            self._hand.request(width_m)

    def _hold(self, seconds: float) -> Held:
        held, pose7 = Held(), self._arm.read().pose7
        thing = self.task.things[0]
        for elapsed_s in ticks(seconds):
            self._go(pose7, np.zeros(6))
            if elapsed_s - held.seconds < 0.5:
                continue
            truth = self.lab.truth()
            away = np.linalg.norm(np.subtract(truth["things"][thing][:3], truth["ee"][:3]))
            held.furthest_m = max(held.furthest_m, float(away))
            if away > HELD_WITHIN_M or not self._hand.is_grasped:
                return held
            held.seconds = elapsed_s
        held.seconds = seconds
        return held

    def _rest(self, seconds: float) -> None:
        pose7 = self._arm.read().pose7
        for _ in ticks(seconds):
            self._go(pose7, np.zeros(6))

    def _go(self, pose7: np.ndarray, twist: np.ndarray) -> None:
        self._check()
        self._arm.set_target(pose7, twist)

    def _check(self) -> None:
        if fault := self._arm.fault():
            raise ArmError(fault)

    def close(self) -> None:
        self._arm.close()
        self._hand.close()
        self.lab.close()


# The cameras, in a process of their own as in the graph ------------------------------------------


@contextmanager
def cameras_drawn(state: str, task: str) -> Iterator[Any]:
    """Both cameras through librealsense while the block runs; yields how many frames each has sent."""
    apart = multiprocessing.get_context("spawn")
    frames, stop = apart.Array("l", len(CAMERAS), lock=False), apart.Event()
    process = apart.Process(target=_draw, args=(state, task, frames, stop), daemon=True)
    process.start()
    try:
        yield frames
    finally:
        stop.set()
        process.join(10)


def _draw(state: str, task: str, frames: Any, stop: Any) -> None:
    from como_ros.drivers.realsense import RealSense, StreamConfig
    from como_ros.lab.feed import LabFeed

    config = StreamConfig(width=IMAGE_PX, height=IMAGE_PX, rate_hz=IMAGE_HZ)
    feed = LabFeed(state, task, CAMERAS, config)

    def count(index: int, name: str) -> None:
        camera = RealSense(feed.device(name), config)
        while not stop.is_set():
            frames[index] += camera.read(0.5) is not None
        camera.close()

    threads = [threading.Thread(target=count, args=pair) for pair in enumerate(CAMERAS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    feed.close()

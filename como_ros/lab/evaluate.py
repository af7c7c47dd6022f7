"""Success of a bundle over seeds in fast mode: closed loop, Wilson interval, reasons for failure.

The policy runs as on the robot: onnxruntime, a new chunk every `execute` actions, each chunk arriving
`delay_s` late and conditioned on the actions already committed. Only the clock and the bus are missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from como_ros.control.limits import get_limits
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import POLICY
from como_ros.errors import ComoError
from como_ros.lab.fast import FastLab
from como_ros.lab.tasks import get_task
from como_ros.lab.workers import over_processes
from policies.chunks import ChunkScheduler, ScheduleConfig
from policies.runtime import Policy, load
from policies.spaces import Observation


@dataclass(frozen=True)
class EvaluationConfig:
    """How episodes are run."""

    execute: int = 4
    """Actions executed before the next chunk is asked for."""
    delay_s: float = 0.1
    """From observation to chunk; the arm goes on with the old chunk meanwhile."""
    workers: int = 2
    spread: str = "training"
    """Range that layouts are drawn from: training or held_out."""


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a success rate; honest at 0 and at 1."""
    if trials < 1:
        raise ComoError(f"an interval needs at least one trial, got {trials}")
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def evaluate(
    bundle: Path,
    task: str,
    episodes: int,
    seed: int,
    config: EvaluationConfig = EvaluationConfig(),
    progress: Callable[[dict], None] | None = None,
) -> dict:
    """Run `episodes` consecutive seeds and count; result of `como evaluate`."""
    if episodes < 1:
        raise ComoError(f"--episodes must be at least 1, got {episodes}")
    get_task(task).require_seeds(seed, episodes, config.spread)
    load(bundle)  # refuse a bad bundle here, once, before workers start
    jobs = [(bundle, task, seed + i, config) for i in range(episodes)]
    rows = []
    for row in over_processes(_run_job, jobs, config.workers):
        rows.append(row)
        if progress:
            progress(row)
    successes = sum(row["success"] for row in rows)
    low, high = wilson_interval(successes, episodes)
    return {
        "episodes": episodes,
        "successes": successes,
        "rate": successes / episodes,
        "ci95": [low, high],
        "per_episode": rows,
    }


@cache
def _lab_and_policy(bundle: Path, task: str) -> tuple[FastLab, Policy]:
    """A worker's own."""
    policy = load(bundle)
    return FastLab(get_task(task), policy.contract.image_hw), policy


def _run_job(job: tuple[Path, str, int, EvaluationConfig]) -> dict:
    bundle, task, seed, config = job
    return run_episode(*_lab_and_policy(bundle, task), seed, config)


def run_episode(lab: FastLab, policy: Policy, seed: int, config: EvaluationConfig) -> dict:
    """One closed-loop episode, ended by success, a collision or the task's time limit."""
    layout = lab.reset(seed, config.spread)
    driver = _Driver(lab, policy, layout.instruction, config)
    thing = lab.data.body(lab.task.things[0])
    began, moved_m, done, reason = thing.xpos.copy(), 0.0, False, ""
    while lab.time_s < lab.task.time_limit_s and not done and not lab.stopped:
        driver.run_chunk(seed)
        moved_m = max(moved_m, float(np.linalg.norm(thing.xpos - began)))
        done, reason = lab.success()
    return {
        "seed": seed,
        "success": done,
        "reason": reason,
        "moved_m": moved_m,
        "seconds": lab.time_s,
        "inference_ms": float(np.median(driver.inference_s) * 1e3),
    }


class _Driver:
    """Asynchronous chunks in simulated time: think, go on with the old chunk meanwhile, switch.

    Set-points come from the arm node's own servo, shield included.
    """

    def __init__(self, lab: FastLab, policy: Policy, instruction: str, config: EvaluationConfig) -> None:
        self._lab, self._policy, self._instruction, self._config = lab, policy, instruction, config
        schedule = ScheduleConfig(config.execute, policy.bundle.prefix_longest)
        self._scheduler = ChunkScheduler(policy.contract, schedule)
        limits = get_limits(policy.contract.robot)
        self._servo = Servo(ServoConfig(), ShieldConfig(), lab.ee_pose7, self._now_ns, limits)
        self._width = lab.width_m
        self.inference_s: list[float] = []

    @property
    def _now_ns(self) -> int:
        return round(self._lab.time_s * 1e9)

    def run_chunk(self, seed: int) -> None:
        """Observe, infer, and move until the next observation is due."""
        lab, policy = self._lab, self._policy
        observation = Observation(self._now_ns, lab.look(), lab.state, self._instruction)
        started = time.perf_counter()
        intent = policy.intend(observation)
        prefix = self._scheduler.committed(observation)
        actions = policy.act(observation, intent, prefix, seed=seed + observation.stamp_ns // 1_000_000)
        self.inference_s.append(time.perf_counter() - started)
        lab.follow(self._setpoint_at, self._config.delay_s)
        chunk = self._scheduler.accept(observation, actions, self._now_ns)
        if chunk is not None:
            self._servo.command_chunk(chunk.due_ns, chunk.poses, self._now_ns)
            self._servo.command_widths(chunk.due_ns, chunk.widths, self._now_ns)
        period_s = 1 / policy.contract.action_rate_hz
        lab.follow(self._setpoint_at, self._config.execute * period_s - self._config.delay_s)

    def _setpoint_at(self, time_s: float) -> tuple[np.ndarray, np.ndarray, float]:
        now_ns = round(time_s * 1e9)
        self._servo.supervise(POLICY, now_ns)
        setpoint = self._servo.tick(now_ns, self._lab.joints)
        width = self._servo.width(now_ns)
        self._width = self._width if width is None else width
        return setpoint.pose7, setpoint.twist, self._width

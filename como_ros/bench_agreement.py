"""`como bench agreement`: the scripted operator's plan of each seed in fast mode and through the protocol.

Both begin at the same joints with the hand open and the same things in place; the same plan is followed and
judged at its end. Some plans miss on purpose, so that both modes also have failures to agree on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from como_ros.control.limits import get_limits
from como_ros.drivers.franka import FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.drivers.home_run import HomeRun
from como_ros.errors import ComoError
from como_ros.graphs import Deployment, graph
from como_ros.lab.client import LabClient
from como_ros.lab.evaluate import wilson_interval
from como_ros.lab.fast import SETPOINT_PERIOD_S, FastLab
from como_ros.lab.operator import OPEN_M, Plan
from como_ros.lab.tasks import Task, get_task
from como_ros.up import Running, stop_signals_interrupt, wait_for_lab
from policies.spaces import EVALUATION_SEEDS_FROM

MISSES_M = (0.0, 0.015, 0.025, 0.035)
"""By which the plans of consecutive seeds lie beside the thing, along y."""
GATE = 0.9
SETTLE_S = 0.4
"""Things that were put down come to rest, and the arm under its new controller."""
HAND_WAIT_S = 5.0


def run_bench(
    task: str, episodes: int = 20, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Result of `como bench agreement`."""
    if episodes < 1:
        raise ComoError(f"--episodes must be at least 1, got {episodes}")
    if seed + episodes > EVALUATION_SEEDS_FROM:
        raise ComoError(f"--seed {seed}: seeds from {EVALUATION_SEEDS_FROM} on are for evaluation only")
    rows = []
    with _lab_up(task) as station:
        for number in range(seed, seed + episodes):
            rows.append(station.compare(number, MISSES_M[number % len(MISSES_M)]))
            say(_sentence(rows[-1]))
    return {"episodes": episodes, "rows": [_row(rows)], "per_episode": rows}


def _sentence(row: dict[str, Any]) -> str:
    told = {mode: "success" if row[mode]["success"] else row[mode]["reason"] for mode in ("fast", "fci")}
    beside = f"{row['miss_m'] * 100:.1f} cm beside"
    return f"seed {row['seed']}, {beside}: fast mode {told['fast']}, protocol {told['fci']}"


def _row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    agreeing, share = sum(row["same"] for row in rows), sum(row["same"] for row in rows) / len(rows)
    low, high = wilson_interval(agreeing, len(rows))
    return {
        "id": "L1",
        "what": f"episodes that end alike in fast mode and through the protocol, {agreeing} of {len(rows)}",
        "ratio": share,
        "low": low,
        "high": high,
        "gate": GATE,
        "ok": share >= GATE,
    }


@contextmanager
def _lab_up(task: str) -> Iterator[_Station]:
    deployment = Deployment(lab=True, task=task)
    served = graph("teleop", deployment)[:1]
    with (
        tempfile.TemporaryDirectory(prefix="como_bench_") as logs,
        stop_signals_interrupt(),
        Running(served, Path(logs), {}) as running,
    ):
        running.start()
        wait_for_lab(running, deployment.lab_control)
        station = _Station(get_task(task), deployment.lab_control)
        try:
            yield station
        finally:
            station.close()


class _Station:
    """The arm and the hand through the protocol, and a world of the fast mode beside them."""

    def __init__(self, task: Task, control: str) -> None:
        self._task, self._fast = task, FastLab(task, render=False)
        self._lab, config = LabClient(control), FrankaConfig()
        self._limits = get_limits(config.robot)
        self._arm, self._hand = FrankaArm(config), Hand(config.host)
        if not self._hand.wait_connected(HAND_WAIT_S):
            raise ComoError(f"{self._hand.fault}; the lab's log says more")

    def compare(self, seed: int, miss_m: float) -> dict[str, Any]:
        """One seed in both modes."""
        self._prepare(seed)
        truth = self._lab.truth()
        plan = self._task.plan(truth["things"], np.array(truth["ee"][:3]), seed)
        plan = replace(plan, positions=plan.positions + _beside(plan, miss_m))
        fci = self._through_protocol(plan)
        fast = self._in_fast_mode(plan, seed, np.array(truth["joints"]))
        same = fci["success"] == fast["success"]
        return {"seed": seed, "miss_m": miss_m, "fast": fast, "fci": fci, "same": same}

    def _prepare(self, seed: int) -> None:
        """Home, with the hand open, and the things where the seed says."""
        arm = self._arm
        self._hand.request(OPEN_M)
        if arm.read().mode == "Reflex":
            arm.recover()
        home = HomeRun(arm, self._limits, Future(), time.monotonic_ns())
        for _ in _ticks(HAND_WAIT_S):
            if (fault := arm.fault()) or home.step(arm, time.monotonic_ns()):
                break
        if fault:
            raise ComoError(f"homing ended: {fault}")
        arm.track()
        self._lab.reset(seed)
        time.sleep(SETTLE_S)

    def _through_protocol(self, plan: Plan) -> dict[str, Any]:
        for elapsed_s in _ticks(plan.duration_s):
            if fault := self._arm.fault():
                return {"success": False, "reason": fault}
            pose7, twist, width_m = plan.at(elapsed_s)
            self._arm.set_target(pose7, twist)
            self._hand.request(width_m)
        status = self._lab.status()
        return {"success": status["success"], "reason": status["reason"]}

    def _in_fast_mode(self, plan: Plan, seed: int, start_q: np.ndarray) -> dict[str, Any]:
        self._fast.reset(seed, start_q=start_q)
        self._fast.follow(plan.at, plan.duration_s)
        success, reason = self._fast.success()
        return {"success": bool(success), "reason": reason}

    def close(self) -> None:
        self._arm.close()
        self._hand.close()
        self._lab.close()


def _beside(plan: Plan, miss_m: float) -> np.ndarray:
    """The shift of every waypoint but the first, where the arm is."""
    shift = np.zeros_like(plan.positions)
    shift[1:, 1] = miss_m
    return shift


def _ticks(seconds: float) -> Iterator[float]:
    """The time since the start, once for every set-point."""
    begun = time.monotonic()
    for tick in range(round(seconds / SETPOINT_PERIOD_S)):
        time.sleep(max(0.0, begun + tick * SETPOINT_PERIOD_S - time.monotonic()))
        yield time.monotonic() - begun

"""`como bench agreement`: the scripted operator's plan of each seed in fast mode and through the protocol.

Both begin at the same joints with the hand open and the same things in place; the same plan is followed and
judged at its end. Some plans miss on purpose, so that both modes also have failures to agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from como_ros.bench_lab import lab_up
from como_ros.drivers.franka import ArmError
from como_ros.errors import ComoError
from como_ros.graphs import Deployment
from como_ros.lab.evaluate import wilson_interval
from como_ros.lab.fast import FastLab
from como_ros.lab.operator import Plan
from como_ros.lab.soak import Worker
from como_ros.lab.tasks import get_task
from policies.spaces import EVALUATION_SEEDS_FROM

MISSES_M = (0.0, 0.015, 0.025, 0.035)
"""By which the plans of consecutive seeds lie beside the thing, along y."""
GATE = 0.9


def run_bench(
    task: str, episodes: int = 20, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Result of `como bench agreement`."""
    if episodes < 1:
        raise ComoError(f"--episodes must be at least 1, got {episodes}")
    if seed + episodes > EVALUATION_SEEDS_FROM:
        raise ComoError(f"--seed {seed}: seeds from {EVALUATION_SEEDS_FROM} on are for evaluation only")
    rows, fast = [], FastLab(get_task(task), render=False)
    with lab_up(Deployment(lab=True, task=task)) as worker:
        for number in range(seed, seed + episodes):
            rows.append(_compare(worker, fast, number, MISSES_M[number % len(MISSES_M)]))
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


def _compare(worker: Worker, fast: FastLab, seed: int, miss_m: float) -> dict[str, Any]:
    """One seed in both modes."""
    worker.prepare(seed)
    truth = worker.lab.truth()
    plan = worker.task.plan(truth["things"], np.array(truth["ee"][:3]), seed)
    plan = replace(plan, positions=plan.positions + _beside(plan, miss_m))
    fci = _through_protocol(worker, plan)
    fast_end = _in_fast_mode(fast, plan, seed, np.array(truth["joints"]))
    same = fci["success"] == fast_end["success"]
    return {"seed": seed, "miss_m": miss_m, "fast": fast_end, "fci": fci, "same": same}


def _through_protocol(worker: Worker, plan: Plan) -> dict[str, Any]:
    try:
        worker.follow(plan, 0.0, plan.duration_s)
    except ArmError as fault:
        return {"success": False, "reason": str(fault)}
    status = worker.lab.status()
    return {"success": status["success"], "reason": status["reason"]}


def _in_fast_mode(fast: FastLab, plan: Plan, seed: int, start_q: np.ndarray) -> dict[str, Any]:
    fast.reset(seed, start_q=start_q)
    fast.follow(plan.at, plan.duration_s)
    success, reason = fast.success()
    return {"success": bool(success), "reason": reason}


def _beside(plan: Plan, miss_m: float) -> np.ndarray:
    """The shift of every waypoint but the first, where the arm is."""
    shift = np.zeros_like(plan.positions)
    shift[1:, 1] = miss_m
    return shift

"""`como bench lab`: whether the lab is as good as a robot, with both enforcements on and both cameras drawn.

The real client homes, follows a sine, picks the cube and holds it; then, with --minutes, it picks and places
over and over. Every episode's figures are written as they come.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from como_ros.drivers.franka import ArmError, FrankaConfig
from como_ros.errors import ComoError
from como_ros.gates import at_least, at_most
from como_ros.graphs import Deployment, graph
from como_ros.lab.soak import IMAGE_HZ, Worker, cameras_drawn
from como_ros.lab.tasks import get_task
from como_ros.up import Running, stop_signals_interrupt, wait_for_lab
from policies.spaces import EVALUATION_SEEDS_FROM

TASK = "pick_place"
SINE_S, HOLD_S = 9.0, 20.0
MOST_ERROR_MM, LEAST_REALTIME, LEAST_FRAMES = 4.0, 0.95, 0.95
LOST_AT_MOST = 20
"""Lost cycles in a row that the robot stops at."""
CAMERA_WARM_UP_S = 3.0


@dataclass
class Figures:
    """What the episodes add up to."""

    episodes: int = 0
    successes: int = 0
    faults: list[str] = field(default_factory=list)
    peak_force_n: float = 0.0
    peak_torque_nm: float = 0.0
    slowest: float = 1.0
    """The least real-time factor seen at an episode's end."""

    def add(self, status: dict[str, Any]) -> None:
        self.peak_force_n = max(self.peak_force_n, status["peak_force_n"])
        self.peak_torque_nm = max(self.peak_torque_nm, status["peak_torque_nm"])
        self.slowest = min(self.slowest, status["realtime_factor"])


def run_bench(
    minutes: float = 0.0,
    seed: int = 0,
    log: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Result of `como bench lab`."""
    if not 0 <= minutes <= 24 * 60:
        raise ComoError(f"--minutes {minutes:g} is not between 0 and a day")
    if not 0 <= seed < EVALUATION_SEEDS_FROM // 2:
        raise ComoError(
            f"--seed {seed} is not below {EVALUATION_SEEDS_FROM // 2}; later ones are not to be seen"
        )
    if log is not None:
        log.write_text("")
    deployment = Deployment(lab=True, task=TASK)
    with lab_up(deployment) as worker, cameras_drawn(deployment.lab_name, TASK) as frames:
        time.sleep(CAMERA_WARM_UP_S)
        return _Bench(worker, frames, log, say).run(minutes, seed)


@contextmanager
def lab_up(deployment: Deployment) -> Iterator[Worker]:
    """The deployment's lab alone, and a client at work in it."""
    served = graph("teleop", deployment)[:1]
    with (
        tempfile.TemporaryDirectory(prefix="como_bench_") as logs,
        stop_signals_interrupt(),
        Running(served, Path(logs), {}) as running,
    ):
        running.start()
        wait_for_lab(running, deployment.lab_control)
        worker = Worker(get_task(deployment.task), deployment.lab_control)
        try:
            yield worker
        finally:
            worker.close()


class _Bench:
    """One run: its clock, its figures, its log."""

    def __init__(self, worker: Worker, frames: Any, log: Path | None, say: Callable[[str], None]) -> None:
        self._worker, self._frames, self._log, self._say = worker, frames, log, say
        self._figures = Figures()
        self._begun, self._status = time.monotonic(), worker.lab.status()
        self._frames_before = list(frames)

    def run(self, minutes: float, seed: int) -> dict[str, Any]:
        error_mm, held_s = self._follow_and_hold(seed)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            seed = (seed + 1) % EVALUATION_SEEDS_FROM
            self._episode(seed)
        return self._result(error_mm, held_s)

    def _follow_and_hold(self, seed: int) -> tuple[float, float]:
        error_mm, held_s = float("inf"), 0.0
        try:
            self._worker.prepare(seed)
            error_mm = 1e3 * self._worker.sine(SINE_S)
            self._say(f"sine followed within {error_mm:.2f} mm in the mean")
            status, held = self._worker.work(seed, HOLD_S)
            held_s = held.seconds
            self._say(f"cube held for {held_s:.1f} s, at most {held.furthest_m * 1e3:.1f} mm from the TCP")
            self._figures.add(status)
        except ArmError as error:
            self._note_fault(seed, error)
        return error_mm, held_s

    def _episode(self, seed: int) -> None:
        """One pick-and-place; a fault is counted and the next one begins with recovery."""
        self._figures.episodes += 1
        try:
            self._worker.prepare(seed)
            status, _ = self._worker.work(seed)
            self._figures.successes += status["success"]
            self._figures.add(status)
            self._write(seed, status["reason"] or "placed")
        except ArmError as error:
            self._note_fault(seed, error)

    def _note_fault(self, seed: int, error: ArmError) -> None:
        self._figures.faults.append(f"seed {seed}: {error}")
        self._write(seed, str(error))

    def _write(self, seed: int, outcome: str) -> None:
        counts, figures, realtime = self._counts(), self._figures, self._realtime()
        passed_s = time.monotonic() - self._begun
        if self._log is not None:
            row = {"after_s": passed_s, "seed": seed, "outcome": outcome, "realtime": realtime}
            with self._log.open("a") as file:
                file.write(json.dumps(row | asdict(figures) | counts) + "\n")
        lost = f"{counts['lost']} of {counts['cycles']} cycles lost, {counts['longest_lost_run']} in a row"
        self._say(
            f"{passed_s / 60:6.1f} min, seed {seed}: {outcome}; {figures.successes} of {figures.episodes} "
            f"placed, {counts['violations']} violations, {lost}, peak {figures.peak_force_n:.1f} N, "
            f"{realtime:.3f} of real time"
        )

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._worker.lab.status()["control"]
        return counts

    def _realtime(self) -> float:
        world_s = self._worker.lab.status()["time"] - self._status["time"]
        return float(world_s / (time.monotonic() - self._begun))

    def _result(self, error_mm: float, held_s: float) -> dict[str, Any]:
        figures, counts = self._figures, self._counts()
        passed_s = time.monotonic() - self._begun
        drawn = [now - before for now, before in zip(self._frames, self._frames_before, strict=True)]
        rate_hz = min(drawn) / passed_s
        collision_n = FrankaConfig().collision_force_n
        rows = [
            at_most("F1", f"mean error on a {SINE_S:.0f} s sine, mm", error_mm, MOST_ERROR_MM),
            at_least("F2", "cube held in the air, s", held_s, HOLD_S),
            at_least("F3", "seconds of the world in a second", self._realtime(), LEAST_REALTIME),
            at_least("F4", "frames a second of either camera", rate_hz, LEAST_FRAMES * IMAGE_HZ),
            at_most("F5", "reflexes and other faults", len(figures.faults), 0),
            at_most("F6", "communication violations", counts["violations"], 0),
            at_most("F7", "longest run of lost cycles", counts["longest_lost_run"], LOST_AT_MOST - 1),
            at_most("F8", "largest force felt in pick-and-place, N", figures.peak_force_n, collision_n),
        ]
        if figures.episodes:
            share = figures.successes / figures.episodes
            rows.append(at_least("F9", f"placed of {figures.episodes} episodes", share, 0.95))
        return {"minutes": passed_s / 60, **asdict(figures), **counts, "rows": rows}

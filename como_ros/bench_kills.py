"""`como bench kills`: SIGKILL of one node after the other while the arm moves, in the whole graph in the lab.

Every round: home, drive, kill, look at what the arm does by the lab's own truth; then the node is started
again, nothing may move by itself, and the next round goes on from there.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from como_ros.control.supervision import POLICY, TELEOP
from como_ros.episodes import bring_home, wait_for_all
from como_ros.errors import ComoError
from como_ros.gates import at_least, at_most
from como_ros.graphs import Deployment
from como_ros.lab.client import LabClient
from como_ros.lab.tasks import get_task
from como_ros.up import Running, graph_up
from policies.spaces import EVALUATION_SEEDS_FROM

TASK = "pick_place"
VICTIMS = ("policy", "teleop", "supervisor", "camera", "recorder", "arm")
MOVING_M_S, MOVING_WITHIN_S = 0.05, 15.0
ARMINGS, ARMED_TWICE_SHARE = 3, 0.1
"""A start that a node refuses for the moment is made once more, as a person would; few may need that."""
WATCHED_S, PERIOD_S = 1.5, 0.005
NEWS_S = 5.0
"""The arm says how it is once a second; a busy machine may take longer."""
AT_REST_M = 0.005
"""An impedance swings a little about where it holds."""
HOLD_S, ARM_S, SPRING_S = 0.2, 1.0, 0.3
"""The set-point stands within the first, an arm whose node was killed within the second; the spring carries
the arm's body on for as long as the last."""
LULL_S = 1.0
"""Watched after the node is back: nothing may move by itself."""


@dataclass(frozen=True)
class Round:
    """What one kill did."""

    victim: str
    armings: int
    """How often the arm had to be armed until it moved."""
    speed_m_s: float
    still_s: float
    """From the kill until the set-point stood; an arm that was killed has none."""
    rest_s: float
    """From the kill until the arm's body stayed within some millimetres of its rest."""
    back_s: float
    """From the kill until the node was well again."""
    moved_m: float
    """How far the arm moved from its rest until some time after the node was back."""
    faults: int
    """Reflexes and other faults that the kill does not explain."""
    stalled_s: float
    """How late this process itself was woken while it watched."""


def run_bench(
    rounds: int = 20,
    seed: int = 0,
    bundle: Path = Path("bundles/lab"),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Result of `como bench kills`."""
    if not 1 <= rounds <= 1000:
        raise ComoError(f"--rounds {rounds} is not between 1 and 1000")
    if not 0 <= seed < EVALUATION_SEEDS_FROM - rounds:
        raise ComoError(f"--seed {seed} is not below {EVALUATION_SEEDS_FROM - rounds}; later ones are kept")
    with tempfile.TemporaryDirectory(prefix="como_kills_") as folder:
        deployment = Deployment(lab=True, task=TASK, bundle=str(bundle), out=folder, device="scripted")
        with graph_up("autonomous", deployment, Path(folder) / "logs", say) as (running, station):
            bench = _Bench(running, station, deployment)
            done = [bench.round(VICTIMS[i % len(VICTIMS)], i, say) for i in range(seed, seed + rounds)]
            went_on = bench.drives(seed + rounds)
    return {"rounds": [asdict(row) for row in done], "rows": _rows(done, went_on)}


class _Bench:
    """The graph, and the lab's truth about its arm."""

    def __init__(self, running: Running, station: Any, deployment: Deployment) -> None:
        self._running, self._station = running, station
        self._lab = LabClient(deployment.lab_control)

    def drives(self, seed: int, by: str = POLICY) -> float:
        """From home, armed; how fast the arm moves then, or 0 when it does not."""
        station = self._station
        wait_for_all(station, VICTIMS, self._running.check)
        bring_home(station, self._running.check)
        self._lab.reset(seed)
        station.say(get_task(TASK).sample(seed).instruction)
        time.sleep(0.5)
        station.call("/recorder/start")
        station.call(f"/supervisor/{by}")
        deadline = time.monotonic() + MOVING_WITHIN_S
        while (speed := self._speed()) < MOVING_M_S and time.monotonic() < deadline:
            self._running.check()
        return speed if speed >= MOVING_M_S else 0.0

    def _place(self) -> np.ndarray:
        return np.array(self._lab.truth()["ee"][:3])

    def _speed(self, window_s: float = 0.1) -> float:
        begun, before = time.monotonic(), self._place()
        time.sleep(window_s)
        return float(np.linalg.norm(self._place() - before)) / (time.monotonic() - begun)

    def _moving(self, victim: str, seed: int, say: Callable[[str], None]) -> tuple[int, float]:
        """How often it was armed, and how fast the arm moves."""
        for armings in range(1, ARMINGS + 1):
            if speed := self.drives(seed, TELEOP if victim == "teleop" else POLICY):
                return armings, speed
            still = f"the arm does not move before the {victim} is killed; {self._said()}"
            say(f"{still}; the {victim}'s last words: {self._running.last_words(victim)}")
            self._end_episode()
        raise ComoError(f"armed {ARMINGS} times, {still}")

    def round(self, victim: str, seed: int, say: Callable[[str], None]) -> Round:
        armings, speed = self._moving(victim, seed, say)
        auto_cleared = self._cleared()
        killed_ns, pid = time.time_ns(), self._running.pid(victim)
        os.kill(pid, signal.SIGKILL)
        stamps, places, stalled_s = self._watch()
        still_s = 0.0 if victim == "arm" else self._still_s(killed_ns)
        back_s = self._back(killed_ns, victim)
        time.sleep(LULL_S)
        faulted = self._station.figures("arm").get("mode") == "fault"
        row = Round(
            victim,
            armings,
            speed,
            still_s,
            _rest_s(stamps, places),
            back_s,
            float(np.linalg.norm(self._place() - places[-1])),
            0 if victim == "arm" else int(faulted) + self._cleared() - auto_cleared,
            stalled_s,
        )
        self._end_episode()
        say(
            f"{victim}: at {speed * 100:.0f} cm/s, set-point still after {still_s * 1e3:.0f} ms, arm at rest "
            f"after {row.rest_s * 1e3:.0f} ms, back after {back_s:.1f} s, moved {row.moved_m * 1e3:.1f} mm, "
            f"{row.faults} faults, stalled {stalled_s * 1e3:.0f} ms"
            + (f": {self._station.message('arm')}" if row.faults else "")
        )
        return row

    def _end_episode(self) -> None:
        self._station.call("/supervisor/stop")
        if self._station.message("recorder").startswith("recording"):
            self._station.call("/recorder/discard")

    def _watch(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Where the arm is after the kill, and how late this process was woken meanwhile."""
        begun, stamps, places, stalled_s = time.monotonic(), [], [], 0.0
        while (now_s := time.monotonic() - begun) < WATCHED_S:
            stamps.append(now_s)
            places.append(self._place())
            slept = time.monotonic()
            time.sleep(PERIOD_S)
            if now_s < HOLD_S:  # a later one delays no standstill
                stalled_s += max(0.0, time.monotonic() - slept - 2 * PERIOD_S)
        return np.array(stamps), np.array(places), stalled_s

    def _still_s(self, killed_ns: int) -> float:
        """None where the set-point stood before the kill, at the end of a chunk, and the body swung on."""
        deadline = time.monotonic() + NEWS_S
        while (still_ns := int(self._station.figures("arm")["still_since_ns"])) < killed_ns:
            if time.monotonic() > deadline:
                return 0.0 if self._speed() < AT_REST_M else float("inf")
            time.sleep(0.05)
        return (still_ns - killed_ns) / 1e9

    def _back(self, killed_ns: int, victim: str) -> float:
        """Until the node that was started again has spoken."""
        self._running.check()
        try:
            wait_for_all(self._station, VICTIMS, self._running.check)
        except ComoError as error:
            last = self._running.last_words(victim)
            raise ComoError(f"{error}; the last words of the {victim}: {last}") from error
        state = self._station.supervisor_state
        if state in (POLICY, TELEOP):
            raise ComoError(f"the supervisor still says {state} after the {victim} was killed")
        return (time.time_ns() - killed_ns) / 1e9

    def _cleared(self) -> int:
        return int(self._station.figures("arm").get("auto_cleared", 0))

    def _said(self) -> str:
        return "; ".join(f"{name}: {self._station.message(name)}" for name in VICTIMS)


def _rest_s(stamps: np.ndarray, places: np.ndarray) -> float:
    """When it was last away from where it ended."""
    away = stamps[np.linalg.norm(places - places[-1], axis=1) > AT_REST_M]
    return float(away[-1]) if len(away) else 0.0


def _rows(done: list[Round], went_on: float) -> list[dict[str, Any]]:
    others = [row for row in done if row.victim != "arm"]
    arms = [row for row in done if row.victim == "arm"]
    rows = [
        at_least(
            "K1", "slowest motion when a node was killed, m/s", min(r.speed_m_s for r in done), MOVING_M_S
        ),
        at_most("K2", "median time to the set-point's standstill, s", _median(others, "still_s"), HOLD_S),
        at_most("K3", "longest, less what this machine stalled, s", _worst(others, "still_s"), HOLD_S),
        at_most(
            "K4", "longest until the body rests, likewise, s", _worst(others, "rest_s"), HOLD_S + SPRING_S
        ),
        at_most("K6", "metres moved by itself afterwards", max(r.moved_m for r in done), AT_REST_M),
        at_most("K7", "faults that the kill does not explain", sum(r.faults for r in done), 0),
        at_least("K8", "speed once more after the last round, m/s", went_on, MOVING_M_S),
        at_most("K9", "share of rounds armed twice", _mean(r.armings > 1 for r in done), ARMED_TWICE_SHARE),
    ]
    if arms:
        rows.append(
            at_most("K5", "until an arm rests whose node was killed, s", _worst(arms, "rest_s"), ARM_S)
        )
    return rows


def _mean(flags: Iterable[bool]) -> float:
    return statistics.fmean(flags)


def _median(rows: list[Round], name: str) -> float:
    return statistics.median([getattr(row, name) for row in rows] or [0.0])


def _worst(rows: list[Round], name: str) -> float:
    return max([getattr(row, name) - row.stalled_s for row in rows] or [0.0])

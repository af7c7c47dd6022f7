"""`como bags replay`: drive a recorded episode's motion again, through supervisor, shield and arm.

In the lab the things are first put where the recording had them, so that the outcome can be compared too; on
a robot only the motion is.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import bags
from como_ros.bag_meta import EpisodeMeta
from como_ros.bag_writer import BagError
from como_ros.control.shield import ShieldConfig
from como_ros.episodes import SETTLE_S, bring_home, is_faulted
from como_ros.errors import ComoError
from como_ros.graphs import OTHERS, Deployment, Process, environment, graph
from como_ros.host_watch import HostWatch, kept
from como_ros.lab.client import LabClient
from como_ros.recorded_motion import Motion, Track, errors_mm, read_motion
from como_ros.up import NODES_READY_S, Running, processes_up

NEEDED = ("lab", "arm", "supervisor")
"""Of the teleop graph; nobody looks and nothing is recorded."""
VERDICT_S = 2.0
"""Things may still be settling when the motion has ended."""
MARGIN_S = 15.0
OUTSIDE_M = 0.01
"""An arm that leans on a wall of the workspace is no farther out."""
ARMED_S = 3.0
WAITING = "waiting for teleop"
"""What the replay node says before it drives."""


class StoppedError(ComoError):
    """A replay did not come to its end."""


def run_replay(folder: Path, deployment: Deployment, say: Callable[[str], None]) -> dict[str, Any]:
    """Result of `como bags replay`: an episode, or every one in a folder, of one task and robot."""
    metas = [bags.read_meta(path) for path in bags.episodes(folder)]
    if not metas:
        raise BagError(f"{folder} holds no episodes; give an episode or a folder of them")
    motions = [_within_reach(meta.path, read_motion(meta.path)) for meta in metas]
    deployment = _suited(metas, deployment)
    with (
        tempfile.TemporaryDirectory(prefix="como_replay_") as scratch,
        processes_up(_processes(deployment), deployment, Path(scratch) / "logs") as (running, station),
    ):
        replays = _Replays(running, station, deployment, Path(scratch))
        rows = []
        for meta, motion in zip(metas, motions, strict=True):
            host = HostWatch()
            try:
                row = replays.drive(meta, motion)
            except StoppedError as error:
                row = _stopped(meta, deployment, str(error))
            rows.append(row | {"host_share": host.share()})
            say(_sentence(rows[-1]) + kept(rows[-1]["host_share"]))
    return _summary(rows)


def _within_reach(path: Path, motion: Motion) -> Motion:
    """No shield lets the arm go where a motion outside of the workspace begins."""
    box, begins_m = ShieldConfig(), motion.measured.at(0.0)[:3]
    out_m = np.abs(begins_m - np.clip(begins_m, box.box_min_m, box.box_max_m)).max()
    if out_m > OUTSIDE_M:
        place, low, high = (np.round(row, 3).tolist() for row in (begins_m, box.box_min_m, box.box_max_m))
        raise BagError(
            f"{path} begins at {place} m, outside of the workspace from {low} to {high} m, where the arm may "
            "not go; leave the episode out"
        )
    return motion


def _stopped(meta: EpisodeMeta, deployment: Deployment, why: str) -> dict[str, Any]:
    """Of a replay that did not come to its end no error is known."""
    row = {"path": str(meta.path), "mean_error_mm": None, "max_error_mm": None, "reason": why}
    success = False if deployment.lab else None
    return {**row, "recorded_outcome": meta.outcome, "success": success, "same_outcome": False}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    judged = [row for row in rows if row["success"] is not None]
    through = [row for row in rows if row["mean_error_mm"] is not None]
    if not through:
        raise ComoError(f"no replay came to its end: {rows[0]['reason']}")
    compared = {"same_outcome": sum(row["same_outcome"] for row in judged), "judged": len(judged)}
    return {
        "episodes": len(rows),
        "stopped": len(rows) - len(through),
        "mean_error_mm": float(np.mean([row["mean_error_mm"] for row in through])),
        "max_error_mm": max(row["max_error_mm"] for row in through),
        **(compared if judged else {}),
        "per_episode": rows,
    }


def _sentence(row: dict[str, Any]) -> str:
    if row["mean_error_mm"] is None:
        return f"{row['path']}: {row['reason']}"
    told = f"{row['path']}: mean {row['mean_error_mm']:.1f} mm, at most {row['max_error_mm']:.1f} mm apart"
    if row["success"] is None:
        return told
    now = "success" if row["success"] else f"failure: {row['reason']}"
    return f"{told}; recorded {row['recorded_outcome']}, now {now}"


def _suited(metas: list[EpisodeMeta], deployment: Deployment) -> Deployment:
    """The graph for these episodes; they must agree on task, layouts and robot, and say their seeds."""
    robots = {meta.contract.robot for meta in metas}
    if len(robots) > 1:
        raise BagError(f"the episodes come from different robots ({', '.join(sorted(robots))}); part them")
    deployment = replace(deployment, robot=robots.pop())
    if not deployment.lab:
        return deployment
    for meta in metas:
        if not meta.provenance.get("seed", "").isdecimal() or not meta.provenance.get("task"):
            raise BagError(f"{meta.path} does not say which task and seed of the lab it shows; leave it out")
    kinds = {(meta.provenance["task"], meta.provenance.get("spread") or "training") for meta in metas}
    if len(kinds) > 1:
        told = ", ".join(f"{task} ({spread})" for task, spread in sorted(kinds))
        raise BagError(f"the episodes show different tasks: {told}; replay one task at a time")
    task, spread = kinds.pop()
    from como_ros.lab.tasks import get_task

    for meta in metas:
        get_task(task).require_seeds(int(meta.provenance["seed"]), 1, spread)
    return replace(deployment, task=task, spread=spread)


def _processes(deployment: Deployment) -> list[Process]:
    """Arm and supervisor, and the lab where it is asked for."""
    whole = graph("teleop", replace(deployment, cameras=OTHERS, device=_driver(deployment)))
    return [process for process in whole if process.name in NEEDED]


def _driver(deployment: Deployment) -> str:
    """Any device will do: none is started."""
    return "scripted" if deployment.lab else "gamepad"


class _Replays:
    """One episode after the other on a running arm."""

    def __init__(self, running: Running, station: Any, deployment: Deployment, scratch: Path) -> None:
        self._running, self._station, self._scratch = running, station, scratch
        self._deployment = deployment
        self._lab = LabClient(deployment.lab_control) if deployment.lab else None

    def drive(self, meta: EpisodeMeta, motion: Motion) -> dict[str, Any]:
        bring_home(self._station, self._running.check)
        if self._lab is not None:
            self._lab.reset(int(meta.provenance["seed"]))
            time.sleep(SETTLE_S)
        track = self._follow(meta, motion)
        apart_mm = errors_mm(motion.measured, track, motion.duration_s)
        success, reason = self._verdict()
        was_success = meta.outcome == "success"
        return {
            "path": str(meta.path),
            "seconds": motion.duration_s,
            "mean_error_mm": float(apart_mm.mean()),
            "max_error_mm": float(apart_mm.max()),
            "recorded_outcome": meta.outcome,
            "success": success,
            "reason": reason,
            "same_outcome": success is not None and success == was_success,
        }

    def _follow(self, meta: EpisodeMeta, motion: Motion) -> Track:
        out = self._scratch / f"{meta.path.name}.npz"
        node = Process("replay", "como_ros.nodes.replay", {"bag": str(meta.path.absolute()), "out": str(out)})
        with Running([node], self._scratch / "logs", environment(self._deployment)) as running:
            self._station.forget("replay")
            running.start()
            self._wait(lambda: self._station.message("replay") == WAITING, running, NODES_READY_S)
            self._station.call("/supervisor/teleop")
            armed_s = time.monotonic()

            def through() -> bool:
                if out.exists():
                    return True
                gone = self._station.supervisor_state != "teleop" and time.monotonic() - armed_s > ARMED_S
                if gone or is_faulted(self._station):
                    said = self._station.message("arm" if is_faulted(self._station) else "supervisor")
                    raise StoppedError(f"the replay of {meta.path} did not come to its end: {said}")
                return False

            self._wait(through, running, motion.duration_s + MARGIN_S)
        self._station.call("/supervisor/stop")
        with np.load(out) as saved:
            return Track(saved["times_s"], saved["poses7"])

    def _wait(self, true: Callable[[], bool], running: Running, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            self._running.check()
            running.check()
            if time.monotonic() > deadline:
                raise ComoError(f"the replay did not go on within {seconds:.0f} s; is the machine too busy?")
            time.sleep(0.02)

    def _verdict(self) -> tuple[bool | None, str]:
        """The lab's, as soon as it is a good one."""
        if self._lab is None:
            return None, ""
        deadline = time.monotonic() + VERDICT_S
        while not (status := self._lab.status())["success"] and time.monotonic() < deadline:
            time.sleep(0.1)
        return bool(status["success"]), str(status["reason"])

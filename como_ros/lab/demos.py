"""Scripted demonstrations in fast mode, written as bags by the writer that the recorder uses.

Every episode is written with its outcome, failures with their reason; learning leaves those out. Each worker
steps its own world; the same seeds give the same episodes however many workers share them.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import typestore, wire
from como_ros.bag_writer import EpisodeWriter
from como_ros.errors import ComoError
from como_ros.lab.fast import FastLab
from como_ros.lab.render import intrinsics
from como_ros.lab.tasks import get_task
from policies.spaces import Contract

EPOCH_NS = 1_700_000_000_000_000_000
"""Simulated time zero as a stamp, so that bags look like bags from a real clock."""
STATE_EVERY, POSE_EVERY = 1, 2
"""In 10 ms ticks: state at 100 Hz, set-points at 50 Hz."""


@dataclass(frozen=True)
class _Job:
    task: str
    seed: int
    folder: Path
    camera_rate_hz: float


def make_demos(
    task: str,
    episodes: int,
    seed: int,
    out: Path,
    workers: int = 2,
    camera_rate_hz: float = 10.0,
) -> dict:
    """Write `episodes` demonstrations from consecutive seeds; result of `como demos`."""
    if episodes < 1:
        raise ComoError(f"--episodes must be at least 1, got {episodes}")
    get_task(task)
    if out.exists() and any(out.iterdir()):
        raise ComoError(f"{out} is not empty; give a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [_Job(task, seed + i, out / f"episode_{i:06d}", camera_rate_hz) for i in range(episodes)]
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(min(workers, episodes)) as pool:
        rows = pool.map(_record, jobs, chunksize=1)
    simulated = sum(row["seconds"] for row in rows)
    return {
        "episodes": episodes,
        "successes": sum(row["success"] for row in rows),
        "realtime_factor": simulated / (time.monotonic() - started),
        "per_episode": rows,
    }


_LABS: dict[str, FastLab] = {}


def _record(job: _Job) -> dict:
    if job.task not in _LABS:
        _LABS[job.task] = FastLab(get_task(job.task))
    lab = _LABS[job.task]
    layout = lab.reset(job.seed)
    plan = lab.operator_plan(job.seed)
    writer = EpisodeWriter(
        job.folder, Contract(), layout.instruction, task=job.task, seed=job.seed, source="fast lab"
    )
    scribe = _Scribe(lab, writer, job.camera_rate_hz)
    scribe.say("/policy/instruction", layout.instruction)
    scribe.say("/supervisor/state", "teleop")
    for tick in range(round(plan.duration_s / 0.01)):
        setpoint = plan.at(lab.time_s + 0.01)
        scribe.note(tick, setpoint)
        lab.advance(setpoint)
    done, reason = lab.success()
    writer.close("success" if done else "failure: " + reason)
    return {"seed": job.seed, "success": done, "reason": reason, "seconds": lab.time_s}


class _Scribe:
    """Writes what the graph's nodes would have published at one tick."""

    def __init__(self, lab: FastLab, writer: EpisodeWriter, camera_rate_hz: float) -> None:
        self._lab, self._writer = lab, writer
        self._camera_every = round(100 / camera_rate_hz)
        self._width: float | None = None

    def say(self, topic: str, text: str) -> None:
        self._writer.write_message(topic, typestore.message("std_msgs/msg/String", data=text), EPOCH_NS)

    def note(self, tick: int, setpoint: tuple[np.ndarray, np.ndarray, float]) -> None:
        now = EPOCH_NS + round(self._lab.time_s * 1e9)
        if tick % self._camera_every == 0:
            self._note_cameras(now)
        if tick % STATE_EVERY == 0:
            self._note_state(now)
        if tick % POSE_EVERY == 0:
            self._send(
                "/arm/command/pose", wire.fill_pose(self._empty("/arm/command/pose"), setpoint[0], now), now
            )
        if setpoint[2] != self._width:
            self._width = setpoint[2]
            self._note_width(setpoint[2], now)

    def _note_cameras(self, now: int) -> None:
        for camera, rgb in self._lab.look().items():
            name, frame = f"/{camera}/color/image_raw", f"{camera}_color_optical_frame"
            self._send(name, wire.fill_image(self._empty(name), rgb, now, frame), now)
            info, size = f"/{camera}/color/camera_info", (rgb.shape[0], rgb.shape[1])
            matrix = intrinsics(self._lab.model, camera, size)
            self._send(
                info, wire.fill_camera_info(self._empty(info), matrix, [0.0] * 5, size, now, frame), now
            )

    def _note_state(self, now: int) -> None:
        lab = self._lab
        joints = wire.fill_joint_states(
            self._empty("/arm/joint_states"), lab.joints, lab.joint_velocities, lab.width_m, now
        )
        self._send("/arm/joint_states", joints, now)
        self._send("/arm/ee_pose", wire.fill_pose(self._empty("/arm/ee_pose"), lab.ee_pose7, now), now)

    def _note_width(self, width_m: float, now: int) -> None:
        point = partial(typestore.message, "trajectory_msgs/msg/JointTrajectoryPoint")
        duration = partial(typestore.message, "builtin_interfaces/msg/Duration")
        msg = wire.fill_widths(self._empty("/gripper/command"), [width_m], now, point, duration)
        self._send("/gripper/command", msg, now)

    @staticmethod
    def _empty(topic: str) -> Any:
        return typestore.message(wire.topic(topic).type)

    def _send(self, topic: str, msg: Any, now: int) -> None:
        self._writer.write_message(topic, msg, now)

"""Scripted demonstrations in fast mode, written as bags by the writer that the recorder uses.

Every episode is written with its outcome, failures with their reason; learning leaves those out. Each worker
steps its own world; the same seeds give the same episodes however many workers share them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import typestore, wire
from como_ros.bag_writer import EpisodeWriter
from como_ros.control.supervision import TELEOP
from como_ros.errors import ComoError
from como_ros.lab.fast import FastLab
from como_ros.lab.render import intrinsics
from como_ros.lab.tasks import get_task
from como_ros.lab.workers import over_processes, require_workers
from como_ros.runs import alone_in_new
from policies.spaces import Contract

EPOCH_NS = 1_700_000_000_000_000_000
"""Simulated time zero as a stamp, so that bags look like bags from a real clock."""
TICK_S = 0.01
COMMAND_EVERY, CAMERAS_EVERY, HEARTBEAT_EVERY, REPORT_EVERY = 2, 10, 4, 100
"""In ticks of 10 ms: set-points at 50 Hz, cameras and supervisor at 10, recorder at 1; the arm at each."""


@dataclass(frozen=True)
class _Job:
    task: str
    seed: int
    folder: Path
    spread: str = "training"
    cameras: bool = True


def make_demos(
    task: str,
    episodes: int,
    seed: int,
    out: Path,
    workers: int = 2,
    cameras: bool = True,
    spread: str = "training",
) -> dict:
    """Write `episodes` demonstrations from consecutive seeds; result of `como demos`.

    `realtime_factor` is simulated seconds per second of wall time, all workers together.
    """
    if episodes < 1:
        raise ComoError(f"--episodes must be at least 1, got {episodes}")
    get_task(task).require_seeds(seed, episodes, spread)
    require_workers(workers)
    folders = [out / f"episode_{i:06d}" for i in range(episodes)]
    jobs = [_Job(task, seed + i, folder, spread, cameras) for i, folder in enumerate(folders)]
    started = time.monotonic()
    with alone_in_new(out):
        rows = list(over_processes(_record, jobs, workers))
    simulated = sum(row["seconds"] for row in rows)
    return {
        "episodes": episodes,
        "successes": sum(row["success"] for row in rows),
        "realtime_factor": simulated / (time.monotonic() - started),
        "cpu_factor": simulated / sum(row["cpu_seconds"] for row in rows),
        "per_episode": rows,
    }


@cache
def _lab(task: str, cameras: bool) -> FastLab:
    """A worker's own."""
    return FastLab(get_task(task), render=cameras)


def _record(job: _Job) -> dict:
    began_s = time.process_time()
    lab = _lab(job.task, job.cameras)
    layout = lab.reset(job.seed, job.spread)
    plan = lab.operator_plan(job.seed)
    writer = EpisodeWriter(
        job.folder,
        Contract(),
        layout.instruction,
        task=job.task,
        seed=job.seed,
        spread=job.spread,
        source="fast lab",
    )
    scribe = _Scribe(lab, writer, job.cameras)
    scribe.say("/policy/instruction", layout.instruction, EPOCH_NS)
    for tick in range(round(plan.duration_s / TICK_S)):
        setpoint = plan.at(lab.time_s + TICK_S)
        scribe.note(tick, setpoint)
        lab.advance(setpoint)
    done, reason = lab.success()
    writer.close("success" if done else "failure: " + reason)
    return {
        "seed": job.seed,
        "success": done,
        "reason": reason,
        "seconds": lab.time_s,
        "cpu_seconds": time.process_time() - began_s,
    }


class _Scribe:
    """Writes what the graph's nodes would have published at one tick.

    All but the diagnostics, which tell how processes fare, and here are none.
    """

    def __init__(self, lab: FastLab, writer: EpisodeWriter, cameras: bool) -> None:
        self._lab, self._writer = lab, writer
        self._cameras = cameras
        self._width: float | None = None

    def say(self, topic: str, text: str, now: int) -> None:
        self._send(topic, typestore.message("std_msgs/msg/String", data=text), now)

    def note(self, tick: int, setpoint: tuple[np.ndarray, np.ndarray, float]) -> None:
        now = EPOCH_NS + round(self._lab.time_s * 1e9)
        if self._cameras and tick % CAMERAS_EVERY == 0:
            self._note_cameras(now)
        self._note_state(now)
        if tick % HEARTBEAT_EVERY == 0:
            self.say("/supervisor/state", TELEOP, now)
        if tick % REPORT_EVERY == 0:
            self.say("/recorder/state", f"recording {self._writer.path.name}", now)
        if tick % COMMAND_EVERY == 0:
            self._send("/teleop/deadman", typestore.message("std_msgs/msg/Bool", data=True), now)
            pose = wire.fill_pose(_blank("/arm/command/pose"), setpoint[0], now)
            self._send("/arm/command/pose", pose, now)
        if setpoint[2] != self._width:
            self._width = setpoint[2]
            self._note_width(setpoint[2], now)

    def _note_cameras(self, now: int) -> None:
        for camera, rgb in self._lab.look().items():
            name, frame = f"/{camera}/color/image_raw", f"{camera}_color_optical_frame"
            self._send(name, wire.fill_image(_blank(name), rgb, now, frame), now)
            info, size = f"/{camera}/color/camera_info", (rgb.shape[0], rgb.shape[1])
            matrix = intrinsics(self._lab.model, camera, size)
            self._send(info, wire.fill_camera_info(_blank(info), matrix, [0.0] * 5, size, now, frame), now)

    def _note_state(self, now: int) -> None:
        lab, joints, pose = self._lab, _blank("/arm/joint_states"), _blank("/arm/ee_pose")
        wrench = wire.fill_wrench(_blank("/arm/external_wrench"), lab.wrench, now)
        wire.fill_joint_states(joints, lab.joints, lab.joint_velocities, lab.width_m, now)
        self._send("/arm/joint_states", joints, now)
        self._send("/arm/ee_pose", wire.fill_pose(pose, lab.ee_pose7, now), now)
        self._send("/arm/external_wrench", wrench, now)

    def _note_width(self, width_m: float, now: int) -> None:
        point = partial(typestore.message, "trajectory_msgs/msg/JointTrajectoryPoint")
        duration = partial(typestore.message, "builtin_interfaces/msg/Duration")
        msg = wire.fill_widths(_blank("/gripper/command"), [width_m], now, point, duration)
        self._send("/gripper/command", msg, now)

    def _send(self, topic: str, msg: Any, now: int) -> None:
        self._writer.write_message(topic, msg, now)


@cache
def _blank(topic: str) -> Any:
    """One message a topic, filled anew each time: it is bytes before the next one is needed."""
    return typestore.message(wire.topic(topic).type)

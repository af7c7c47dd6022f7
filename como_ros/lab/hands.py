"""Human video of the lab's tasks: a hand with forearm, no robot, no action labels, as mp4.

The motion has its own style (faster, straighter, other start poses); skin, sleeve, room, light, camera pose
and sway vary with the seed. The true motion goes to a sibling folder `<out>.truth`, for metrics only, and
training refuses every path that leads there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np

from como_ros.errors import ComoError
from como_ros.lab.hand_scene import TOWARDS_ELBOW, HandScene
from como_ros.lab.operator import Plan
from como_ros.lab.tasks import get_task
from como_ros.lab.workers import over_processes, require_workers
from como_ros.runs import alone_in_new

FPS = (10, 30)
SIZES_PX = (32, 480)
SAME_BYTES = {"threads": "1", "x264-params": "mbtree=0"}
"""More threads than one make other bytes, and so does x264's macroblock tree, from one run to the next."""
GOOD = {"crf": "18", "preset": "veryfast", **SAME_BYTES}
Truth = dict[str, np.ndarray]
"""By frame: `time_s`, `hand_pose7`, `aperture_m`, `contact` (the hand holds the thing), `things_pose7`."""


@dataclass(frozen=True)
class VideoConfig:
    """How the clips are drawn."""

    fps: int = 15
    size_px: int = 224
    sway_m: float = 0.004
    spread: str = "training"
    """Range that layouts are drawn from; rooms, skins and lights vary alike in both."""

    def check(self) -> None:
        _within("--fps", self.fps, FPS)
        _within("--size-px", self.size_px, SIZES_PX)
        if self.size_px % 2:
            raise ComoError(f"--size-px must be even for the video's encoder, got {self.size_px}")


@dataclass(frozen=True)
class _Job:
    task: str
    seed: int
    out: Path
    config: VideoConfig

    @property
    def name(self) -> str:
        return f"{self.task}_{self.seed:06d}"


def make_videos(
    task: str, clips: int, seed: int, out: Path, config: VideoConfig = VideoConfig(), workers: int = 2
) -> dict:
    """Write `clips` mp4 files and an index of their instructions; truth goes beside, never inside."""
    if clips < 1:
        raise ComoError(f"--clips must be at least 1, got {clips}")
    config.check()
    known = get_task(task)
    known.require_seeds(seed, clips, config.spread)
    require_workers(workers)
    jobs = [_Job(task, clip, out, config) for clip in range(seed, seed + clips)]
    words = {f"{job.name}.mp4": known.sample(job.seed, config.spread).instruction for job in jobs}
    with alone_in_new(out):
        _truth_folder(out).mkdir(parents=True, exist_ok=True)
        told = {"config": asdict(config), "instructions": words}
        (out / "index.json").write_text(json.dumps(told, indent=1))
        return {"clips": clips, "frames": sum(over_processes(_make_clip, jobs, workers))}


def _truth_folder(out: Path) -> Path:
    place = out.resolve()
    return place.with_name(place.name + ".truth")


def _within(name: str, value: int, bounds: tuple[int, int]) -> None:
    if not bounds[0] <= value <= bounds[1]:
        raise ComoError(f"{name} must be {bounds[0]} to {bounds[1]}, got {value}")


@cache
def _hand(task: str, size_px: int) -> HandScene:
    """A worker's own."""
    return HandScene(get_task(task), size_px)


def _make_clip(job: _Job) -> int:
    """Its truth, then the clip, which has its name only once it is whole; the number of frames."""
    frames, truth = clip_frames(_hand(job.task, job.config.size_px), job.seed, job.config)
    np.savez_compressed(_truth_folder(job.out) / f"{job.name}.truth.npz", **truth)
    unfinished = job.out / f"{job.name}.part"
    write_mp4(unfinished, frames, job.config.fps)
    unfinished.replace(job.out / f"{job.name}.mp4")
    return len(frames)


def clip_frames(hand: HandScene, seed: int, config: VideoConfig) -> tuple[list[np.ndarray], Truth]:
    """The pictures of one clip, and what is true in them."""
    layout = hand.task.sample(seed, config.spread)
    how = hand.task.hand_plan(layout, seed)
    hand.dress(seed, config.spread)
    elbow = TOWARDS_ELBOW + [0, 1.6 * np.random.default_rng([seed, 53]).uniform(-0.12, 0.12), 0]
    times = np.arange(int(how.plan.duration_s * config.fps)) / config.fps
    poses = np.stack([how.plan.at(time_s)[0] for time_s in times])
    apertures = np.array([_smooth_aperture(how.plan, time_s) for time_s in times])
    frames, things = [], []
    for time_s, pose7, aperture_m in zip(times, poses, apertures, strict=True):
        hand.move_things(*how.things_at(time_s, pose7))
        frames.append(hand.draw(pose7, aperture_m, pose7[:3] + elbow, time_s, config.sway_m))
        things.append([hand.task.truth(hand.data)[name] for name in hand.task.things])
    begun, ended = how.contact_s
    return frames, {
        "time_s": times,
        "hand_pose7": poses,
        "aperture_m": apertures,
        "contact": (begun <= times) & (times < ended),
        "things_pose7": np.array(things),
        "things": np.array(hand.task.things),
    }


def _smooth_aperture(plan: Plan, time_s: float) -> float:
    """A hand opens and closes over about 0.2 s, where a plan's width jumps."""
    return float(np.mean([plan.at(time_s - lag)[2] for lag in np.linspace(0, 0.2, 5)]))


def write_mp4(path: Path, frames: list[np.ndarray], fps: int, options: dict[str, str] = GOOD) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())

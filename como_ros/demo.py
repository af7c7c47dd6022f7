"""`como demo`: the real graph against the lab with a bundle; success, latency, a bag and a video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from como_ros.bag_video import write_video
from como_ros.bags import episodes as episode_folders
from como_ros.errors import ComoError
from como_ros.graphs import Deployment
from como_ros.up import up


def run_demo(
    bundle: Path,
    task: str,
    episodes: int,
    seed: int,
    out: Path,
    say: Callable[[str], None] = print,
) -> dict:
    """Bring everything up, run the policy, take everything down, draw what happened."""
    if episodes < 1:
        raise ComoError(f"--episodes must be at least 1, got {episodes}")
    before = episode_folders(out) if out.exists() else []
    say(f"bringing up lab, arm, cameras, supervisor, policy and recorder for {task}")
    result = up(
        "autonomous", Deployment(lab=True, task=task, bundle=str(bundle), out=str(out)), episodes, seed, say
    )
    recorded = [bag for bag in episode_folders(out) if bag not in before]
    videos = [write_video(bag, out / f"{bag.name}.mp4")["video"] for bag in recorded]
    for bag, video in zip(recorded, videos, strict=True):
        say(f"bag {bag}, video {video}")
    return {**result, "bags": [str(bag) for bag in recorded], "videos": videos}

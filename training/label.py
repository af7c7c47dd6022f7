"""Pseudo labels: the latent motion of every frame of unlabelled clips, each with its confidence.

Confidence has three parts: time reversal (the reversed pair should read as the opposite), gain of the
painted future over copying the present, and motion energy. What fails a gate is marked, counted and
not trained on. Shards are plain npz files, one a clip.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from como_ros.errors import ComoError
from policies.nets import artefact
from training.episodes import load_episodes
from training.latent_motion import model as models
from training.latent_motion.data import MotionData
from training.latent_motion.net import MotionNet
from training.metrics import read_pairs
from training.motion_data import ENCODER, FrozenEncoder, motion_data, open_encoder
from training.videos import clip_paths, read_clip, refuse_truth

INDEX = "labels.json"


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Which labels are trusted."""

    min_reversal: float = 0.0
    """Least minus-cosine between a centred motion and its time reversal."""
    min_gain: float = 0.0
    """Least share of the copy error that the painted future removes."""
    min_energy_quantile: float = 0.02
    """Share of the frames with the least motion that is dropped."""


@dataclass(frozen=True)
class Labels:
    """Latent motions of one clip; row t is the motion from frame t over the gap."""

    z: np.ndarray
    """(T, 128) float32"""
    keep: np.ndarray
    """(T,) bool"""


@dataclass(frozen=True)
class Evidence:
    """What the confidence of a clip's labels rests on, per frame."""

    z: np.ndarray
    reversed_z: np.ndarray
    gain: np.ndarray
    energy: np.ndarray
    words: np.ndarray | None = None
    """(T, K) of the action book, where there is one."""


Named = tuple[str, Evidence]


def label(
    model: Path, videos: Path | None, out: Path, bags: Path | None = None, config: LabelConfig | None = None
) -> dict[str, float]:
    """Label every readable clip below `videos` and every episode below `bags`."""
    refuse_truth(model, videos, bags)
    chosen, watch = config or LabelConfig(), Stopwatch()
    net, found = models.load(model)
    encoder = open_encoder(model / ENCODER, found.contract)
    gap = round(net.config.gap_s * encoder.contract.action_rate_hz)
    counts, evidence = {"frames": 0, "kept": 0}, dict[str, Evidence]()
    robot_counts, robot = dict(counts), dict[str, Evidence]()
    if videos:
        evidence = dict(_of_videos(net, encoder, videos, gap, watch))
        counts = _write(evidence, out / "video", chosen) if evidence else counts
    if bags:
        robot = dict(_of_bags(net, encoder, bags, gap, watch))
        robot_counts = _write(robot, out / "robot", chosen) if robot else robot_counts
    header = {"motion": found.sha256, "encoder": encoder.sha256, "gap": gap, "config": asdict(chosen)}
    header |= {"contract": json.loads(found.contract.to_json()), "git": artefact.git_hash()}
    (out / INDEX).write_text(json.dumps(header | {"video": counts, "robot": robot_counts}, indent=1))
    frames = counts["frames"] + robot_counts["frames"]
    return {
        "clips": len(evidence),
        "frames": frames,
        **watch.rates(frames, encoder.contract.action_rate_hz),
        "kept_fraction": (counts["kept"] + robot_counts["kept"]) / max(frames, 1),
    }


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def rates(self, frames: int, rate_hz: float) -> dict[str, float]:
        """Frames a second in all and by stage, and how many times faster than the recording that is."""
        total = frames / max(time.monotonic() - self.began, 1e-9)
        stages = {f"{name}_frames_per_s": frames / max(s, 1e-9) for name, s in self.seconds.items()}
        return {"frames_per_s": total, "times_real_time": total / rate_hz, **stages}


def _of_videos(
    net: MotionNet, encoder: FrozenEncoder, videos: Path, gap: int, watch: Stopwatch
) -> Iterator[Named]:
    contract = encoder.contract
    for path in clip_paths(videos):
        try:
            with watch.stage("decode"):
                clip = read_clip(path, contract.action_rate_hz, contract.image_hw)
        except ComoError as error:
            sys.stderr.write(f"skipped: {error}\n")
            continue
        if len(clip.frames) > gap:
            yield clip.name, _weighed(net, encoder, [], [clip], gap, watch)


def _of_bags(
    net: MotionNet, encoder: FrozenEncoder, bags: Path, gap: int, watch: Stopwatch
) -> Iterator[Named]:
    with watch.stage("decode"):
        episodes = load_episodes(bags)[1]
    for episode in episodes:
        yield episode.path.name, _weighed(net, encoder, [episode], [], gap, watch)


def _weighed(
    net: MotionNet, encoder: FrozenEncoder, episodes: list, clips: list, gap: int, watch: Stopwatch
) -> Evidence:
    with watch.stage("encode"):
        data = motion_data(episodes, clips, encoder, replace(net.config, masks="none"), copies=0)
    with watch.stage("motion"):
        return weigh(net, data, gap)


def weigh(net: MotionNet, data: MotionData, gap: int) -> Evidence:
    """Latent motions of one clip and what speaks for them."""
    first = data.starts(gap)
    later = first + gap
    reversed_z = read_pairs(net, data, later, first).z
    with torch.no_grad():
        before, after = data.view(first), data.view(later)
        motion = net.encode(before, after)
        start, wanted, painted = net.canvas(before), net.canvas(after), net.decode(before, motion)
    copied = (wanted - start).square().mean((1, 2)).numpy()
    missed = (wanted - painted).square().mean((1, 2)).numpy()
    words = motion.words[0].numpy() if motion.words else None
    return Evidence(motion.z.numpy(), reversed_z, 1 - missed / np.maximum(copied, 1e-6), copied, words)


def _write(evidence: dict[str, Evidence], out: Path, config: LabelConfig) -> dict[str, int]:
    """Gate against the whole set's centre and energy, write one shard a clip, count every gate."""
    out.mkdir(parents=True, exist_ok=True)
    centre = np.concatenate([np.concatenate([e.z, e.reversed_z]) for e in evidence.values()]).mean(0)
    energies = np.concatenate([e.energy for e in evidence.values()])
    least = float(np.quantile(energies, config.min_energy_quantile))
    counts = {"frames": 0, "kept": 0, "reversal": 0, "gain": 0, "energy": 0}
    for name, e in evidence.items():
        reversal = -_row_cosine(e.z - centre, e.reversed_z - centre)
        failed = {
            "reversal": reversal < config.min_reversal,
            "gain": e.gain < config.min_gain,
            "energy": e.energy < least,
        }
        keep = ~np.logical_or.reduce(list(failed.values()))
        said = {} if e.words is None else {"words": e.words}
        shard = out / f"{name}.npz"
        np.savez(shard, z=e.z, keep=keep, reversal=reversal, gain=e.gain, energy=e.energy, **said)
        counts["frames"] += len(keep)
        counts["kept"] += int(keep.sum())
        for gate, rows in failed.items():
            counts[gate] += int(rows.sum())
    return counts


def _row_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-9)


def read_labels(folder: Path, part: str, motion_of: str | None = None) -> dict[str, Labels]:
    """Shards of `part` (video or robot) by clip name."""
    if not (folder / INDEX).is_file():
        raise ComoError(f"{folder} holds no labels; make them with `como label`")
    header = json.loads((folder / INDEX).read_text())
    if motion_of is not None and header["encoder"] != motion_of:
        raise ComoError(
            f"labels {folder} were made with encoder {header['encoder'][:12]}, not {motion_of[:12]}"
        )
    out = {}
    for path in sorted((folder / part).glob("*.npz")):
        with np.load(path, allow_pickle=False) as shard:
            out[path.stem] = Labels(shard["z"].astype(np.float32), shard["keep"])
    return out

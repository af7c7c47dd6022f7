"""Pseudo labels: the latent motion of every frame of unlabelled clips, each with its confidence.

Confidence has three parts: time reversal (the reversed pair should read as the opposite), gain of the
painted future over copying the present, and motion energy. What fails a gate is marked, counted and
not trained on. Shards are plain npz files, one a clip.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from como_ros.errors import ComoError
from policies.nets import artefact
from training.episodes import good_episodes
from training.evidence import Evidence, Recording, Weighed, open_labeller
from training.label_ray import require_ray, weighed_by_ray
from training.videos import clip_paths, refuse_truth

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


def label(
    model: Path,
    videos: Path | None,
    out: Path,
    bags: Path | None = None,
    config: LabelConfig | None = None,
    ray: bool = False,
) -> dict[str, float]:
    """Label every readable clip below `videos` and every episode below `bags`, here or on Ray's workers.

    The shards are the same either way.
    """
    if not (videos or bags):
        raise ComoError("nothing to label; give --videos DIR, --bags DIR or both")
    if ray:
        require_ray()
    refuse_truth(model, videos, bags)
    chosen, began, labeller = config or LabelConfig(), time.monotonic(), open_labeller(model)
    recordings = [Recording(path) for path in clip_paths(videos)] if videos else []
    if bags:
        recordings += [Recording(meta.path, robot=True) for meta in good_episodes(bags)]
    if not recordings:
        raise ComoError(f"no clip and no sound episode in {videos or bags}, nothing to label")
    weighed = weighed_by_ray(model, labeller, recordings) if ray else map(labeller.weigh, recordings)
    evidence, seconds = _gathered(weighed)
    if not any(evidence.values()):
        raise ComoError(f"none of {len(recordings)} recordings can be labelled; why stands above, one by one")
    counts = {part: _write(found, out / part, chosen) for part, found in evidence.items()}
    header = {"motion": labeller.model.sha256, "encoder": labeller.encoder.sha256, "gap": labeller.gap}
    header |= {"config": asdict(chosen), "contract": json.loads(labeller.model.contract.to_json())}
    (out / INDEX).write_text(json.dumps(header | {"git": artefact.git_hash()} | counts, indent=1))
    frames = sum(count["frames"] for count in counts.values())
    return {
        "clips": len(evidence["video"]),
        "frames": frames,
        **rates(frames, time.monotonic() - began, seconds, labeller.encoder.contract.action_rate_hz),
        "kept_fraction": sum(count["kept"] for count in counts.values()) / max(frames, 1),
    }


def _gathered(weighed: Iterable[Weighed]) -> tuple[dict[str, dict[str, Evidence]], dict[str, float]]:
    """Evidence by part and name, and the seconds of all by stage; says what was skipped."""
    evidence: dict[str, dict[str, Evidence]] = {"video": {}, "robot": {}}
    seconds: dict[str, float] = {}
    for one in weighed:
        if one.skipped:
            sys.stderr.write(f"skipped: {one.skipped}\n")
        evidence["robot" if one.recording.robot else "video"] |= one.parts
        for stage, spent in one.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return evidence, seconds


def rates(frames: int, total_s: float, seconds: dict[str, float], rate_hz: float) -> dict[str, float]:
    """Frames a second in all, how many times faster than the recording that is, and of a worker by stage."""
    per_s = frames / max(total_s, 1e-9)
    stages = {f"{name}_frames_per_s": frames / max(s, 1e-9) for name, s in seconds.items()}
    return {"frames_per_s": per_s, "times_real_time": per_s / rate_hz, **stages}


def _write(evidence: dict[str, Evidence], out: Path, config: LabelConfig) -> dict[str, int]:
    """Gate against the whole set's centre and energy, write one shard a clip, count every gate."""
    out.mkdir(parents=True, exist_ok=True)
    if not evidence:
        return {"frames": 0, "kept": 0}
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

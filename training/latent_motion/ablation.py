"""Every column of the papers' ablation tables, trained alike and measured on the same held-out episodes.

One JSON a run: an interrupted ablation goes on where it stopped. The baselines that learn no motion stand
beside it (training/latent_motion/baselines.py).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from como_ros.errors import ComoError
from training.code_statistics import directions, information
from training.episodes import Episode, load_episodes
from training.latent_motion import model
from training.latent_motion.baselines import Reading, canonical, differences, pca, pooled_difference
from training.latent_motion.config import ABLATION, COLUMNS, MotionConfig
from training.latent_motion.data import MotionData
from training.latent_motion.net import MotionNet
from training.latent_motion.report import write
from training.metrics import probed, read_pairs, robot_targets, score_on
from training.motion_data import FrozenEncoder, keep_encoder, load_frames, motion_data, open_encoder
from training.videos import Clip, read_clips, refuse_truth

RUNS = "runs"
ONE_SECOND = "_one_second"
COLUMN_OF_GAP = {"": "td_tcl", ONE_SECOND: f"td_tcl{ONE_SECOND}"}
BASELINES = {
    f"{read.__name__}{gap}": (read, column)
    for gap, column in COLUMN_OF_GAP.items()
    for read in (pca, pooled_difference, canonical)
}
BASELINES["canonical_one_second_robots"] = (canonical, "td_tcl_one_second_robots")
UNTRAINED = {f"untrained{gap}": column for gap, column in COLUMN_OF_GAP.items()}
Row = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What all runs share."""

    train: MotionData
    held_out: MotionData
    """Robot episodes that no model has seen."""
    clips: MotionData | None
    """Clips that no model has seen."""
    episodes: list[Episode]
    encoder: FrozenEncoder


def ablate(
    encoder: Path,
    bags: Path,
    videos: Path,
    held_out: Path,
    out: Path,
    held_out_videos: Path | None = None,
    columns: tuple[str, ...] = (),
    seeds: int = 3,
    steps: int = 400,
    report: Path | None = None,
) -> dict[str, Row]:
    """Train what is missing, seed by seed; returns the mean and spread of every column found in `out`.

    Without `columns` those of the papers' own tables; `report` is a document into which the table goes.
    """
    refuse_truth(encoder, bags, videos, held_out, held_out_videos)
    columns = columns or COLUMNS
    if seeds < 1:
        raise ComoError(f"{seeds} seeds train nothing; give --seeds 1 or more")
    if unknown := sorted(set(columns) - set(ABLATION)):
        raise ComoError(f"no columns {', '.join(unknown)}; known: {', '.join(ABLATION)}")
    (out / RUNS).mkdir(parents=True, exist_ok=True)
    _claim(out, {"steps": steps, "bags": str(bags), "videos": str(videos), "held_out": str(held_out)})
    masks = next((ABLATION[name] for name in columns if ABLATION[name].masks != "none"), ABLATION["td"])
    bench = cache(partial(_bench, encoder, bags, videos, held_out, held_out_videos, masks))
    for name, (read, column) in BASELINES.items():
        _once(out, name, 0, partial(_baseline, bench, read, ABLATION[column]))
    for seed in range(seeds):
        for name, column in UNTRAINED.items():
            _once(out, name, seed, partial(_untrained, bench, ABLATION[column], seed))
        for name in columns:
            config = with_steps(ABLATION[name], steps, seed)
            _once(out, name, seed, partial(_trained, bench, encoder, config, out / name))
    found = table(out)
    if report is not None:
        write(report, found)
    return found


def _claim(out: Path, recipe: dict[str, Any]) -> None:
    """Rows of one table come from one recipe."""
    path, text = out / "recipe.json", json.dumps(recipe, indent=1)
    if path.exists() and path.read_text() != text:
        raise ComoError(f"{out} was begun with another recipe, see {path}; give another --out")
    path.write_text(text)


def with_steps(config: MotionConfig, steps: int, seed: int) -> MotionConfig:
    return replace(config, schedule=replace(config.schedule, steps=steps), seed=seed)


def _bench(
    encoder: Path,
    bags: Path,
    videos: Path,
    held_out: Path,
    held_out_videos: Path | None,
    config: MotionConfig,
) -> Bench:
    """Loads everything once; `config` says whether the training frames need masks."""
    frozen = open_encoder(encoder)
    contract, episodes, clips = load_frames(bags, videos, frozen.contract)
    train = motion_data(episodes, clips, frozen, config)
    unseen = load_episodes(held_out, measuring=True)[1]
    plain = replace(config, masks="none")
    fresh: list[Clip] = []
    if held_out_videos:
        fresh = read_clips(held_out_videos, contract.action_rate_hz, contract.image_hw)[0]
    return Bench(
        train,
        motion_data(unseen, [], frozen, plain, copies=1),
        motion_data([], fresh, frozen, plain, copies=1) if fresh else None,
        unseen,
        frozen,
    )


def _once(out: Path, name: str, seed: int, work: Callable[[], Row]) -> None:
    path = out / RUNS / f"{name}-{seed}.json"
    if path.is_file():
        return
    row = work()
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row, indent=1, default=float))
    part.replace(path)
    told = " ".join(f"{key} {row[key]:.3f}" for key in ("lp_r2", "lp_mse", "s_pcfc") if key in row)
    sys.stderr.write(f"{name} seed {seed}: {told}\n")


def _trained(load: Callable[[], Bench], encoder: Path, config: MotionConfig, out: Path) -> Row:
    bench, folder, began = load(), out / f"seed_{config.seed}", time.monotonic()
    fit = model.train_on(
        bench.train,
        folder,
        config,
        bench.encoder.contract,
        bench.encoder.sha256,
        {"ablation": out.name},
        bench.encoder.net,
    )
    seconds = time.monotonic() - began
    keep_encoder(encoder, folder)
    net, _ = model.load(folder)
    return {
        **measured(net, bench),
        "steps": fit.steps,
        "samples_per_s": fit.samples_per_s,
        "seconds": seconds,
    }


def _untrained(load: Callable[[], Bench], config: MotionConfig, seed: int) -> Row:
    torch.manual_seed(seed)
    return measured(MotionNet(config).eval().requires_grad_(False), load())


def _baseline(load: Callable[[], Bench], read: Callable[..., Reading], config: MotionConfig) -> Row:
    bench, gap = load(), round(config.gap_s * load().held_out.rate_hz)
    data, motion = bench.held_out, read(bench.train, config)
    starts = data.starts(gap)
    z = motion(differences(data, starts, gap))
    return probed(z, robot_targets(bench.episodes, starts, gap), data.groups[starts])


def measured(net: MotionNet, bench: Bench) -> Row:
    """All metrics, and of code words what they tell about direction and about the room."""
    row, gap = score_on(net, bench.held_out, bench.episodes), round(net.config.gap_s * bench.held_out.rate_hz)
    starts = bench.held_out.starts(gap)
    moved = robot_targets(bench.episodes, starts, gap)[:, :3]
    row |= _told(net, bench.held_out, starts, gap, directions(moved), "direction_bits")
    if bench.clips is not None:
        starts = bench.clips.starts(gap)
        row |= _told(net, bench.clips, starts, gap, bench.clips.groups[starts], "room_bits")
    return row


def _told(
    net: MotionNet, data: MotionData, starts: np.ndarray, gap: int, labels: np.ndarray, key: str
) -> Row:
    """Bits that the words of each book tell of a label."""
    read = read_pairs(net, data, starts, starts + gap)
    books = {key: read.words, f"background_{key}": read.background}
    return {name: information(words, labels) for name, words in books.items() if words is not None}


def table(out: Path) -> dict[str, Row]:
    """Mean and standard deviation over the seeds of every column found in `out`."""
    found: dict[str, list[Row]] = {}
    for path in sorted((out / RUNS).glob("*.json")):
        found.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text()))
    order = [*UNTRAINED, *BASELINES, *ABLATION]
    return {name: _spread(found[name]) for name in order if name in found}


def _spread(rows: list[Row]) -> Row:
    out: Row = {"seeds": len(rows)}
    for key in rows[0]:
        values = [row[key] for row in rows if key in row]
        out[key] = float(np.mean(values))
        out[f"{key}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return out

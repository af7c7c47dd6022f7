"""How much a latent motion says about the arm's motion, and how little about the scene.

LP: a probe from z to the end effector's translation over the gap, in the base frame, split by episode, the
errors in units of each axis' spread. Linear by ridge regression, and a small MLP beside it. S-PCFC: cosine
between the motion from the past to now and the motion from the future to now, z centred; lower is better,
and the shuffled value is what chance gives. CKA: how z aligns with the measured motion, and with it permuted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.code_statistics import debiased_cka, effective_rank, perplexity, usage
from training.episodes import Episode, load_episodes
from training.latent_motion import model
from training.latent_motion.data import AXES, MotionData
from training.latent_motion.net import MotionNet
from training.motion_data import ENCODER, motion_data, open_encoder, places_of
from training.probe import mlp_probe, probe
from training.videos import refuse_truth

NORMALISATION = "each axis in its standard deviation over all pairs; base frame; split by episode"


@dataclass(frozen=True)
class Read:
    """What a model reads from pairs of frames."""

    z: np.ndarray
    """(N, D) float32"""
    words: np.ndarray | None
    """(N, K) of the action book"""
    background: np.ndarray | None
    """(N, K) of the background book"""


def read_pairs(net: MotionNet, data: MotionData, first: np.ndarray, later: np.ndarray) -> Read:
    """The motions between rows `first` and `later` of the unaugmented frames."""
    z, books = [], []
    with torch.no_grad():
        for i in range(0, len(first), 256):
            motion = net.encode(data.view(first[i : i + 256]), data.view(later[i : i + 256]))
            z.append(motion.z.numpy())
            books.append([words.numpy() for words in motion.words])
    words = [np.concatenate(book) for book in zip(*books, strict=True)]
    return Read(np.concatenate(z), *(words + [None, None])[:2])


def score(folder: Path, bags: Path) -> dict[str, float | str]:
    """The latent motion's metrics on robot episodes."""
    refuse_truth(folder, bags)
    net, found = model.load(folder)
    encoder = open_encoder(folder / ENCODER, found.contract)
    contract, episodes = load_episodes(bags, measuring=True)
    found.contract.require(contract, f"bags {bags}")
    data = motion_data(episodes, [], encoder, replace(net.config, masks="none"), copies=0)
    return {**score_on(net, data, episodes), "normalisation": NORMALISATION}


def robot_targets(episodes: list[Episode], starts: np.ndarray, gap: int) -> np.ndarray:
    """(N, 4): translation and change of opening over the gap, in metres."""
    places = places_of(episodes)
    return places[starts + gap] - places[starts]


def score_on(net: MotionNet, data: MotionData, episodes: list[Episode]) -> dict[str, float]:
    """All metrics of a model on `episodes`, whose frames `data` holds."""
    gap = round(net.config.gap_s * data.rate_hz)
    starts = data.starts(gap)
    read = read_pairs(net, data, starts, starts + gap)
    targets = robot_targets(episodes, starts, gap)
    past, shuffled = past_future_cosine(net, data, gap)
    out = {**probed(read.z, targets, data.groups[starts]), "s_pcfc": past, "s_pcfc_shuffled": shuffled}
    out |= {"effective_rank": effective_rank(read.z), **_alignment(read.z, targets[:, :3])}
    if read.words is not None:
        out |= {"codes_used": usage(read.words, net.config.codes), "perplexity": perplexity(read.words)}
    if read.background is not None:
        out["background_codes_used"] = usage(read.background, net.config.codes)
    return {**out, "pairs": float(len(starts))}


def probed(z: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Linear and MLP probe of the targets; means are over the translation."""
    found, bent = probe(z, targets, groups), mlp_probe(z, targets[:, :3], groups)
    spread = targets.std(0) + 1e-9
    return {
        "lp_mse": float((found.mse[:3] / spread[:3] ** 2).mean()),
        "lp_r2": float(found.r2[:3].mean()),
        **{f"lp_r2_{name}": float(r2) for name, r2 in zip(AXES, found.r2, strict=True)},
        "mlp_r2": float(bent.mean()),
        **{f"mlp_r2_{name}": float(r2) for name, r2 in zip(AXES, bent, strict=False)},
    }


def _alignment(z: np.ndarray, motion: np.ndarray, most: int = 1500) -> dict[str, float]:
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(z))[:most]
    z, motion = z[rows], motion[rows]
    return {"cka": debiased_cka(z, motion), "cka_permuted": debiased_cka(z, motion[rng.permutation(len(z))])}


def past_future_cosine(net: MotionNet, data: MotionData, gap: int) -> tuple[float, float]:
    """S-PCFC and its value for pairs that do not belong together."""
    starts = data.starts(2 * gap)
    now = starts + gap
    return past_to_future(read_pairs(net, data, starts, now).z, read_pairs(net, data, now + gap, now).z)


def past_to_future(past: np.ndarray, future: np.ndarray) -> tuple[float, float]:
    """Mean cosine of row pairs, centred together, and of shuffled ones.

    A code that never changes agrees with itself: 1.
    """
    centre = np.concatenate([past, future]).mean(0)
    order = np.random.default_rng(0).permutation(len(past))
    return _cosine(past - centre, future - centre), _cosine(past - centre, (future - centre)[order])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.where(norms < 1e-9, 1.0, (a * b).sum(1) / np.maximum(norms, 1e-9)).mean())

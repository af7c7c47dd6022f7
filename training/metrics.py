"""How much a latent motion says about the arm's motion, and how little about the scene.

LP: ridge regression from z to the end effector's translation over the gap (base frame, standardised by
the training part, split by episode). S-PCFC: cosine between the motion from the past to now and the
motion from the future to now, z centred; lower is better, and the shuffled value is what chance gives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from policies.spaces import EE_POSITION, GRIPPER
from training import motion
from training.episodes import Episode, load_episodes
from training.motion import MotionData, MotionNet, difference
from training.motion_data import ENCODER, motion_data, open_encoder
from training.probe import probe
from training.videos import refuse_truth


def encode_pairs(net: MotionNet, tokens: np.ndarray, first: np.ndarray, later: np.ndarray) -> np.ndarray:
    """z of the frame pairs (first, later): (N, 128) float32."""
    out = []
    with torch.no_grad():
        for i in range(0, len(first), 256):
            a, b = (torch.from_numpy(tokens[rows[i : i + 256]]).float() for rows in (first, later))
            out.append(net.encode(a, difference(a, b)).numpy())
    return np.concatenate(out)


def score(model: Path, bags: Path) -> dict[str, float]:
    """The latent motion's metrics on robot episodes."""
    refuse_truth(model, bags)
    net, config, found = motion.load(model)
    encoder = open_encoder(model / ENCODER, found.contract)
    contract, episodes = load_episodes(bags, measuring=True)
    found.contract.require(contract, f"bags {bags}")
    data = motion_data(episodes, [], encoder, copies=0)
    return score_on(net, data, episodes, round(config.gap_s * data.rate_hz))


def score_on(net: MotionNet, data: MotionData, episodes: list[Episode], gap: int) -> dict[str, float]:
    starts = data.starts(gap)
    z = encode_pairs(net, data.tokens[0], starts, starts + gap)
    states = np.concatenate([e.states for e in episodes])
    moved = np.concatenate([states[:, EE_POSITION], states[:, GRIPPER : GRIPPER + 1]], 1)
    targets = moved[starts + gap] - moved[starts]
    found = probe(z, targets, data.groups[starts])
    spread = targets.std(0) + 1e-9
    past, shuffled = past_future_cosine(net, data, gap)
    return {
        "lp_mse": float((found.mse[:3] / spread[:3] ** 2).mean()),
        "lp_r2": float(found.r2[:3].mean()),
        **{f"lp_r2_{name}": float(r2) for name, r2 in zip(("x", "y", "z", "gripper"), found.r2, strict=True)},
        "s_pcfc": past,
        "s_pcfc_shuffled": shuffled,
        "pairs": float(len(starts)),
    }


def past_future_cosine(net: MotionNet, data: MotionData, gap: int) -> tuple[float, float]:
    """Mean cosine of z(past -> now) and z(future -> now), and of pairs that do not belong together."""
    starts = data.starts(2 * gap)
    now = starts + gap
    past = encode_pairs(net, data.tokens[0], starts, now)
    future = encode_pairs(net, data.tokens[0], now + gap, now)
    centre = np.concatenate([past, future]).mean(0)
    order = np.random.default_rng(0).permutation(len(now))
    return _cosine(past - centre, future - centre), _cosine(past - centre, (future - centre)[order])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / np.maximum(norms, 1e-9)).mean())

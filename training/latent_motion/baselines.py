"""Motions that nobody trained: what a learned latent motion has to be better than.

Pooled token differences, principal components, and canonical directions: what of a difference stays when
the pair is shifted and recoloured anew and its later frame jitters. The last is what the agreement term of
a model learns by steps, solved in one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from como_ros.errors import ComoError
from training.latent_motion.config import MotionConfig
from training.latent_motion.data import MotionData
from training.latent_motion.net import difference, pooled

SAMPLES = 8000
PCA_SAMPLES = 2000
KEPT = 1024
"""Principal components among which canonical directions are looked for."""
LEAST = 1e-4
"""Variance, as a share of the largest, that a component must have to count fully."""

Reading = Callable[[np.ndarray], np.ndarray]


def differences(data: MotionData, rows: np.ndarray, gap: int | np.ndarray, copy: int = 0) -> np.ndarray:
    """(N, tokens, width) float32 of the frames `rows` and those `gap` later."""
    return _moved(data, rows, gap, copy).numpy()


def _moved(data: MotionData, rows: np.ndarray, gap: int | np.ndarray, copy: int) -> torch.Tensor:
    return difference(data.view(rows, copy).tokens, data.view(rows + gap, copy).tokens)


def pooled_difference(data: MotionData, config: MotionConfig) -> Reading:
    """The differences themselves, pooled; nothing is learned from the data."""
    return _pooled


def pca(data: MotionData, config: MotionConfig) -> Reading:
    """As many principal components of all tokens' differences as a motion has numbers."""
    gap = round(config.gap_s * data.rate_hz)
    rows = np.random.default_rng(0).permutation(data.starts(gap))[:PCA_SAMPLES]
    seen = torch.from_numpy(differences(data, rows, gap)).flatten(1)
    centre = seen.mean(0)
    axes = torch.svd_lowrank(seen - centre, config.dim, niter=2)[2].numpy()
    return lambda moved: (moved.reshape(len(moved), -1) - centre.numpy()) @ axes


def canonical(data: MotionData, config: MotionConfig) -> Reading:
    """As many directions of the pooled differences as a motion has numbers, the most repeatable first."""
    centre, directions = (part.numpy() for part in canonical_directions(data, config))
    return lambda moved: (_pooled(moved) - centre) @ directions


def canonical_directions(data: MotionData, config: MotionConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Their origin (D,) and the directions (D, numbers of a motion), among the differences' components."""
    if len(data.tokens) < 2:
        raise ComoError("canonical directions need two copies of every frame, each augmented by itself")
    gap, jitter = round(config.gap_s * data.rate_hz), round(config.jitter_s * data.rate_hz)
    rows = _shared(data, config, gap + jitter)
    shift = np.random.default_rng(config.seed).integers(-jitter, jitter + 1, len(rows))
    views = [pooled(_moved(data, rows, gap + s, copy)) for copy, s in enumerate((0 * shift, shift))]
    first, second = (view - view.mean(0) for view in views)
    variance, axes = torch.linalg.eigh((first.T @ first + second.T @ second) / (2 * len(rows)))
    kept = axes[:, -KEPT:] / (variance[-KEPT:] + LEAST * variance[-1]).sqrt()
    shared = (first @ kept).T @ (second @ kept)
    best = torch.linalg.eigh(shared + shared.T)[1].flip(1)[:, : config.dim]
    return views[0].mean(0), kept @ best


def _pooled(moved: np.ndarray) -> np.ndarray:
    return pooled(torch.from_numpy(moved)).numpy()


def _shared(data: MotionData, config: MotionConfig, gap: int) -> np.ndarray:
    """Starts of pairs, as many as there are of robots and videos in the config's shares."""
    starts, rng = data.starts(gap), np.random.default_rng(config.seed)
    parts = [starts[starts < data.robot], starts[starts >= data.robot]]
    shares = [1 - config.video_share, config.video_share]
    total = min([len(p) / s for p, s in zip(parts, shares, strict=True) if len(p) and s] + [SAMPLES])
    return np.concatenate([rng.permutation(p)[: int(total * s)] for p, s in zip(parts, shares, strict=True)])

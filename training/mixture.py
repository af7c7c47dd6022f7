"""Batches for co-mixed training: robot chunks and pseudo-labelled video on the same frozen tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from policies.spaces import Contract, Normalizer, instruction_bytes
from training.episodes import Episode, action_targets
from training.features import Augmentation
from training.label import Labels
from training.motion_data import FrozenEncoder, group_numbers
from training.videos import Clip


@dataclass(frozen=True)
class RobotSet:
    """Every tick of every episode."""

    front: np.ndarray
    """(copies, N, 64, 128) float16, like `wrist`"""
    wrist: np.ndarray
    states: np.ndarray
    """(N, S), not normalised"""
    actions: np.ndarray
    """(N, H, A), not normalised"""
    text: np.ndarray
    """(N, 64) int64"""
    groups: np.ndarray
    motion: np.ndarray
    """(N, Z) latent motion, zero where there is no label"""
    labelled: np.ndarray
    """(N,) bool"""


@dataclass(frozen=True)
class VideoSet:
    """Every frame of every labelled clip."""

    front: np.ndarray
    text: np.ndarray
    groups: np.ndarray
    motion: np.ndarray
    labelled: np.ndarray


def robot_set(
    episodes: list[Episode],
    encoder: FrozenEncoder,
    labels: dict[str, Labels],
    contract: Contract,
    how: Augmentation,
) -> RobotSet:
    tokens = {
        name: encoder.tokens(np.concatenate([e.images[name] for e in episodes]), how)
        for name in contract.cameras
    }
    motion, labelled = _aligned([(e.path.name, len(e)) for e in episodes], labels)
    return RobotSet(
        front=tokens["front"],
        wrist=tokens["wrist"],
        states=np.concatenate([e.states for e in episodes]),
        actions=np.concatenate([action_targets(e, contract.horizon) for e in episodes]),
        text=np.concatenate([np.tile(instruction_bytes(e.instruction), (len(e), 1)) for e in episodes]),
        groups=group_numbers([e.states for e in episodes]),
        motion=motion,
        labelled=labelled,
    )


def video_set(
    clips: list[Clip], encoder: FrozenEncoder, labels: dict[str, Labels], how: Augmentation
) -> VideoSet:
    frames = [clip.frames for clip in clips]
    groups = group_numbers(frames)
    motion, labelled = _aligned([(clip.name, len(clip.frames)) for clip in clips], labels)
    text = [np.tile(instruction_bytes(clip.instruction), (len(clip.frames), 1)) for clip in clips]
    tokens = encoder.tokens(np.concatenate(frames), how, groups)
    return VideoSet(tokens, np.concatenate(text), groups, motion, labelled)


def _aligned(lengths: list[tuple[str, int]], labels: dict[str, Labels]) -> tuple[np.ndarray, np.ndarray]:
    """Labels laid along the frames of each clip; a clip's last frames have none."""
    motions, flags = [], []
    for name, count in lengths:
        z, keep = np.zeros((count, 128), np.float32), np.zeros(count, bool)
        if found := labels.get(name):
            z[: len(found.z)], keep[: len(found.keep)] = found.z, found.keep
        motions.append(z)
        flags.append(keep)
    return np.concatenate(motions), np.concatenate(flags)


def fit_motion(part: RobotSet | VideoSet) -> Normalizer:
    """Statistics of the trusted labels; each embodiment has its own, so that none is read off the mean."""
    rows = part.motion[part.labelled]
    return Normalizer.fit(rows if len(rows) else np.zeros((1, part.motion.shape[1]), np.float32), floor=1e-2)


def fit_actions(actions: np.ndarray) -> Normalizer:
    """(N, H, A): statistics for each place in the chunk, so that near actions count as much as far ones."""
    flat = Normalizer.fit(actions.reshape(len(actions), -1), floor=1e-2)
    return Normalizer(flat.mean.reshape(actions.shape[1:]), flat.std.reshape(actions.shape[1:]))


def ahead(groups: np.ndarray, rows: np.ndarray, horizon: int) -> np.ndarray:
    """(B, H) rows i, i+1, ... of the same group, the last one repeated."""
    last = np.searchsorted(groups, groups[rows], side="right") - 1
    return np.minimum(rows[:, None] + np.arange(horizon), last[:, None])


def gather(tokens: np.ndarray, rows: np.ndarray, copies: torch.Tensor) -> torch.Tensor:
    """(B, 64, 128) float32 of the given rows, each from its own augmented copy."""
    return torch.from_numpy(tokens[copies.numpy(), rows]).float()

"""Frames as the model trains on them: frozen tokens, pixels and masks, all under one augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from training.features import Augmentation, augmented
from training.latent_motion.config import MotionConfig
from training.latent_motion.net import View

AXES = ("x", "y", "z", "gripper")
"""Of a place: the end effector in the base frame, and how wide the hand is open."""


@dataclass(frozen=True)
class MotionData:
    """Front-camera frames of robot episodes, then clips; one augmentation per group and copy."""

    tokens: np.ndarray
    """(copies, N, tokens, width) float16 of the frozen encoder"""
    patches: np.ndarray
    """(copies, N, P, D) float16 pixels in [-1, 1]"""
    groups: np.ndarray
    """(N,) episode or clip a frame belongs to, ascending."""
    robot: int
    """Frames below this index belong to robot episodes."""
    rate_hz: float
    coverage: np.ndarray | None = None
    """(copies, N, P) float16 share of each patch that is masked, where there are masks."""
    places: np.ndarray | None = None
    """(robot, AXES) float32 metres of each robot frame; read only where action labels are asked for."""

    def starts(self, gap: int) -> np.ndarray:
        """Frames that have a partner `gap` frames later in the same group; no clamped pairs."""
        last = np.searchsorted(self.groups, self.groups, side="right")
        return np.flatnonzero(np.arange(len(self.groups)) + gap < last)

    def view(self, rows: np.ndarray, copy: int = 0) -> View:
        return View(
            torch.from_numpy(self.tokens[copy][rows]).float(),
            torch.from_numpy(self.patches[copy][rows]).float(),
        )


def patches_of(images: torch.Tensor, config: MotionConfig) -> torch.Tensor:
    """(B, h, w, 3) of 0 to 255 -> (B, P, D) in [-1, 1], shrunk as the config says."""
    g, s, side = config.grid, config.shrink, config.patch_px // config.shrink
    b, size = len(images), g * side
    small = _sized(images, config).reshape(b, size, s, size, s, 3).mean((2, 4)) / 127.5 - 1
    return small.reshape(b, g, side, g, side, 3).transpose(2, 3).reshape(b, g * g, config.patch_dim)


def _sized(images: torch.Tensor, config: MotionConfig) -> torch.Tensor:
    """(B, h, w, c) float32 at the config's size."""
    size = (config.image_px, config.image_px)
    if images.shape[1:3] == size:
        return images.float()
    moved = images.float().permute(0, 3, 1, 2)
    return nn.functional.interpolate(moved, size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)


def images_of(patches: torch.Tensor, config: MotionConfig) -> torch.Tensor:
    """(B, P, D) -> (B, h, w, 3) of 0 to 255 at the config's size: `patches_of` undone but for detail."""
    g, side = config.grid, config.patch_px // config.shrink
    small = patches.reshape(-1, g, g, side, side, 3).transpose(2, 3).reshape(-1, g * side, g * side, 3)
    return _sized((small + 1) * 127.5, config)


def coverage_of(masks: torch.Tensor, config: MotionConfig) -> torch.Tensor:
    """(B, h, w) of 0 or 255 -> (B, P) share of each patch that is masked."""
    g, side = config.grid, config.patch_px
    full = _sized((masks[..., None] > 0).float(), config)
    return full.reshape(len(masks), g, side, g, side).mean((2, 4)).flatten(1)


def patches_and_coverage(
    images: np.ndarray,
    masks: np.ndarray | None,
    how: Augmentation,
    groups: np.ndarray,
    config: MotionConfig,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and masks under the very augmentation that the cached tokens of each copy got."""
    shape = (how.copies, len(images), config.patches)
    patches = np.empty((*shape, config.patch_dim), np.float16)
    coverage = None if masks is None else np.empty(shape, np.float16)
    stacked = images if masks is None else np.concatenate([images, masks[..., None]], -1)
    for copy, index, batch in augmented(stacked, how, groups):
        patches[copy, index] = patches_of(batch[..., :3], config).numpy()
        if coverage is not None:
            coverage[copy, index] = coverage_of(batch[..., 3], config).numpy()
    return patches, coverage

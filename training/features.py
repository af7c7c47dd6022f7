"""Frozen tokens computed once per data set and kept as float16 on disk: the biggest lever on speed.

Copy 0 is the image as recorded, the others are shifted and recoloured. A file's name is the hash of
the encoder, the images and the augmentation, so a stale cache cannot be picked up.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.runs import made_once
from training.augment import colour_jitter, random_shift

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How many copies of every frame are cached and how they differ."""

    copies: int
    """Including copy 0, the image as recorded."""
    shift_px: int = 6
    jitter: float = 0.2


def encode(encoder: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 3) uint8 -> (B, 64, 128) float32 without gradient."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return encoder(images).float()


def cached_tokens(
    encoder: nn.Module,
    encoder_sha256: str,
    images: np.ndarray,
    how: Augmentation,
    folder: Path,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """(copies, N, tokens, width) float16, memory-mapped.

    Frames of the same group (a clip) share one augmentation per copy; without groups each has its own.
    """
    path = folder / f"tokens-{_key(encoder_sha256, images, how, groups)}.npy"
    made_once(path, lambda part: _fill(part, encoder, images, how, groups))
    return np.load(path, mmap_mode="r")


def _key(encoder_sha256: str, images: np.ndarray, how: Augmentation, groups: np.ndarray | None) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(
        f"{encoder_sha256} {how.copies} {how.shift_px} {how.jitter} {images.shape} {groups is None}".encode()
    )
    digest.update(np.ascontiguousarray(images).data)
    if groups is not None:
        digest.update(np.ascontiguousarray(groups).data)
    return digest.hexdigest()


def _fill(
    path: Path, encoder: nn.Module, images: np.ndarray, how: Augmentation, groups: np.ndarray | None
) -> None:
    began = time.monotonic()
    shape = (how.copies, len(images), *encode(encoder, torch.from_numpy(images[:1])).shape[1:])
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for copy, index, batch in augmented(images, how, groups):
        out[copy, index] = encode(encoder, batch).numpy().astype(np.float16)
    out.flush()
    rate = how.copies * len(images) / max(time.monotonic() - began, 1e-9)
    sys.stderr.write(f"features {how.copies} x {len(images)} images, {rate:.0f} images/s\n")


def augmented(
    images: np.ndarray, how: Augmentation, groups: np.ndarray | None
) -> Iterator[tuple[int, np.ndarray, torch.Tensor]]:
    """Every copy in batches: its number, which images, the images (B, h, w, c).

    A fourth channel is moved with the colours and not recoloured: a mask stays on what it masks.
    """
    for copy in range(how.copies):
        for index in _runs(len(images), groups):
            batch = torch.from_numpy(images[index])
            if copy:
                batch = _augmented(batch, copy * 1_000_003 + int(index[0]), how, groups is not None)
            yield copy, index, batch


def _runs(count: int, groups: np.ndarray | None) -> list[np.ndarray]:
    """Batches of indices: a whole group each, or BATCH at a time."""
    if groups is None:
        return [np.arange(i, min(i + BATCH, count)) for i in range(0, count, BATCH)]
    edges = np.flatnonzero(np.diff(groups)) + 1
    return np.split(np.arange(count), edges)


def _augmented(batch: torch.Tensor, seed: int, how: Augmentation, together: bool) -> torch.Tensor:
    if not together:
        generator = torch.Generator().manual_seed(seed)
        moved = random_shift(batch, how.shift_px, generator)
        return torch.cat([colour_jitter(moved[..., :3], how.jitter, generator), moved[..., 3:]], -1)
    frames = [_augmented(frame[None], seed, how, False) for frame in batch]
    return torch.cat(frames)

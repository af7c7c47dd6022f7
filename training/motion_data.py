"""Recordings as pairs for the motion model: frames, frozen tokens and group numbers in one place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.spaces import EE_POSITION, GRIPPER, Contract
from training import encoder as encoders
from training.episodes import Episode, load_episodes
from training.features import Augmentation, cached_tokens, encode
from training.latent_motion.config import MotionConfig
from training.latent_motion.data import MotionData, patches_and_coverage
from training.masks import masks_of
from training.videos import Clip, read_clips
from training.vision_transformer import WEIGHTS as PUBLISHED_WEIGHTS
from training.vision_transformer import is_published, load_published

COPIES = 2
ENCODER = "encoder"
"""Sub-folder of a model that holds the encoder it was trained on."""


@dataclass(frozen=True)
class FrozenEncoder:
    """An encoder, what identifies it and where its tokens are cached."""

    net: nn.Module
    sha256: str
    contract: Contract
    cache: Path

    def tokens(self, images: np.ndarray, how: Augmentation, groups: np.ndarray | None = None) -> np.ndarray:
        return cached_tokens(self.net, self.sha256, images, how, self.cache, groups)

    def fresh(self, images: np.ndarray) -> np.ndarray:
        """(1, N, tokens, width) of the images as they are, not cached."""
        parts = [encode(self.net, torch.from_numpy(images[i : i + 64])) for i in range(0, len(images), 64)]
        return torch.cat(parts).numpy().astype(np.float16)[None]


def open_encoder(folder: Path, contract: Contract | None = None) -> FrozenEncoder:
    """Ours, or a published one as downloaded; tokens are cached in `tokens/` beside its folder."""
    cache = Path(folder).resolve().parent / "tokens"
    if is_published(folder):
        sha256 = artefact.file_sha256(Path(folder) / PUBLISHED_WEIGHTS)
        return FrozenEncoder(load_published(Path(folder)), sha256, contract or Contract(), cache)
    net, found = encoders.load(folder, contract)
    return FrozenEncoder(net, found.sha256, found.contract, cache)


def keep_encoder(source: Path, model: Path) -> None:
    """Put a copy of the encoder into a model's folder, so that the model stands on its own."""
    target = model / ENCODER
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", PUBLISHED_WEIGHTS if is_published(source) else artefact.WEIGHTS):
        shutil.copyfile(source / name, target / name)


def group_numbers(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])


def motion_data(
    episodes: list[Episode],
    clips: list[Clip],
    encoder: FrozenEncoder,
    config: MotionConfig,
    copies: int = COPIES,
    masks: Path | None = None,
) -> MotionData:
    """Front frames of the episodes, then the clips' frames; 0 copies means as they are, not cached.

    `masks` is the folder of precomputed ones.
    """
    robot, video = [e.images["front"] for e in episodes], [c.frames for c in clips]
    if not robot and not video:
        raise ComoError("latent motion needs robot episodes or video clips")
    masks_by_part = (
        masks_of(config.masks, [(e.path.name, e.images["front"]) for e in episodes], masks, encoder.cache),
        masks_of(config.masks, [(c.path.stem, c.frames) for c in clips], masks, encoder.cache),
    )
    parts = [
        _part(frames, found, encoder, config, copies)
        for frames, found in zip((robot, video), masks_by_part, strict=True)
        if frames
    ]
    tokens, patches, coverage = zip(*parts, strict=True)
    return MotionData(
        tokens=_joined(tokens),
        patches=_joined(patches),
        groups=group_numbers([*robot, *video]),
        robot=sum(len(part) for part in robot),
        rate_hz=encoder.contract.action_rate_hz,
        coverage=None if coverage[0] is None else _joined(coverage),
        places=places_of(episodes) if episodes else None,
    )


def places_of(episodes: list[Episode]) -> np.ndarray:
    """(N, AXES) metres: where the end effector is in each frame, and how wide the hand is open."""
    states = np.concatenate([e.states for e in episodes])
    return np.concatenate([states[:, EE_POSITION], states[:, GRIPPER : GRIPPER + 1]], 1)


def _part(
    frames: list[np.ndarray],
    masks: np.ndarray | None,
    encoder: FrozenEncoder,
    config: MotionConfig,
    copies: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Tokens, pixels and mask coverage of robot frames or of clips."""
    images, groups, how = np.concatenate(frames), group_numbers(frames), Augmentation(copies=max(copies, 1))
    tokens = encoder.tokens(images, how, groups) if copies else encoder.fresh(images)
    return tokens, *patches_and_coverage(images, masks, how, groups, config)


def _joined(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """One part stays where it is on disk."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


def load_frames(
    bags: Path | None, videos: Path | None, contract: Contract
) -> tuple[Contract, list[Episode], list[Clip]]:
    """Episodes and clips that fit the encoder's contract."""
    found, episodes = load_episodes(bags) if bags else (contract, [])
    contract.require(found, f"bags {bags}")
    clips = read_clips(videos, found.action_rate_hz, found.image_hw)[0] if videos else []
    return found, episodes, clips

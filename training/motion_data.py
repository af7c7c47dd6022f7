"""Recordings as pairs for the motion model: frames, frozen tokens and group numbers in one place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.spaces import Contract
from training import encoder as encoders
from training import motion
from training.episodes import Episode, load_episodes
from training.features import Augmentation, cached_tokens, encode
from training.motion import MotionConfig, MotionData
from training.videos import Clip, read_clips, refuse_truth

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
        """(1, N, 64, 128) of the images as they are, not cached."""
        parts = [encode(self.net, torch.from_numpy(images[i : i + 64])) for i in range(0, len(images), 64)]
        return torch.cat(parts).numpy().astype(np.float16)[None]


def open_encoder(folder: Path, contract: Contract | None = None) -> FrozenEncoder:
    """Tokens are cached in `tokens/` beside the folder that holds the encoder."""
    net, found = encoders.load(folder, contract)
    return FrozenEncoder(net, found.sha256, found.contract, Path(folder).resolve().parent / "tokens")


def keep_encoder(source: Path, model: Path) -> None:
    """Put a copy of the encoder into a model's folder, so that the model stands on its own."""
    target = model / ENCODER
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "weights.safetensors"):
        shutil.copyfile(source / name, target / name)


def group_numbers(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])


def motion_data(
    episodes: list[Episode], clips: list[Clip], encoder: FrozenEncoder, copies: int = COPIES
) -> MotionData:
    """Front frames of the episodes, then the clips' frames; 0 copies means their own tokens, not cached."""
    robot, video = [e.images["front"] for e in episodes], [c.frames for c in clips]
    if not robot and not video:
        raise ComoError("latent motion needs robot episodes or video clips")
    images = [np.concatenate(part) for part in (robot, video) if part]
    tokens = [
        encoder.tokens(np.concatenate(p), Augmentation(copies=copies), group_numbers(p))
        if copies
        else encoder.fresh(np.concatenate(p))
        for p in (robot, video)
        if p
    ]
    return MotionData(
        images=np.concatenate(images),
        tokens=np.concatenate(tokens, 1),
        groups=group_numbers([*robot, *video]),
        robot=sum(len(part) for part in robot),
        rate_hz=encoder.contract.action_rate_hz,
    )


def train(
    bags: Path | None, videos: Path | None, encoder: Path, out: Path, config: MotionConfig | str = "lab"
) -> dict[str, float]:
    """Train a latent-motion model on the frames of `bags` and `videos`; no action is read."""
    refuse_truth(bags, videos, encoder)
    chosen = motion.PRESETS[config] if isinstance(config, str) else config
    frozen = open_encoder(encoder)
    contract, episodes = load_episodes(bags) if bags else (frozen.contract, [])
    frozen.contract.require(contract, f"bags {bags}")
    clips = read_clips(videos, contract.action_rate_hz, contract.image_hw)[0] if videos else []
    keep_encoder(encoder, out)
    data = motion_data(episodes, clips, frozen)
    source = {"bags": str(bags), "videos": str(videos)}
    return motion.train_on(data, out, chosen, contract, frozen.sha256, source).summary()

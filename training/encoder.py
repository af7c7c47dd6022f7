"""Pre-train the lab's visual encoder on recorded frames, without labels, then freeze it.

Two tasks. Reconstruction: a light decoder repaints the clean image from the tokens of a shifted,
recoloured, noisy and partly hidden one, with the error weighted towards the foreground so that a
small object counts. Hindsight: the tokens of both cameras predict where the end effector will be
when the gripper next acts, which every recorded demonstration tells about itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.encoder import GRID, IMAGE_PX, TOKENS, WIDTH, LabEncoder, ResidualConv
from policies.spaces import Contract
from training.augment import colour_jitter, random_shift
from training.frames import FrameStore, load_frames
from training.optimize import RESUME, Fit, Schedule, fit, identity_of
from training.videos import refuse_truth

KIND = "encoder"
NOISE_BANK = 32
"""Noise images drawn once: drawing them anew costs as much as a convolution."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """How the lab encoder is pre-trained."""

    blocks: int = 2
    """Residual blocks at 8 x 8."""
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=1200, batch=80))
    video_share: float = 0.3
    """Share of the images of a batch that come from video rather than from robot episodes."""
    shift_px: int = 6
    jitter: float = 0.2
    noise: float = 0.05
    """Standard deviation added to the input, of a range of 2."""
    hidden_share: float = 0.1
    """Share of the 16 x 16 patches painted grey in the input."""
    motion_gain: float = 8.0
    """Extra weight of a pixel that differs fully from its camera's background."""
    edge_gain: float = 2.0
    """Extra weight of a pixel on a full-contrast edge."""
    hindsight_weight: float = 1.0
    """Weight of the hindsight task; 0 switches it off."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.video_share < 1:
            raise ComoError(f"video_share must be in [0, 1), got {self.video_share}")


PRESETS = {
    "debug": EncoderConfig(blocks=1, schedule=Schedule(steps=2, batch=4)),
    "lab": EncoderConfig(),
}


class Decoder(nn.Module):
    """(B, 64, 128) tokens -> (B, 3, 64, 64) in [-1, 1]: half the image's resolution, by pixel shuffles."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(WIDTH, 64 * 4, 1),
            nn.PixelShuffle(2),
            ResidualConv(64),
            nn.Conv2d(64, 32 * 4, 1),
            nn.PixelShuffle(2),
            nn.GELU(),
            nn.Conv2d(32, 3 * 4, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.body(tokens.transpose(1, 2).unflatten(2, (GRID, GRID)))


class HindsightHead(nn.Module):
    """Attention-pooled tokens -> where the gripper next acts: relative (both views) and absolute (front)."""

    QUERIES = 4

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(2 * TOKENS, WIDTH) * 0.02)
        self.score = nn.Linear(WIDTH, 2 * self.QUERIES)
        self.relative = self._mlp(self.QUERIES * WIDTH)
        self.absolute = self._mlp(self.QUERIES * WIDTH)

    @staticmethod
    def _mlp(width: int) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.1), nn.Linear(width, 128), nn.GELU(), nn.Linear(128, 3))

    def forward(self, front: torch.Tensor, wrist: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([front, wrist], 1) + self.place
        scores = self.score(tokens)
        both = scores[..., : self.QUERIES].softmax(1).transpose(1, 2) @ tokens
        alone = scores[:, :TOKENS, self.QUERIES :].softmax(1).transpose(1, 2) @ tokens[:, :TOKENS]
        return torch.cat([self.relative(both.flatten(1)), self.absolute(alone.flatten(1))], -1)


class Pretraining(nn.Module):
    """Encoder, decoder and hindsight head with their joint loss."""

    def __init__(self, config: EncoderConfig, frames: FrameStore):
        super().__init__()
        self.config, self.frames = config, frames
        self.encoder, self.decoder, self.hindsight = LabEncoder(config.blocks), Decoder(), HindsightHead()
        targets = frames.targets[np.isfinite(frames.targets).all(1)]
        known = targets if len(targets) else np.zeros((1, 6))
        self.centre = torch.tensor(known.mean(0), dtype=torch.float32)
        self.spread = torch.tensor(known.std(0) + 1e-3, dtype=torch.float32)
        shape = (NOISE_BANK, IMAGE_PX, IMAGE_PX, 3)
        self.noise = torch.randn(shape, generator=torch.Generator().manual_seed(config.seed)) * (
            config.noise * 127.5
        )

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        config = self.config
        rows, pairs = self.frames.draw(config.schedule.batch, config.video_share, generator)
        images = torch.from_numpy(
            np.concatenate([self.frames.images[rows], self.frames.backgrounds_of(rows)], -1)
        )
        shifted = random_shift(images, config.shift_px, generator)
        clean = colour_jitter(shifted[..., :3], config.jitter, generator)
        weights = self._weights(half(shifted), torch.from_numpy(self.frames.background_index[rows] >= 0))
        wanted = half(clean).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            tokens = self.encoder(self._spoil(clean, generator))
            painted = self.decoder(tokens).float()
            loss = ((painted - wanted).square().mean(1) * weights).mean()
            if config.hindsight_weight and len(pairs):
                loss = loss + config.hindsight_weight * self._hindsight_loss(tokens.float(), pairs)
        return loss

    def _hindsight_loss(self, tokens: torch.Tensor, pairs: np.ndarray) -> torch.Tensor:
        """`pairs` are robot ticks; their images come first in the batch, front then wrist."""
        front, wrist = tokens[: len(pairs)], tokens[len(pairs) : 2 * len(pairs)]
        targets = torch.from_numpy(self.frames.targets[pairs]).float()
        known = torch.isfinite(targets).all(1)
        wanted = (torch.nan_to_num(targets) - self.centre) / self.spread
        errors = nn.functional.smooth_l1_loss(
            self.hindsight(front, wrist), wanted, reduction="none", beta=0.2
        )
        return (errors.mean(1) * known).sum() / known.sum().clamp(min=1)

    def _weights(self, images: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """(B, h, w): one, plus gains for differing from the background and for edges; mean one per image."""
        picture, background = images[..., :3], images[..., 3:]
        moved = ((picture - background).abs().mean(-1) / 64).clamp(max=1) * known[:, None, None]
        grey = picture.mean(-1)
        edges = torch.zeros_like(grey)
        edges[:, 1:, :] += (grey[:, 1:] - grey[:, :-1]).abs()
        edges[:, :, 1:] += (grey[:, :, 1:] - grey[:, :, :-1]).abs()
        weights = 1 + self.config.motion_gain * moved + self.config.edge_gain * (edges / 64).clamp(max=1)
        return weights / weights.mean((1, 2), keepdim=True)

    def _spoil(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Noise over everything and grey over a few patches; stays in the range that the encoder takes."""
        b, side = len(images), IMAGE_PX // GRID
        hidden = torch.rand(b, GRID, 1, GRID, 1, 1, generator=generator) < self.config.hidden_share
        noisy = images + self.noise[torch.randint(0, len(self.noise), (b,), generator=generator)]
        grey = torch.where(hidden, 127.5, noisy.view(b, GRID, side, GRID, side, 3))
        return grey.view(images.shape).clamp_(0, 255)


def half(images: torch.Tensor) -> torch.Tensor:
    """(B, 128, 128, c) -> (B, 64, 64, c) float32, the mean of 2 x 2 pixels."""
    rows = images[:, 0::2].to(torch.int16) + images[:, 1::2]
    return (rows[:, :, 0::2] + rows[:, :, 1::2]).float() / 4


def train(
    bags: Path, videos: Path | None, out: Path, config: EncoderConfig | str = "lab"
) -> dict[str, float]:
    """Pre-train on the frames of `bags` and `videos` and write the frozen encoder to `out`."""
    refuse_truth(bags, videos)
    artefact.refuse_another_kind(out, KIND)
    chosen = PRESETS[config] if isinstance(config, str) else config
    contract, frames = load_frames(bags, videos)
    source = {"bags": str(bags), "videos": str(videos)}
    return train_on(frames, out, chosen, contract, source).summary()


def train_on(frames: FrameStore, out: Path, config: EncoderConfig, contract: Contract, source: dict) -> Fit:
    torch.manual_seed(config.seed)
    model = Pretraining(config, frames)
    result = fit(
        model,
        model.loss,
        config.schedule,
        label=KIND,
        resume=out / RESUME,
        seed=config.seed,
        identity=identity_of(config, **source),
    )
    inside = {k.removeprefix("encoder."): v for k, v in result.weights.items() if k.startswith("encoder.")}
    artefact.save(
        out, KIND, inside, config, contract, source=source, images=len(frames.images), loss=result.final_loss
    )
    return result


def load(folder: Path, contract: Contract | None = None) -> tuple[LabEncoder, artefact.Artefact]:
    """The frozen encoder and its identity."""
    found = artefact.load(folder, KIND, contract)
    encoder = LabEncoder(found.config["blocks"])
    encoder.load_state_dict(found.weights)
    return encoder.eval().requires_grad_(False), found

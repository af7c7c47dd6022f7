"""CoMo's latent motion: what changed between two frames, in 8 x 16 numbers, learned without actions.

The encoder sees the frozen tokens of the first frame and the difference to the later one; the later
frame itself is removed. The decoder repaints the later frame from the first one's pixels and the
pooled motion. The contrastive term pulls a jittered later frame close and pushes time reversal away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.attention import Block, embedding
from policies.nets.encoder import GRID, TOKENS, WIDTH
from policies.spaces import MOTION_DIM, MOTION_TOKENS, Contract
from training.optimize import RESUME, Fit, Schedule, fit, identity_of

KIND = "motion"
PAINT_PX = 64
"""The decoder paints at half the image's resolution."""
PATCH_PX = PAINT_PX // GRID
PATCH_DIM = PATCH_PX * PATCH_PX * 3


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """How the latent-motion model is built and trained."""

    width: int = 128
    heads: int = 4
    blocks: int = 3
    """Of the query transformer."""
    decoder_blocks: int = 2
    gap_s: float = 0.5
    """Time between the two frames."""
    jitter_s: float = 0.1
    """Largest shift of the later frame that must not change the motion much."""
    contrast_weight: float = 0.01
    temperature: float = 0.1
    foreground_gain: float = 10.0
    """Extra weight of a pixel that changes fully between the two frames."""
    video_share: float = 0.5
    """Share of a batch drawn from clips rather than from robot episodes."""
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=900, batch=64, learning_rate=5e-4))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gap_s <= self.jitter_s:
            raise ComoError(f"gap_s {self.gap_s} must exceed jitter_s {self.jitter_s}")


PRESETS = {
    "debug": MotionConfig(width=32, blocks=1, decoder_blocks=1, schedule=Schedule(steps=2, batch=4)),
    "lab": MotionConfig(),
}


class MotionNet(nn.Module):
    """Tokens of two frames -> z (B, 128); first frame's patches and z -> later frame's patches."""

    def __init__(self, config: MotionConfig):
        super().__init__()
        width = config.width
        self.tokens = nn.Linear(2 * WIDTH, width)
        self.place = embedding(TOKENS, width)
        self.queries = embedding(MOTION_TOKENS, width)
        self.reader = nn.ModuleList([Block(width, config.heads, cross=True) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(width)
        per_query = MOTION_DIM // MOTION_TOKENS
        self.bottleneck = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, per_query))
        self.widen = nn.Sequential(nn.Linear(per_query, per_query), nn.Tanh(), nn.Linear(per_query, width))
        self.pool = nn.Linear(MOTION_TOKENS * width, width)
        self.patches = nn.Linear(PATCH_DIM, width)
        self.patch_place = embedding(TOKENS, width)
        self.painter = nn.ModuleList([Block(width, config.heads) for _ in range(config.decoder_blocks)])
        self.paint = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, PATCH_DIM))

    def encode(self, first: torch.Tensor, difference: torch.Tensor) -> torch.Tensor:
        context = self.tokens(torch.cat([first, difference], -1)) + self.place
        x = self.queries.expand(first.shape[0], -1, -1)
        for block in self.reader:
            x = block(x, context)
        return self.bottleneck(self.norm(x)).flatten(1)

    def decode(self, patches: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """(B, 64, 192) pixels of the first frame in [-1, 1] -> the later frame's, as a residual."""
        motion = self.pool(self.widen(z.unflatten(1, (MOTION_TOKENS, -1))).flatten(1))
        x = self.patches(patches) + self.patch_place + motion.unsqueeze(1)
        for block in self.painter:
            x = block(x)
        return patches + self.paint(x)


def difference(first: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """The early temporal difference."""
    return later - first


def contrast(
    z: torch.Tensor, jittered: torch.Tensor, reversed_z: torch.Tensor, temperature: float
) -> torch.Tensor:
    """InfoNCE over one positive and the sample's own time reversal; log 3 when all three agree."""
    pairs = [(jittered, z), (jittered, reversed_z), (z, reversed_z)]
    scores = torch.stack([nn.functional.cosine_similarity(a, b, dim=-1) for a, b in pairs], -1) / temperature
    return (torch.logsumexp(scores, -1) - scores[..., 0]).mean()


def patches_of(images: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 3) uint8 -> (B, 64, 192) in [-1, 1] at 64 x 64 px."""
    small = images.float().view(len(images), PAINT_PX, 2, PAINT_PX, 2, 3).mean((2, 4)) / 127.5 - 1
    return small.view(-1, GRID, PATCH_PX, GRID, PATCH_PX, 3).transpose(2, 3).reshape(-1, TOKENS, PATCH_DIM)


def foreground(first: torch.Tensor, later: torch.Tensor, gain: float) -> torch.Tensor:
    """Weight per pixel, one where nothing changes; mean one per image."""
    b = len(first)
    change = (later - first).view(b, TOKENS, -1, 3).abs().mean(-1, keepdim=True)
    weights = (1 + gain * (change / 0.5).clamp(max=1)).expand(-1, -1, -1, 3).reshape(b, TOKENS, PATCH_DIM)
    return weights / weights.mean((1, 2), keepdim=True)


@dataclass(frozen=True)
class MotionData:
    """Front-camera frames of robot episodes, then clips, with their frozen tokens."""

    images: np.ndarray
    """(N, h, w, 3) uint8"""
    tokens: np.ndarray
    """(copies, N, 64, 128) float16; one augmentation per group and copy."""
    groups: np.ndarray
    """(N,) episode or clip a frame belongs to, ascending."""
    robot: int
    """Frames below this index belong to robot episodes."""
    rate_hz: float

    def starts(self, gap: int) -> np.ndarray:
        """Frames that have a partner `gap` frames later in the same group; no clamped pairs."""
        last = np.searchsorted(self.groups, self.groups, side="right")
        return np.flatnonzero(np.arange(len(self.groups)) + gap < last)


class MotionTraining(nn.Module):
    """The model with its loss over random pairs."""

    def __init__(self, config: MotionConfig, data: MotionData):
        super().__init__()
        self.net, self.config, self.data = MotionNet(config), config, data
        self.gap, self.jitter = round(config.gap_s * data.rate_hz), round(config.jitter_s * data.rate_hz)
        starts = data.starts(self.gap + self.jitter)
        parts = [
            (starts[starts < data.robot], 1 - config.video_share),
            (starts[starts >= data.robot], config.video_share),
        ]
        self.parts = [(rows, share) for rows, share in parts if len(rows)]
        if not self.parts:
            raise ComoError(f"no clip is longer than {self.gap + self.jitter} frames, the gap asked for")
        self.patches = torch.cat([patches_of(torch.from_numpy(part)) for part in _pieces(data.images)]).half()

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        config, rows = self.config, self._draw(generator)
        copy = int(torch.randint(0, len(self.data.tokens), (1,), generator=generator))
        shift = torch.randint(-self.jitter, self.jitter + 1, (len(rows),), generator=generator).numpy()
        first, later, near = (
            torch.from_numpy(self.data.tokens[copy][i]).float()
            for i in (rows, rows + self.gap, rows + self.gap + shift)
        )
        before, after = self.patches[rows].float(), self.patches[rows + self.gap].float()
        with torch.autocast("cpu", torch.bfloat16):
            heads = torch.cat([first, first, later])
            moves = torch.cat([difference(first, later), difference(first, near), difference(later, first)])
            z, jittered, backwards = self.net.encode(heads, moves).float().chunk(3)
            painted = self.net.decode(before, z).float()
        loss = ((painted - after).square() * foreground(before, after, config.foreground_gain)).mean()
        return loss + config.contrast_weight * contrast(z, jittered, backwards, config.temperature)

    def _draw(self, generator: torch.Generator) -> np.ndarray:
        batch, total = self.config.schedule.batch, sum(share for _, share in self.parts)
        counts = [round(batch * share / total) for _, share in self.parts]
        counts[0] = batch - sum(counts[1:])
        draws = zip(self.parts, counts, strict=True)
        return np.concatenate(
            [rows[torch.randint(0, len(rows), (n,), generator=generator).numpy()] for (rows, _), n in draws]
        )


def _pieces(images: np.ndarray, size: int = 512) -> list[np.ndarray]:
    return [images[i : i + size] for i in range(0, len(images), size)]


def train_on(
    data: MotionData, out: Path, config: MotionConfig, contract: Contract, encoder_sha256: str, source: dict
) -> Fit:
    """Train and write the model to `out`."""
    torch.manual_seed(config.seed)
    model = MotionTraining(config, data)
    result = fit(
        model,
        model.loss,
        config.schedule,
        label=KIND,
        resume=out / RESUME,
        seed=config.seed,
        identity=identity_of(config, encoder=encoder_sha256, **source),
    )
    inside = {k.removeprefix("net."): v for k, v in result.weights.items()}
    extra = {"encoder": encoder_sha256, "source": source, "loss": result.final_loss}
    artefact.save(out, KIND, inside, config, contract, **extra)
    return result


def load(folder: Path, contract: Contract | None = None) -> tuple[MotionNet, MotionConfig, artefact.Artefact]:
    found = artefact.load(folder, KIND, contract)
    config = artefact.config_from(MotionConfig, found.config)
    net = MotionNet(config)
    net.load_state_dict(found.weights)
    return net.eval().requires_grad_(False), config, found

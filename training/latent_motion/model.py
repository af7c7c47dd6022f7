"""Training, saving and loading of a latent-motion model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.spaces import Contract
from training.latent_motion.baselines import canonical_directions
from training.latent_motion.config import MotionConfig
from training.latent_motion.data import AXES, MotionData, images_of
from training.latent_motion.losses import (
    agreement,
    contrast,
    diversity,
    foreground_weights,
    is_foreground,
    known_error,
    masked_error,
    perceived_error,
)
from training.latent_motion.net import CanonicalReader, Motion, MotionNet, View
from training.optimize import RESUME, Fit, fit, identity_of

KIND = "motion"


@dataclass(frozen=True)
class Batch:
    """Pairs of frames: rows of the data under one augmentation, and how far the later frame jitters."""

    rows: np.ndarray
    copy: int
    shift: np.ndarray
    first: View
    later: View


class MotionTraining(nn.Module):
    """The model with its loss over random pairs; `encoder` is the frozen one, to judge what is painted."""

    def __init__(self, config: MotionConfig, data: MotionData, encoder: nn.Module | None = None):
        super().__init__()
        self.net, self.config, self.data, self.encoder = MotionNet(config), config, data, encoder
        self.gap, self.jitter = round(config.gap_s * data.rate_hz), round(config.jitter_s * data.rate_hz)
        starts = data.starts(self.gap + self.jitter)
        parts = [
            (starts[starts < data.robot], 1 - config.video_share),
            (starts[starts >= data.robot], config.video_share),
        ]
        self.parts = [(rows, share) for rows, share in parts if len(rows)]
        if not self.parts:
            raise ComoError(f"no clip is longer than {self.gap + self.jitter} frames, the gap asked for")
        if config.masks != "none" and data.coverage is None:
            raise ComoError(f"masks are {config.masks!r}, but the data came without; see training/masks.py")
        if config.perceptual_weight and encoder is None:
            raise ComoError(f"perceptual_weight {config.perceptual_weight} needs the frozen encoder")
        self.labels = action_labels(data, self.gap, config) if config.action_label_fraction else None
        self.head = nn.Linear(config.dim, len(AXES)) if self.labels is not None else None

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        batch = self._draw(generator)
        pairs = self._readings(batch)
        with torch.autocast("cpu", torch.bfloat16):
            every = self.net.encode(*(views[0].cat(*views[1:]) for views in zip(*pairs, strict=True)))
            motion = every.head(len(batch.rows))
            loss = self._painting(batch, motion) + self._shaping(motion)
        return loss + self._bonds(batch, *every.z.float().chunk(len(pairs)))

    def _draw(self, generator: torch.Generator) -> Batch:
        size, total = self.config.schedule.batch, sum(share for _, share in self.parts)
        counts = [round(size * share / total) for _, share in self.parts]
        counts[0] = size - sum(counts[1:])
        draws = zip(self.parts, counts, strict=True)
        rows = np.concatenate(
            [rows[torch.randint(0, len(rows), (n,), generator=generator).numpy()] for (rows, _), n in draws]
        )
        copy = int(torch.randint(0, len(self.data.tokens), (1,), generator=generator))
        shift = torch.randint(-self.jitter, self.jitter + 1, (size,), generator=generator).numpy()
        later = self.data.view(rows + self.gap, copy)
        return Batch(rows, copy, shift, self.data.view(rows, copy), later)

    def _readings(self, batch: Batch) -> list[tuple[View, View]]:
        """The pairs themselves, then what their motions are held against."""
        pairs, near = [(batch.first, batch.later)], batch.rows + self.gap + batch.shift
        if self.config.contrastive:
            pairs += [(batch.first, self.data.view(near, batch.copy)), (batch.later, batch.first)]
        if self.config.agreement_weight:
            other = (batch.copy + 1) % len(self.data.tokens)
            pairs += [(self.data.view(batch.rows, other), self.data.view(near, other))]
        return pairs

    def _bonds(self, batch: Batch, z: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """What ties motions to each other and, where there are labels, to actions."""
        config, loss = self.config, z.new_zeros(())
        if config.contrastive:
            loss = loss + config.contrast_weight * contrast(z, others[0], others[1], config.temperature)
        if config.agreement_weight:
            loss = loss + config.agreement_weight * agreement(z, others[-1])
        if self.head is not None and self.labels is not None:
            loss = loss + config.action_weight * known_error(self.head(z), self.labels[batch.rows])
        return loss

    def _shaping(self, motion: Motion) -> torch.Tensor:
        """What keeps the bottleneck in use."""
        weight = self.config.diversity_weight
        return motion.loss + weight * diversity(motion.z.float()) if weight else motion.loss

    def _painting(self, batch: Batch, motion: Motion) -> torch.Tensor:
        config, first, later = self.config, batch.first, batch.later
        wanted, painted = self.net.canvas(later), self.net.decode(first, motion).float()
        errors = (painted - wanted).square()
        if gain := config.foreground_gain:
            errors = errors * foreground_weights(first.patches, later.patches, gain)
        loss = errors.mean()
        if config.perceptual_weight and self.encoder is not None:
            images = images_of(painted, config), images_of(wanted, config)
            loss = loss + config.perceptual_weight * perceived_error(self.encoder, *images)
        if config.masks != "none" and self.data.coverage is not None:
            covered = torch.from_numpy(self.data.coverage[batch.copy][batch.rows + self.gap])
            actor = is_foreground(covered, config.coverage)
            loss = loss + parted_error(self.net, first, wanted, motion, actor)
        return loss


def action_labels(data: MotionData, gap: int, config: MotionConfig) -> torch.Tensor:
    """(N, 4): how each frame's end effector and hand move over the gap, in each axis' spread.

    NaN where that is not known: clips, ends of episodes, and the episodes beyond the labelled share.
    """
    if data.places is None or not len(data.places):
        raise ComoError(f"action_label_fraction {config.action_label_fraction} needs robot episodes")
    groups = np.unique(data.groups[: data.robot])
    count = max(1, round(config.action_label_fraction * len(groups)))
    told = np.random.default_rng(config.seed).permutation(groups)[:count]
    starts = data.starts(gap)
    starts = starts[(starts < data.robot) & np.isin(data.groups[starts], told)]
    moved = data.places[starts + gap] - data.places[starts]
    labels = np.full((len(data.groups), data.places.shape[1]), np.nan, np.float32)
    labels[starts] = (moved - moved.mean(0)) / (moved.std(0) + 1e-6)
    return torch.from_numpy(labels)


def parted_error(
    net: MotionNet, first: View, wanted: torch.Tensor, motion: Motion, actor: torch.Tensor
) -> torch.Tensor:
    """The action code alone must paint the actor, the background code alone the rest."""
    acted = net.decode(first, motion, (True, False)).float()
    stayed = net.decode(first, motion, (False, True)).float()
    return masked_error(acted, wanted, actor) + masked_error(stayed, wanted, ~actor)


def train_on(
    data: MotionData,
    out: Path,
    config: MotionConfig,
    contract: Contract,
    encoder_sha256: str,
    source: dict,
    encoder: nn.Module | None = None,
) -> Fit:
    """Train and write the model to `out`."""
    torch.manual_seed(config.seed)
    model = MotionTraining(config, data, encoder)
    if isinstance(model.net.reader, CanonicalReader):
        model.net.reader.solve(*canonical_directions(data, config))
    result = fit(
        model,
        model.loss,
        config.schedule,
        label=KIND,
        resume=out / RESUME,
        seed=config.seed,
        identity=identity_of(config, encoder=encoder_sha256, **source),
    )
    trained = {k.removeprefix("net."): v for k, v in result.weights.items() if k.startswith("net.")}
    inside = model.net.state_dict() | trained
    extra = {"encoder": encoder_sha256, "source": source, "loss": result.final_loss, "curve": result.curve()}
    artefact.save(out, KIND, inside, config, contract, **extra)
    return result


def load(folder: Path, contract: Contract | None = None) -> tuple[MotionNet, artefact.Artefact]:
    found = artefact.load(folder, KIND, contract)
    net = MotionNet(artefact.config_from(MotionConfig, found.config))
    net.load_state_dict(found.weights)
    return net.eval().requires_grad_(False), found

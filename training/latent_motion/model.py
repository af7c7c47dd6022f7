"""Training, saving and loading of a latent-motion model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.spaces import Contract
from training.latent_motion.config import MotionConfig
from training.latent_motion.data import MotionData
from training.latent_motion.losses import contrast, diversity, foreground_weights, is_foreground, masked_error
from training.latent_motion.net import Motion, MotionNet, View
from training.optimize import RESUME, Fit, fit, identity_of

KIND = "motion"


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
        if config.masks != "none" and data.coverage is None:
            raise ComoError(f"masks are {config.masks!r}, but the data came without; see training/masks.py")

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        config, rows = self.config, self._draw(generator)
        copy = int(torch.randint(0, len(self.data.tokens), (1,), generator=generator))
        first, later = self.data.view(rows, copy), self.data.view(rows + self.gap, copy)
        with torch.autocast("cpu", torch.bfloat16):
            if not config.contrastive:
                motion = self.net.encode(first, later)
                return self._painting(first, later, motion, rows, copy) + self._shaping(motion)
            shift = torch.randint(-self.jitter, self.jitter + 1, (len(rows),), generator=generator).numpy()
            near = self.data.view(rows + self.gap + shift, copy)
            every = self.net.encode(first.cat(first, later), later.cat(near, first))
            motion = every.head(len(rows))
            painting = self._painting(first, later, motion, rows, copy) + self._shaping(motion)
        z, jittered, backwards = every.z.float().chunk(3)
        return painting + config.contrast_weight * contrast(z, jittered, backwards, config.temperature)

    def _shaping(self, motion: Motion) -> torch.Tensor:
        """What keeps the bottleneck in use."""
        weight = self.config.diversity_weight
        return motion.loss + weight * diversity(motion.z.float()) if weight else motion.loss

    def _painting(
        self, first: View, later: View, motion: Motion, rows: np.ndarray, copy: int
    ) -> torch.Tensor:
        wanted, painted = self.net.canvas(later), self.net.decode(first, motion).float()
        errors = (painted - wanted).square()
        if gain := self.config.foreground_gain:
            errors = errors * foreground_weights(first.patches, later.patches, gain)
        if self.config.masks == "none" or self.data.coverage is None:
            return errors.mean()
        covered = torch.from_numpy(self.data.coverage[copy][rows + self.gap])
        actor = is_foreground(covered, self.config.coverage)
        return errors.mean() + parted_error(self.net, first, wanted, motion, actor)

    def _draw(self, generator: torch.Generator) -> np.ndarray:
        batch, total = self.config.schedule.batch, sum(share for _, share in self.parts)
        counts = [round(batch * share / total) for _, share in self.parts]
        counts[0] = batch - sum(counts[1:])
        draws = zip(self.parts, counts, strict=True)
        return np.concatenate(
            [rows[torch.randint(0, len(rows), (n,), generator=generator).numpy()] for (rows, _), n in draws]
        )


def parted_error(
    net: MotionNet, first: View, wanted: torch.Tensor, motion: Motion, actor: torch.Tensor
) -> torch.Tensor:
    """The action code alone must paint the actor, the background code alone the rest."""
    acted = net.decode(first, motion, (True, False)).float()
    stayed = net.decode(first, motion, (False, True)).float()
    return masked_error(acted, wanted, actor) + masked_error(stayed, wanted, ~actor)


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


def load(folder: Path, contract: Contract | None = None) -> tuple[MotionNet, artefact.Artefact]:
    found = artefact.load(folder, KIND, contract)
    net = MotionNet(artefact.config_from(MotionConfig, found.config))
    net.load_state_dict(found.weights)
    return net.eval().requires_grad_(False), found

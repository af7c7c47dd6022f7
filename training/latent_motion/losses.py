"""What a latent-motion model is trained for."""

from __future__ import annotations

import torch
from torch import nn


def contrast(
    z: torch.Tensor, jittered: torch.Tensor, reversed_z: torch.Tensor, temperature: float
) -> torch.Tensor:
    """InfoNCE over one positive and the sample's own time reversal; log 3 when all three agree."""
    pairs = [(jittered, z), (jittered, reversed_z), (z, reversed_z)]
    scores = torch.stack([nn.functional.cosine_similarity(a, b, dim=-1) for a, b in pairs], -1) / temperature
    return (torch.logsumexp(scores, -1) - scores[..., 0]).mean()


def diversity(z: torch.Tensor) -> torch.Tensor:
    """Zero when all numbers of (B, D) vary by one and none repeats another (VICReg's two terms)."""
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    deviation = (covariance.diagonal() + 1e-4).sqrt()
    repeated = (covariance - covariance.diagonal().diag()).square().sum() / z.shape[1]
    return (1 - deviation).clamp(min=0).mean() + 0.04 * repeated


def agreement(z: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
    """Zero when two readings of the same motion agree and neither collapses (VICReg)."""
    return nn.functional.mse_loss(z, again) + diversity(z) + diversity(again)


def perceived_error(encoder: nn.Module, painted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Between two batches of images (B, h, w, 3) as a frozen encoder sees them; lets the gradient through."""
    with torch.no_grad():
        seen = encoder(wanted).float()
    return nn.functional.mse_loss(encoder(painted).float(), seen)


def foreground_weights(first: torch.Tensor, later: torch.Tensor, gain: float) -> torch.Tensor:
    """(B, P, D) pixels -> weights, one where nothing changes; mean one per image."""
    b, p, d = first.shape
    change = (later - first).view(b, p, d // 3, 3).abs().mean(-1, keepdim=True)
    weights = (1 + gain * (change / 0.5).clamp(max=1)).expand(-1, -1, -1, 3).reshape(b, p, d)
    return weights / weights.mean((1, 2), keepdim=True)


def known_error(guess: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the numbers that are not NaN; zero where none is known."""
    known = ~torch.isnan(wanted)
    return torch.where(known, guess - wanted.nan_to_num(), 0).square().sum() / known.sum().clamp(min=1)


def masked_error(painted: torch.Tensor, wanted: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the patches of a (B, P) region; zero where the region is empty."""
    errors = (painted - wanted).square().mean(-1)
    return torch.where(region, errors, 0).sum() / region.sum().clamp(min=1)


def is_foreground(coverage: torch.Tensor, threshold: float) -> torch.Tensor:
    """(B, P) share of each patch that is masked -> bool."""
    return coverage > threshold

"""Random shift and colour jitter of uint8 images; the draws come from the caller's generator."""

from __future__ import annotations

import torch


def random_shift(images: torch.Tensor, max_px: int, generator: torch.Generator) -> torch.Tensor:
    """(B, h, w, c): move each image by up to `max_px` in both directions, repeating the edge."""
    if max_px == 0:
        return images
    b, h, w = images.shape[:3]
    offsets = torch.randint(-max_px, max_px + 1, (b, 2), generator=generator)
    rows = (torch.arange(h)[None] + offsets[:, :1]).clamp(0, h - 1)
    columns = (torch.arange(w)[None] + offsets[:, 1:]).clamp(0, w - 1)
    return images[torch.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]]


def colour_jitter(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """(B, h, w, 3) uint8: brightness, contrast and a gain per channel, each up to `strength`."""
    if strength == 0:
        return images
    b = len(images)
    draws = (torch.rand(b, 5, 1, 1, generator=generator) * 2 - 1) * strength
    contrast, brightness = 1 + draws[:, 0, :, :, None], draws[:, 1, :, :, None] * 64
    gains = 1 + 0.5 * draws[:, 2:5].permute(0, 2, 3, 1)
    out = ((images.float() - 127.5) * contrast + 127.5 + brightness) * gains
    return out.clamp_(0, 255).round_().to(torch.uint8)

"""Attention written out: on this project's CPUs the backward pass of the fused kernel is the slow part."""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):
    """Multi-head attention of `x` over `context` (over itself when none is given)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, N, C) -> keys (B, heads, c, N) and values (B, heads, N, c); the same for every query."""
        keys, values = self.key_value(context).chunk(2, -1)
        split = (self.heads, keys.shape[-1] // self.heads)
        return keys.unflatten(-1, split).permute(0, 2, 3, 1), values.unflatten(-1, split).transpose(1, 2)

    def attend(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        weights = (query @ keys * (keys.shape[-2] ** -0.5)).softmax(-1)
        return self.out((weights @ values).transpose(1, 2).flatten(2))

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return self.attend(x, *self.keys_values(x if context is None else context))


def feed_forward(width: int, factor: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, factor * width), nn.GELU(), nn.Linear(factor * width, width))


class Block(nn.Module):
    """Pre-norm self-attention, cross-attention where a context is given, feed-forward."""

    def __init__(self, width: int, heads: int, cross: bool = False, feed_factor: int = 2):
        super().__init__()
        self.norm_self, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm_cross = nn.LayerNorm(width) if cross else None
        self.cross = Attention(width, heads) if cross else None
        self.norm_forward, self.forward_part = nn.LayerNorm(width), feed_forward(width, feed_factor)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        x = x + self.attention(self.norm_self(x))
        if self.cross is not None and self.norm_cross is not None:
            x = x + self.cross(self.norm_cross(x), context)
        return x + self.forward_part(self.norm_forward(x))


def embedding(*shape: int) -> nn.Parameter:
    """A learned embedding table that starts small."""
    return nn.Parameter(torch.randn(*shape) * 0.02)

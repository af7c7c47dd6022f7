"""The lab's visual encoder: a small convolutional network, the same weights for every camera.

It is trained once (`training/encoder.py`) and frozen; policies and motion models read its tokens.
One token covers 16 x 16 pixels of a 128 x 128 image, so that a 10-pixel cube is not averaged away.
"""

from __future__ import annotations

import torch
from torch import nn

IMAGE_PX = 128
GRID = 8
TOKENS = GRID * GRID
WIDTH = 128
GROUPS = 8


class ResidualConv(nn.Module):
    """Two 3x3 convolutions around an identity path."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class LabEncoder(nn.Module):
    """(B, 128, 128, 3) uint8 RGB -> (B, 64, 128) tokens in row-major order of the 8 x 8 grid."""

    def __init__(self, blocks: int = 2):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 48, 4, stride=4),
            nn.GroupNorm(GROUPS, 48),
            nn.GELU(),
            nn.Conv2d(48, 96, 3, stride=2, padding=1),
            nn.GroupNorm(GROUPS, 96),
            nn.GELU(),
            nn.Conv2d(96, 96, 3, padding=1),
            nn.GroupNorm(GROUPS, 96),
            nn.GELU(),
            nn.Conv2d(96, WIDTH, 3, stride=2, padding=1),
        )
        self.blocks = nn.Sequential(*[ResidualConv(WIDTH) for _ in range(blocks)])
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.float().permute(0, 3, 1, 2) / 127.5 - 1.0
        x = self.blocks(self.stem(x))
        return self.norm(x.flatten(2).transpose(1, 2))

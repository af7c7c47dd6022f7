"""What a motion must fit through: a few continuous numbers, or words of small books."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from training.latent_motion.config import MotionConfig


class Squeezed(NamedTuple):
    """The answer of one group of queries."""

    slots: torch.Tensor
    """(B, K, D) what the decoder gets."""
    words: torch.Tensor | None
    """(B, K) indices into the book."""
    loss: torch.Tensor
    """What keeps book and encoder together; zero without a book."""


class Continuous(nn.Module):
    """Linear, Tanh, Linear."""

    def __init__(self, config: MotionConfig):
        super().__init__()
        self.narrow = narrowing(config.width, config.code_dim)

    def forward(self, x: torch.Tensor) -> Squeezed:
        slots = self.narrow(x).float()
        return Squeezed(slots, None, slots.new_zeros(()))


class Book(nn.Module):
    """Vector quantisation: the nearest word, a straight-through gradient, dead words started anew."""

    idle: torch.Tensor
    """(C,) steps since each word was last used."""

    def __init__(self, config: MotionConfig):
        super().__init__()
        self.narrow = narrowing(config.width, config.code_dim)
        self.commitment, self.restart_after = config.commitment, config.restart_after
        self.words = nn.Parameter((torch.rand(config.codes, config.code_dim) * 2 - 1) / config.codes)
        self.register_buffer("idle", torch.zeros(config.codes, dtype=torch.long), persistent=False)

    def forward(self, x: torch.Tensor) -> Squeezed:
        asked = self.narrow(x).float()
        words = (
            torch.cdist(asked.detach().flatten(0, 1), self.words.detach()).argmin(-1).view(asked.shape[:2])
        )
        found = self.words[words]
        loss = (found - asked.detach()).square().mean()
        loss = loss + self.commitment * (asked - found.detach()).square().mean()
        if self.training:
            self._count(words, asked.detach())
        return Squeezed(asked + (found - asked).detach(), words, loss)

    def _count(self, words: torch.Tensor, asked: torch.Tensor) -> None:
        """Words that nobody chose for long become what was just asked for."""
        used = torch.bincount(words.flatten(), minlength=len(self.idle)) > 0
        self.idle[:] = torch.where(used, 0, self.idle + 1)
        dead = torch.nonzero(self.idle > self.restart_after).flatten()
        if len(dead):
            picks = torch.randint(0, words.numel(), (len(dead),))
            self.words.data[dead] = asked.flatten(0, 1)[picks]
            self.idle[dead] = 0


def narrowing(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, out))


def bottlenecks(config: MotionConfig) -> nn.ModuleList:
    """One for the motion; with two books a second one for the background."""
    if config.bottleneck == "continuous":
        return nn.ModuleList([Continuous(config)])
    return nn.ModuleList([Book(config) for _ in range(2 if config.bottleneck == "dual_vq" else 1)])

"""The network: two frames in, a motion through the bottleneck, the later frame painted from the first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from policies.nets.attention import Attention, Block, embedding, feed_forward
from training.latent_motion.bottleneck import bottlenecks
from training.latent_motion.config import MotionConfig

POOLED = 4
"""Tokens in a pool of 2 x 2."""
ACTION, BACKGROUND = 0, 1
"""Which bottleneck says what."""


@dataclass(frozen=True)
class View:
    """A batch of frames as the model sees them."""

    tokens: torch.Tensor
    """(B, N, C) of the frozen encoder"""
    patches: torch.Tensor
    """(B, P, D) pixels in [-1, 1]"""

    def cat(self, *others: View) -> View:
        every = (self, *others)
        return View(torch.cat([v.tokens for v in every]), torch.cat([v.patches for v in every]))


@dataclass(frozen=True)
class Motion:
    """What was read from a batch of pairs."""

    slots: tuple[torch.Tensor, ...]
    """(B, K, D) of the action and, with two books, of the background."""
    words: tuple[torch.Tensor, ...]
    """(B, K) for each book."""
    loss: torch.Tensor

    @property
    def z(self) -> torch.Tensor:
        """(B, K * D): the motion itself, without the background."""
        return self.slots[ACTION].flatten(1)

    def head(self, count: int) -> Motion:
        """The motions of the first `count` pairs."""
        return Motion(tuple(s[:count] for s in self.slots), tuple(w[:count] for w in self.words), self.loss)


def difference(first: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """The early temporal difference."""
    return later - first


def seen(kind: str, first: View, later: View) -> list[torch.Tensor]:
    """What the reader is shown of a pair: one or two (B, N, C)."""
    if kind == "future":
        return [later.tokens]
    if kind == "difference_alone":
        return [difference(first.tokens, later.tokens)]
    if kind == "pair":
        return [first.tokens, later.tokens]
    if kind == "rgb_difference":
        return [first.tokens, difference(first.patches, later.patches)]
    return [first.tokens, difference(first.tokens, later.tokens)]


class CrossReader(nn.Module):
    """Queries attend to the joined tokens of what is seen."""

    def __init__(self, config: MotionConfig, widths: list[int], queries: int):
        super().__init__()
        self.tokens = nn.Linear(sum(widths), config.width)
        self.place = embedding(config.tokens, config.width)
        self.queries = embedding(queries, config.width)
        if config.query_range:
            nn.init.uniform_(self.queries, -config.query_range, config.query_range)
        self.blocks = nn.ModuleList(
            [Block(config.width, config.heads, True, config.feed_factor) for _ in range(config.blocks)]
        )

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        context = self.tokens(torch.cat(parts, -1)) + self.place
        x = self.queries.expand(len(context), -1, -1)
        for block in self.blocks:
            x = block(x, context)
        return x


class JointReader(nn.Module):
    """One self-attending sequence of queries, first frame, separator, second part; the queries are kept."""

    def __init__(self, config: MotionConfig, widths: list[int], queries: int):
        super().__init__()
        self.count = queries
        self.queries = nn.Parameter(torch.empty(queries, config.width).uniform_(-1, 1))
        self.parts = nn.ModuleDict(
            {str(width): nn.Linear(width, config.width) for width in sorted(set(widths))}
        )
        self.separator = embedding(1, config.width)
        length = queries + len(widths) * config.tokens + len(widths) - 1
        self.place, self.kind = embedding(length, config.width), embedding(len(widths), config.width)
        self.blocks = nn.ModuleList(
            [Block(config.width, config.heads, False, config.feed_factor) for _ in range(config.blocks)]
        )

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        b = len(parts[0])
        row = [self.queries.expand(b, -1, -1)]
        for index, part in enumerate(parts):
            row += [self.separator.expand(b, -1, -1)] if index else []
            row += [self.parts[str(part.shape[-1])](part) + self.kind[index]]
        x = torch.cat(row, 1) + self.place
        for block in self.blocks:
            x = block(x)
        return x[:, : self.count]


class SpaceTimeBlock(nn.Module):
    """Attention within each frame, then of each place to its past, then feed-forward."""

    def __init__(self, config: MotionConfig):
        super().__init__()
        width = config.width
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.space, self.time = Attention(width, config.heads), Attention(width, config.heads)
        self.forward_part = feed_forward(width, config.feed_factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 2, N, C), causal in time."""
        b, t, n, c = x.shape
        x = x + self.space(self.norms[0](x).view(b * t, n, c)).view(b, t, n, c)
        y = self.norms[1](x).transpose(1, 2).reshape(b * n, t, c)
        steps = [self.time(y[:, i : i + 1], y[:, : i + 1]) for i in range(t)]
        x = x + torch.cat(steps, 1).view(b, n, t, c).transpose(1, 2)
        return x + self.forward_part(self.norms[2](x))


class SpaceTimeReader(nn.Module):
    """The same queries stand in both frames; those of the second are kept."""

    def __init__(self, config: MotionConfig, widths: list[int], queries: int):
        super().__init__()
        self.count = queries
        self.queries = nn.Parameter(torch.empty(queries, config.width).uniform_(-1, 1))
        self.parts = nn.ModuleDict({str(width): _stem(width, config.width) for width in sorted(set(widths))})
        self.place = embedding(queries + config.tokens, config.width)
        self.blocks = nn.ModuleList([SpaceTimeBlock(config) for _ in range(config.blocks)])

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        queries = self.queries.expand(len(parts[0]), -1, -1)
        frames = [torch.cat([queries, self.parts[str(p.shape[-1])](p)], 1) + self.place for p in parts]
        x = torch.stack(frames, 1)
        for block in self.blocks:
            x = block(x)
        return x[:, -1, : self.count]


def _stem(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out), nn.LayerNorm(out))


class CanonicalReader(nn.Module):
    """Directions of the pooled differences that stay under other views; solved for, not trained by steps."""

    def __init__(self, config: MotionConfig, widths: list[int], queries: int):
        super().__init__()
        self.shape, numbers = (queries, config.code_dim), config.tokens // POOLED * widths[-1]
        self.centre = nn.Parameter(torch.zeros(numbers), requires_grad=False)
        self.directions = nn.Parameter(torch.zeros(numbers, config.dim), requires_grad=False)

    def solve(self, centre: torch.Tensor, directions: torch.Tensor) -> None:
        self.centre.copy_(centre)
        self.directions.copy_(directions)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        with torch.autocast(parts[-1].device.type, enabled=False):
            return ((pooled(parts[-1].float()) - self.centre) @ self.directions).unflatten(1, self.shape)


def pooled(moved: torch.Tensor) -> torch.Tensor:
    """(N, tokens, width) averaged over 2 x 2 tokens, in a row."""
    side = round(moved.shape[1] ** 0.5)
    grid = moved.unflatten(1, (side // 2, 2, side // 2, 2))
    return grid.mean((2, 4)).flatten(1)


READERS = {
    "cross": CrossReader,
    "joint": JointReader,
    "spacetime": SpaceTimeReader,
    "canonical": CanonicalReader,
}


class Painter(nn.Module):
    """The first frame and the motion's slots -> the later frame, in pixels or in features."""

    def __init__(self, config: MotionConfig, groups: int):
        super().__init__()
        pixels, width = config.target == "pixels", config.width
        self.residual, self.fusion = config.residual, config.fusion
        canvas, places = (config.patch_dim, config.patches) if pixels else (config.token_dim, config.tokens)
        slots = groups * config.queries
        self.widen = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Linear(config.code_dim, config.code_dim), nn.Tanh(), nn.Linear(config.code_dim, width)
                )
                for _ in range(groups)
            ]
        )
        self.pool = nn.Linear(slots * width, width) if self.fusion == "add" else None
        self.canvas = nn.Linear(canvas, width)
        self.place = embedding(places if self.pool else places + slots, width)
        self.blocks = nn.ModuleList(
            [Block(width, config.heads, False, config.feed_factor) for _ in range(config.decoder_blocks)]
        )
        self.paint = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, canvas))

    def forward(
        self, canvas: torch.Tensor, slots: tuple[torch.Tensor, ...], use: tuple[bool, ...]
    ) -> torch.Tensor:
        """A group of slots that is not used counts as zeros, whatever it holds."""
        parts = [
            widen(part) if kept else part.new_zeros(*part.shape[:2], self.canvas.out_features)
            for widen, part, kept in zip(self.widen, slots, use, strict=True)
        ]
        motion, x = torch.cat(parts, 1), self.canvas(canvas)
        x = (
            x + self.pool(motion.flatten(1)).unsqueeze(1)
            if self.pool
            else torch.cat([motion.to(x.dtype), x], 1)
        )
        x = x + self.place
        for block in self.blocks:
            x = block(x)
        painted = self.paint(x[:, -canvas.shape[1] :])
        return canvas + painted if self.residual else painted


class MotionNet(nn.Module):
    """Reader, bottlenecks and painter of one config."""

    def __init__(self, config: MotionConfig):
        super().__init__()
        self.config = config
        solved = config.reader == "canonical"
        self.bottlenecks = nn.ModuleList() if solved else bottlenecks(config)
        groups = max(len(self.bottlenecks), 1)
        token, second = config.token_dim, config.token_dim
        if config.input == "rgb_difference":
            second = config.patch_dim
        alone = config.input in ("future", "difference_alone")
        widths = [token] if alone else [token, second]
        self.reader = READERS[config.reader](config, widths, groups * config.queries)
        self.norm = nn.Identity() if solved else nn.LayerNorm(config.width)
        self.painter = Painter(config, groups)

    def encode(self, first: View, later: View) -> Motion:
        return self.read(seen(self.config.input, first, later))

    def read(self, parts: list[torch.Tensor]) -> Motion:
        if not self.bottlenecks:
            slots = self.reader(parts)
            return Motion((slots,), (), slots.new_zeros(()))
        answers = self.norm(self.reader(parts)).chunk(len(self.bottlenecks), 1)
        squeezed = [narrow(answer) for narrow, answer in zip(self.bottlenecks, answers, strict=True)]
        return Motion(
            tuple(s.slots for s in squeezed),
            tuple(s.words for s in squeezed if s.words is not None),
            torch.stack([s.loss for s in squeezed]).sum(),
        )

    def canvas(self, view: View) -> torch.Tensor:
        """What of a frame is painted: its pixels, or its tokens without scale."""
        if self.config.target == "pixels":
            return view.patches
        return nn.functional.layer_norm(view.tokens, view.tokens.shape[-1:])

    def decode(self, first: View, motion: Motion, use: tuple[bool, ...] | None = None) -> torch.Tensor:
        """The later frame's canvas; `use` says which of the slot groups speak, all by default."""
        kept = use or (True,) * len(motion.slots)
        return self.painter(self.canvas(first), motion.slots, kept)

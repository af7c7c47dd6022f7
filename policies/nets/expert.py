"""The action expert: flow matching over a chunk, one trunk with a robot head and a latent-motion head.

Convention: time 0 is noise, 1 is data, the network predicts data minus noise. Each token carries its
own time, so that actions already committed stand in the chunk as clean tokens at time 1.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn

from policies.nets.attention import Attention, embedding, feed_forward
from policies.nets.encoder import TOKENS, WIDTH
from policies.spaces import ACTION_DIM, INTENT_TOKENS, MOTION_DIM, STATE_DIM

ROBOT, MOTION = "robot", "motion"
DIMS = {ROBOT: ACTION_DIM, MOTION: MOTION_DIM}
TIME_FREQUENCIES = 32

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


class ExpertBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each shifted, scaled and gated by the flow's time."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width, elementwise_affine=False) for _ in range(3)])
        self.own = Attention(width, heads)
        self.cross = Attention(width, heads)
        self.forward_part = feed_forward(width)
        self.modulation = nn.Parameter(torch.zeros(9, width))

    def keys_values(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.cross.keys_values(context)

    def forward(
        self, x: torch.Tensor, shared: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """x (B, D, H, C): D draws an observation; shared (B, D, 9, C); keys and values per observation."""
        b, d, h, c = x.shape
        m = (shared + self.modulation).unsqueeze(3).unbind(2)
        y = (self.norms[0](x) * (1 + m[0]) + m[1]).reshape(b * d, h, c)
        x = x + m[2] * self.own(y).view(b, d, h, c)
        y = (self.norms[1](x) * (1 + m[3]) + m[4]).reshape(b, d * h, c)
        x = x + m[5] * self.cross.attend(y, keys, values).view(b, d, h, c)
        return x + m[8] * self.forward_part(self.norms[2](x) * (1 + m[6]) + m[7])


class ExpertNet(nn.Module):
    """Context tokens once per observation, then velocities for any number of noise draws and times."""

    def __init__(self, horizon: int, width: int = 160, blocks: int = 4, heads: int = 5, cameras: int = 2):
        super().__init__()
        self.horizon = horizon
        self.image = nn.Linear(WIDTH, width)
        self.image_place = embedding(cameras, TOKENS, width)
        self.no_wrist = embedding(1, width)
        self.intent = nn.Linear(WIDTH, width)
        self.intent_place = embedding(INTENT_TOKENS, width)
        self.no_intent = embedding(INTENT_TOKENS, width)
        self.state = nn.Sequential(nn.Linear(STATE_DIM, width), nn.GELU(), nn.Linear(width, width))
        self.no_state = embedding(1, width)
        self.norm_context = nn.LayerNorm(width)
        self.inputs = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in DIMS.items()})
        self.places = nn.ParameterDict({name: embedding(horizon, width) for name in DIMS})
        self.time = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 9 * width)
        self.blocks = nn.ModuleList([ExpertBlock(width, heads) for _ in range(blocks)])
        self.norm_out = nn.LayerNorm(width)
        self.outputs = nn.ModuleDict({name: nn.Linear(width, dim) for name, dim in DIMS.items()})
        self._start_still()

    def _start_still(self) -> None:
        """Gates and outputs begin at zero: an untrained expert predicts no velocity."""
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        for layer in self.outputs.values():
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def context(
        self,
        front: torch.Tensor,
        wrist: torch.Tensor | None,
        intent: torch.Tensor,
        state: torch.Tensor | None,
        keep_intent: torch.Tensor | None = None,
        keep_state: torch.Tensor | None = None,
    ) -> KeysValues:
        """Keys and values of every block; what is missing or not kept (B, 1, 1) is a learned token."""
        b = front.shape[0]
        parts = [self.image(front) + self.image_place[0]]
        if wrist is None:
            parts.append(self.no_wrist.expand(b, -1, -1))
        else:
            parts.append(self.image(wrist) + self.image_place[1])
        aim = self.intent(intent) + self.intent_place
        parts.append(
            aim if keep_intent is None else torch.where(keep_intent, aim, self.no_intent.to(aim.dtype))
        )
        if state is None:
            parts.append(self.no_state.expand(b, -1, -1))
        else:
            here = self.state(state).unsqueeze(1)
            parts.append(
                here if keep_state is None else torch.where(keep_state, here, self.no_state.to(here.dtype))
            )
        tokens = self.norm_context(torch.cat(parts, 1))
        return [cast(ExpertBlock, block).keys_values(tokens) for block in self.blocks]

    def embed_time(self, time: torch.Tensor) -> torch.Tensor:
        """(...,) in [0, 1] -> (..., C)"""
        steps = torch.arange(TIME_FREQUENCIES, dtype=torch.float32) / TIME_FREQUENCIES
        angles = time.unsqueeze(-1) * (torch.exp(steps * math.log(250.0)) * math.tau)
        return self.time(torch.cat([angles.sin(), angles.cos()], -1))

    def velocity(
        self, head: str, x: torch.Tensor, time: torch.Tensor, clean: torch.Tensor, context: KeysValues
    ) -> torch.Tensor:
        """x (B, D, H, dim), time (B, D), clean (B, D, H) true for tokens at time 1 -> (B, D, H, dim)."""
        now, done = self.embed_time(time), self.embed_time(torch.ones_like(time))
        token_time = torch.where(clean.unsqueeze(-1), done.unsqueeze(2), now.unsqueeze(2))
        h = self.inputs[head](x) + self.places[head] + token_time
        shared = self.modulation(nn.functional.silu(now)).unflatten(-1, (9, -1))
        for block, (keys, values) in zip(self.blocks, context, strict=True):
            h = block(h, shared, keys, values)
        return self.outputs[head](self.norm_out(h))


def flow_loss(
    expert: ExpertNet,
    head: str,
    data: torch.Tensor,
    clean: torch.Tensor,
    context: KeysValues,
    weights: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared velocity error over the tokens that are not clean.

    data (B, H, dim) normalised, clean (B, D, H) marks the given prefix, weights broadcasts to (B, 1, H, dim).
    """
    b, draws = clean.shape[:2]
    noise = torch.randn(b, draws, *data.shape[1:], generator=generator)
    time = torch.rand(b, draws, generator=generator)
    target = data.unsqueeze(1)
    mixed = torch.where(clean.unsqueeze(-1), target, torch.lerp(noise, target, time[..., None, None]))
    error = (expert.velocity(head, mixed, time, clean, context) - (target - noise)).float().square()
    mask = (~clean).unsqueeze(-1) * weights
    return (error * mask).sum() / mask.expand_as(error).sum().clamp(min=1e-6)


def draw_prefixes(
    batch: int, draws: int, horizon: int, longest: int, share: float, generator: torch.Generator
) -> torch.Tensor:
    """(B, D, H) true for the first d tokens, d uniform in 0..longest for `share` of the draws, else none."""
    lengths = torch.randint(0, longest + 1, (batch, draws), generator=generator)
    lengths = lengths * (torch.rand(batch, draws, generator=generator) < share)
    return torch.arange(horizon) < lengths.unsqueeze(-1)


def sample(
    expert: ExpertNet,
    noise: torch.Tensor,
    prefix: torch.Tensor,
    clean: torch.Tensor,
    context: KeysValues,
    steps: int,
) -> torch.Tensor:
    """Euler from noise (B, H, A) to actions; tokens marked clean (B, H) stay what `prefix` says."""
    mask = clean.unsqueeze(-1)
    x = torch.where(mask, prefix, noise)
    for step in range(steps):
        time = torch.full((noise.shape[0], 1), step / steps)
        velocity = expert.velocity(ROBOT, x.unsqueeze(1), time, clean.unsqueeze(1), context)[:, 0]
        x = torch.where(mask, prefix, x + velocity / steps)
    return x

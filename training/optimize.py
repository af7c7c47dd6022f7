"""The one training loop: AdamW, cosine with warm-up, running average of the weights, resume.

A stage hands over its module and a function from a random generator to a loss. The generator of
step k is seeded by (seed, k), so that a resumed run draws what an uninterrupted one would have.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from como_ros.errors import ComoError
from como_ros.runs import alone_in

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
RESUME = "resume.safetensors"
LOSS_WINDOW = 200
"""Steps over which the reported loss is averaged."""

LossOf = Callable[[torch.Generator], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train."""

    steps: int = 1000
    batch: int = 64
    """Samples per step."""
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    average: float = 0.998
    """Decay of the running average of the weights."""
    save_every_s: float = 120.0
    """How often the resume file is written."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ComoError(f"schedule: {name} must be positive, got {getattr(self, name)}")

    def rate_at(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class Fit:
    """What a training run came to."""

    steps: int
    samples_per_s: float
    final_loss: float
    weights: dict[str, torch.Tensor]
    """The running average."""
    losses: tuple[float, ...] = ()
    """Of every step."""

    def curve(self, points: int = 200) -> list[float]:
        """The losses, as at most so many means of equal stretches."""
        parts = np.array_split(np.asarray(self.losses), min(points, len(self.losses)) or 1)
        return [float(f"{part.mean():.5g}") for part in parts if len(part)]

    def summary(self) -> dict[str, float]:
        return {"steps": self.steps, "samples_per_s": self.samples_per_s, "final_loss": self.final_loss}


def keep_memory() -> None:
    """Let glibc keep freed blocks: giving them back costs more than the arithmetic of small networks."""
    libc = ctypes.util.find_library("c")
    if libc and hasattr(mallopt := ctypes.CDLL(libc), "mallopt"):
        mallopt.mallopt(M_MMAP_MAX, 0)
        mallopt.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


class Trainer:
    """Weights, their running average and the optimiser's moments, with save and resume."""

    def __init__(self, module: nn.Module, schedule: Schedule, seed: int = 0, identity: str = ""):
        self.schedule, self.seed, self.identity = schedule, seed, identity
        self.named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in self.named]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step = 0
        self.mean_loss = math.nan
        self.losses: list[float] = []

    def advance(self, loss_of: LossOf) -> float:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        loss = loss_of(generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ComoError(f"loss became {value} at step {self.step}; lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip_norm)
        self.optimizer.step()
        decay = min(self.schedule.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.step += 1
        self.losses.append(value)
        window = min(self.step, LOSS_WINDOW)
        self.mean_loss = value if self.step == 1 else self.mean_loss + (value - self.mean_loss) / window
        return value

    def averaged(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for (name, _), value in zip(self.named, self.average, strict=True)}

    def save(self, path: Path) -> None:
        tensors = {"losses": torch.tensor(self.losses)}
        for (name, parameter), average in zip(self.named, self.average, strict=True):
            moments = self.optimizer.state[parameter]
            tensors |= {f"value/{name}": parameter.detach().clone(), f"average/{name}": average.clone()}
            for short, key in MOMENTS.items():
                tensors[f"{short}/{name}"] = moments.get(key, torch.zeros_like(average))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        told = {"step": str(self.step), "loss": str(self.mean_loss), "identity": self.identity}
        try:
            save_file(tensors, part, metadata=told)
        except SafetensorError as error:
            raise ComoError(f"{path} cannot be written ({error}); make room or give another --out") from error
        part.replace(path)

    def restore(self, path: Path) -> None:
        with _opened(path) as file:
            told = file.metadata()
            if told["identity"] != self.identity:
                raise ComoError(
                    f"{path} is of a run with another config or other data; delete it or choose another --out"
                )
            self.step, self.mean_loss = int(told["step"]), float(told["loss"])
            self.losses = file.get_tensor("losses").tolist() if "losses" in file.keys() else []  # noqa: SIM118
            for index, (name, parameter) in enumerate(self.named):
                with torch.no_grad():
                    parameter.copy_(file.get_tensor(f"value/{name}"))
                self.average[index] = file.get_tensor(f"average/{name}")
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.step)),
                    **{key: file.get_tensor(f"{short}/{name}") for short, key in MOMENTS.items()},
                }


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ComoError(f"{path} is damaged ({error}); delete it and the run begins anew") from error


def fit(
    module: nn.Module,
    loss_of: LossOf,
    schedule: Schedule,
    *,
    label: str,
    resume: Path | None,
    seed: int = 0,
    identity: str = "",
) -> Fit:
    """Train to the end of the schedule, going on from `resume` where that file exists."""
    trainer = Trainer(module, schedule, seed, identity)
    with alone_in(resume.parent) if resume is not None else nullcontext():
        return _fit(trainer, loss_of, schedule, label, resume)


def _fit(trainer: Trainer, loss_of: LossOf, schedule: Schedule, label: str, resume: Path | None) -> Fit:
    keep_memory()
    if resume is not None and resume.is_file():
        trainer.restore(resume)
    first, began = trainer.step, time.monotonic()
    told = saved = began
    while trainer.step < schedule.steps:
        trainer.advance(loss_of)
        now = time.monotonic()
        if now - told > 10 or trainer.step == schedule.steps:
            told = now
            _tell(label, trainer, first, now - began)
        if resume is not None and now - saved > schedule.save_every_s:
            saved = now
            trainer.save(resume)
    elapsed = max(time.monotonic() - began, 1e-9)
    if resume is not None and trainer.step > first:
        trainer.save(resume)
    samples = (trainer.step - first) * schedule.batch
    return Fit(trainer.step, samples / elapsed, trainer.mean_loss, trainer.averaged(), tuple(trainer.losses))


def _tell(label: str, trainer: Trainer, first: int, elapsed: float) -> None:
    steps, per_s = trainer.schedule.steps, (trainer.step - first) / max(elapsed, 1e-9)
    rate, left = per_s * trainer.schedule.batch, (steps - trainer.step) / max(per_s, 1e-9)
    line = (
        f"{label} {trainer.step}/{steps} {rate:.0f} samples/s loss {trainer.mean_loss:.4f} left {left:.0f} s"
    )
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def identity_of(config: Any, **source: Any) -> str:
    """What a resumed run must share with the one it goes on from: all but the number of steps."""
    raw = asdict(config)
    for value in raw.values():
        if isinstance(value, dict):
            value.pop("steps", None)
    return hashlib.sha256(json.dumps([raw, source], sort_keys=True, default=str).encode()).hexdigest()

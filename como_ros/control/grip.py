"""From a stream of wanted widths to few hand commands: hysteresis keeps the fingers from chattering. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policies.spaces import GRIPPER_MAX_M


@dataclass(frozen=True)
class GripConfig:
    """When to squeeze, when to let go, what is too little to act on; metres, newtons, m/s."""

    squeeze_below_m: float = 0.03
    release_above_m: float = 0.05
    deadband_m: float = 0.006
    speed_m_s: float = 0.1
    force_n: float = 30.0


@dataclass(frozen=True)
class HandCommand:
    """`grasp` closes with force on whatever is there; `move` goes to a width."""

    kind: Literal["grasp", "move"]
    width_m: float


def decide(config: GripConfig, wanted_m: float, last: HandCommand | None) -> HandCommand | None:
    """The command that a wanted width calls for, or None when the last one still serves."""
    wanted_m = min(max(wanted_m, 0.0), GRIPPER_MAX_M)
    if wanted_m < config.squeeze_below_m:
        return None if last and last.kind == "grasp" else HandCommand("grasp", 0.0)
    if last and last.kind == "grasp" and wanted_m < config.release_above_m:
        return None
    if last and last.kind == "move" and abs(wanted_m - last.width_m) < config.deadband_m:
        return None
    return HandCommand("move", wanted_m)

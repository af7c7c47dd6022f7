"""From timed widths to few hand commands: what counts, what is due, and no chattering. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

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


class WidthQueue:
    """Timed widths that wait until they are due; each is handed out once."""

    def __init__(self) -> None:
        self._due: list[tuple[int, float]] = []
        self._accepted: int | None = None
        self._offered: tuple[int, list[tuple[int, float]]] | None = None

    def put(self, due_ns: np.ndarray, widths: np.ndarray) -> None:
        """In place of those still to come."""
        self._due = list(zip(due_ns.tolist(), widths.tolist(), strict=True))

    def offer(self, stamp_ns: int, due_ns: np.ndarray, widths: np.ndarray) -> None:
        """Widths that belong to the chunk with this stamp; they count once that chunk has been accepted."""
        if stamp_ns == self._accepted:
            self.put(due_ns, widths)
        else:
            self._offered = stamp_ns, list(zip(due_ns.tolist(), widths.tolist(), strict=True))

    def accept(self, stamp_ns: int) -> None:
        """The chunk with this stamp is to be executed."""
        self._accepted = stamp_ns
        if self._offered is not None and self._offered[0] == stamp_ns:
            self._due, self._offered = self._offered[1], None

    def take(self, now_ns: int) -> float | None:
        """The newest width that has become due since the last call."""
        due = [width for due_ns, width in self._due if due_ns <= now_ns]
        self._due = self._due[len(due) :]
        return due[-1] if due else None

"""What every teleop device looks like to the teleop node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class TeleopCommand:
    """What the operator wants now."""

    pose7: np.ndarray
    """(7,) end-effector pose in the base frame."""
    width_m: float
    held: bool
    """Whether the operator's hand is on the deadman."""


class TeleopDevice(Protocol):
    """Engaged when driving starts, asked for a command at every tick, disengaged when driving ends."""

    def engage(self, ee_pose7: np.ndarray) -> None: ...

    def command(self, elapsed_s: float, ee_pose7: np.ndarray) -> TeleopCommand: ...

    def disengage(self) -> None: ...

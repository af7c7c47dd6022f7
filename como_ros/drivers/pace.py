"""What a control loop says of its own timing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from como_ros.control.interpolation import Setpoint

STILL_M_S, STILL_RAD_S = 1e-3, 5e-3


@dataclass
class Pace:
    """How well the loop keeps its time, and since when its set-point stands."""

    rounds: int = 0
    missed: int = 0
    """Set-points that were never sent because the round before took too long."""
    late: int = 0
    """Rounds begun more than 2 ms after they were due."""
    worst_late_ms: float = 0.0
    still_since_ns: int = 0
    """System time at which the set-point last came to a standstill; 0 before it has ever moved."""
    moving: bool = False

    def begin(self, late_ns: int) -> None:
        self.rounds += 1
        self.late += late_ns > 2_000_000
        self.worst_late_ms = max(self.worst_late_ms, late_ns / 1e6)

    def sent(self, setpoint: Setpoint) -> None:
        linear, angular = (float(np.linalg.norm(part)) for part in (setpoint.twist[:3], setpoint.twist[3:]))
        moving = linear > STILL_M_S or angular > STILL_RAD_S
        if self.moving and not moving:
            self.still_since_ns = time.time_ns()
        self.moving = moving

"""What a control loop says of its own timing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from como_ros.control.interpolation import Setpoint
from como_ros.control.peaks import Peaks
from como_ros.control.supervision import POLICY

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
    driver: str = ""
    """Whose command the set-point follows."""
    yielded_ns: int = 0
    """System time of the first set-point that was not the policy's any more; 0 before it has driven."""
    peaks: Peaks = field(default_factory=Peaks)
    """Of all set-points sent, by the times that they were made for; how late they left is counted apart."""
    _sent_ns: int = 0

    def begin(self, late_ns: int) -> None:
        self.rounds += 1
        self.late += late_ns > 2_000_000
        self.worst_late_ms = max(self.worst_late_ms, late_ns / 1e6)

    def sent(self, setpoint: Setpoint, now_ns: int, driver: str = "") -> None:
        """A set-point made for `now_ns`."""
        linear, angular = (float(np.linalg.norm(part)) for part in (setpoint.twist[:3], setpoint.twist[3:]))
        moving = linear > STILL_M_S or angular > STILL_RAD_S
        if self.moving and not moving:
            self.still_since_ns = time.time_ns()
        self.moving = moving
        if self.driver == POLICY != driver:
            self.yielded_ns = time.time_ns()
        self.driver = driver
        self.peaks.add(setpoint.twist, (now_ns - self._sent_ns) / 1e9)
        self._sent_ns = now_ns


def beats(
    rate_hz: float, pace: Pace, stop: threading.Event, counts: Callable[[], bool] = lambda: True
) -> Iterator[int]:
    """The steady time at the beginning of each round until told to stop; what comes too late is not made up.

    Rounds that fell out are missed where `counts` says so.
    """
    period_ns = round(1e9 / rate_hz)
    due_ns = time.monotonic_ns()
    while not stop.is_set():
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        pace.begin(now_ns - due_ns)
        yield now_ns
        behind = (time.monotonic_ns() - due_ns) // period_ns
        pace.missed += behind if counts() else 0
        due_ns += (behind + 1) * period_ns

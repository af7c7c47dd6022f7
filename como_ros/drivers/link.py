"""Whether the robot still speaks: its own clock must go on.

libfranka says that the link is dead after two time-outs of a second each; the robot has long stopped by then.
Time through which this loop itself slept is no silence of the robot's. Pure.
"""

from __future__ import annotations

LATE_S, DEAD_S = 0.1, 0.5
"""Silence after which the set-point holds until the robot is heard again, and after which a person must look.
A real robot stops by itself after 20 ms without commands; a lab on a busy machine may stall for longer."""
LONGEST_ROUND_NS = 20_000_000
LOOK = "look at its cable and its controller"


class LinkWatch:
    """Shown the robot's clock in every round of control."""

    def __init__(self) -> None:
        self.silences = 0
        """How often the set-point had to wait for the robot."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Control begins, or has ended."""
        self._robot_s, self._looked_ns, self._silent_ns = -1.0, 0, 0

    def look(self, robot_s: float, now_ns: int) -> None:
        was_late = self.is_late
        passed_ns = min(now_ns - self._looked_ns, LONGEST_ROUND_NS)
        self._silent_ns = self._silent_ns + passed_ns if robot_s == self._robot_s else 0
        self._robot_s, self._looked_ns = robot_s, now_ns
        self.silences += self.is_late and not was_late

    @property
    def is_late(self) -> bool:
        return self._silent_ns > LATE_S * 1e9

    @property
    def is_dead(self) -> bool:
        return self._silent_ns > DEAD_S * 1e9

    @property
    def complaint(self) -> str:
        """What to look at, or nothing."""
        return f"the robot has been silent for {self._silent_ns / 1e9:.1f} s; {LOOK}" if self.is_late else ""

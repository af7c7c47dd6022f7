"""What becomes of a fault: judged, told, and cleared without a person where triage calls it harmless."""

from __future__ import annotations

import time

from como_ros.control.triage import Triage, is_at_rest, touch
from como_ros.drivers.franka import FrankaArm

AT_REST_NS = 500_000_000
"""After so long a stopped arm stands still and may be cleared."""


class Mending:
    """One fault at a time."""

    def __init__(self) -> None:
        self.auto_cleared = 0
        """Harmless stops that needed no person to clear."""
        self.fault = ""
        self._triage = Triage()
        self._clear_ns: int | None = None

    def judge(self, why: str, arm: FrankaArm | None) -> None:
        """A new fault, with what to do about it."""
        errors, mode = (arm.errors, arm.stopped_in) if arm is not None else ((), "")
        ruling = self._triage.judge(errors, mode, time.monotonic_ns())
        self.fault = f"{why}; {ruling.advice}" if ruling.advice else why
        self._clear_ns = time.monotonic_ns() + AT_REST_NS if ruling.clear else None

    def clears(self, arm: FrankaArm, now_ns: int) -> bool:
        """Whether it was harmless and is cleared now: once the arm has come to rest, untouched."""
        if self._clear_ns is None or now_ns <= self._clear_ns:
            return False
        state = arm.read()
        if not is_at_rest(state.dq):
            return False
        self._clear_ns = None
        if touched := touch(state.wrench):
            self.fault = f"{self.fault}; {touched}"
            return False
        arm.recover()
        self.auto_cleared += 1
        return True

    def mended(self) -> None:
        """By whoever was asked, or for whatever reason: the arm is under control."""
        self.fault, self._clear_ns = "", None

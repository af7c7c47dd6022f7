"""What a teleop device looks like to the teleop node, and a hand-held thing to the device it makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

OPEN_M, CLOSED_M = 0.08, 0.0

ON_THEIR_OWN = ("scripted", "spacemouse", "gamepad")
"""Devices that a process of their own drives."""

IN_CONSOLE = ("gizmo", "keyboard", "gello", "guiding")
"""Devices whose deadman is held in the browser: the console's process drives them."""

SERVICES = {
    "drive": "/supervisor/teleop",
    "rearm": "/supervisor/release",
    "stop": "/supervisor/stop",
    "home": "/arm/home",
    "guide": "/arm/guide",
    "start": "/recorder/start",
    "keep": "/recorder/keep",
    "success": "/recorder/keep_success",
    "failure": "/recorder/keep_failure",
    "discard": "/recorder/discard",
}
"""What a button may ask for, and who does it; `drive` is asked by a hand that closes on the deadman, `guide`
by one that begins to guide the arm itself."""


@dataclass(frozen=True)
class TeleopCommand:
    """What the operator wants now."""

    pose7: np.ndarray
    """(7,) end-effector pose in the base frame."""
    width_m: float | None
    """None: the operator has not said; the gripper stays as it is."""
    held: bool
    """Whether the operator's hand is on the deadman."""


class TeleopDevice(Protocol):
    """Engaged when driving starts, asked for a command at every tick, disengaged when driving ends."""

    def engage(self, ee_pose7: np.ndarray) -> None: ...

    def command(self, elapsed_s: float, ee_pose7: np.ndarray) -> TeleopCommand: ...

    def disengage(self) -> None: ...

    def pressed(self) -> tuple[str, ...]:
        """Names out of `SERVICES` pressed since the last call; asked for at every tick, driving or not."""
        ...


@dataclass(frozen=True)
class Reading:
    """What a hand does to a device now: it puts it somewhere (`pose7`) or pushes it (`push6`)."""

    held: bool = False
    """The hand is on the deadman."""
    coupled: bool = True
    """The clutch is closed: motion counts."""
    pose7: np.ndarray | None = None
    """Where the hand is, in a frame of its own that only has to stand still."""
    guides: bool = False
    """The hand is on the arm itself: what is commanded is where the arm is."""
    push6: np.ndarray = field(default_factory=lambda: np.zeros(6))
    """Deflection from -1 to 1 along and about x, y, z of the base."""
    width_m: float | None = None
    """A trigger that is the gripper's width; others have buttons `open` and `close`, or `toggle`."""
    buttons: frozenset[str] = frozenset()
    """Names that are down now: out of `SERVICES`, `open`, `close`, `toggle`."""


class Hand(Protocol):
    """A thing that a person holds. `read` never waits; it raises where the thing has gone."""

    def read(self) -> Reading: ...

    def close(self) -> None: ...

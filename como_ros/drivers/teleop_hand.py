"""Whatever a person holds, as a teleop device: clutch, deadman, gripper and buttons in one place."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from como_ros.drivers.teleop import CLOSED_M, OPEN_M, SERVICES, Hand, Reading, TeleopCommand
from como_ros.drivers.teleop_clutch import Clutch, ClutchConfig

REOPEN_S = 1.0
MAX_DT_S = 0.1
"""A tick that came late does not move the target further than this much time would."""
PULLED_M = 0.01
WIDTHS = {"open": OPEN_M, "close": CLOSED_M}


class HandDevice:
    """Opened at once, so that what is missing is said at the start; one that broke is opened again."""

    def __init__(
        self,
        open_hand: Callable[[], Hand],
        config: ClutchConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_hand
        self._config = config or ClutchConfig()
        self._clock = clock
        self._hand: Hand | None = open_hand()
        self._tried_s = 0.0
        self._down: frozenset[str] | None = None
        self._edges: list[str] = []
        self._clutch: Clutch | None = None
        self._elapsed_s = 0.0
        self._guides = False
        """Whether the arm has been asked to yield since driving began."""
        self._width_m: float | None = None
        self._trigger_m: float | None = None

    def engage(self, ee_pose7: np.ndarray) -> None:
        self._clutch, self._elapsed_s, self._guides = Clutch(self._config, ee_pose7), 0.0, False
        self._width_m = self._trigger_m = None

    def disengage(self) -> None:
        self._clutch = None

    def command(self, elapsed_s: float, ee_pose7: np.ndarray) -> TeleopCommand:
        assert self._clutch is not None, "engage comes first"
        reading = self._read()
        dt_s = min(max(elapsed_s - self._elapsed_s, 0.0), MAX_DT_S)
        self._elapsed_s = elapsed_s
        if reading.guides:
            pose7 = self._guide(reading.held, ee_pose7)
        elif not (reading.held and reading.coupled):
            pose7 = self._clutch.open()
        elif reading.pose7 is not None:
            pose7 = self._clutch.follow(reading.pose7, dt_s, ee_pose7)
        else:
            pose7 = self._clutch.push(reading.push6, dt_s, ee_pose7)
        return TeleopCommand(pose7, self._width_m, reading.held)

    def _guide(self, held: bool, ee_pose7: np.ndarray) -> np.ndarray:
        """The arm yields once it has been asked to, and the way it is led is what is commanded."""
        if held and not self._guides:
            self._guides = True
            self._edges.append("guide")
        return ee_pose7

    def pressed(self) -> tuple[str, ...]:
        self._read()
        pressed, self._edges = tuple(self._edges), []
        return pressed

    def _read(self) -> Reading:
        """A hand whose device broke has let go: the error goes to whoever asks."""
        try:
            reading = self._opened().read()
        except Exception:
            self.close()
            raise
        self._note(reading)
        return reading

    def _opened(self) -> Hand:
        if self._hand is None:
            wait_s = self._tried_s + REOPEN_S - self._clock()
            if wait_s > 0:
                raise ConnectionError(f"the device is gone; looking for it again in {wait_s:.1f} s")
            self._tried_s = self._clock()
            self._hand = self._open()
        return self._hand

    def _note(self, reading: Reading) -> None:
        """Buttons count when they go down; a hand that closes on the deadman wants to drive.

        What is down when the device is first read was not pressed for us: it counts when pressed again.
        """
        down = reading.buttons | ({"drive"} if reading.held else frozenset())
        fresh = down - (down if self._down is None else self._down)
        self._down = down
        self._edges += sorted(fresh & SERVICES.keys())
        for name in fresh & WIDTHS.keys():
            self._width_m = WIDTHS[name]
        if "toggle" in fresh:
            self._width_m = OPEN_M if self._width_m == CLOSED_M else CLOSED_M
        if reading.width_m is not None:
            self._pull(reading.width_m)

    def _pull(self, width_m: float) -> None:
        """A trigger counts once it has moved from where it was when driving began."""
        if self._trigger_m is None:
            self._trigger_m = width_m
        if self._width_m is not None or abs(width_m - self._trigger_m) > PULLED_M:
            self._width_m = width_m

    def close(self) -> None:
        hand, self._hand, self._down = self._hand, None, None
        if hand is not None:
            self._tried_s = self._clock()
            hand.close()

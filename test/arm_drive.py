"""A supervisor and a person for a control loop, in a thread of their own, whatever a test waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from como_ros.drivers.arm_loop import ArmLoop

BEAT_S = 0.02


class Person:
    """Fifty times a second a state and, where the person drives or guides, a pose."""

    def __init__(
        self,
        loop: ArmLoop,
        pose7: Callable[[], np.ndarray] = lambda: np.zeros(7),
        speed_m_s: float = 0.15,
        state: str = "ready",
    ) -> None:
        """Where the arm is, `pose7`, only who drives or guides needs to know."""
        self._loop, self._pose7, self._speed_m_s = loop, pose7, speed_m_s
        self._state, self._follows = state, False
        self.is_late = False
        """Nothing is heard of supervisor and person."""
        self._target: np.ndarray | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def says(self, state: str) -> None:
        self._state, self._target, self._follows = state, None, False
        time.sleep(3 * BEAT_S)

    def drives(self) -> None:
        """Along y from where the arm is, once released."""
        self.says("ready")
        self._state, self._target = "teleop", self._pose7()

    def guides(self) -> None:
        """What is commanded is where the arm is."""
        self.says("ready")
        self._state, self._follows = "teleop", True

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            if self.is_late:
                continue
            state = self._state
            self._loop.tell(lambda servo, now_ns, state=state: servo.supervise(state, now_ns))
            if self._target is not None:
                self._target = self._target + [0, self._speed_m_s * BEAT_S, 0, 0, 0, 0, 0]
            pose7 = self._pose7() if self._follows else self._target
            if pose7 is not None:
                self._loop.tell(lambda servo, now_ns, pose7=pose7: servo.command_pose(pose7, now_ns, now_ns))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()


def until(true: Callable[[], object], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)

"""Teaching by hand: one hand leads the arm itself, another holds a deadman and works the gripper.

The arm yields (`/arm/guide`) and the commands are the poses that it is led through, so that the bag of such a
demonstration reads like any other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from como_ros.drivers.teleop import Hand, Reading


class GuidingHand:
    """The arm is where the hand is; deadman, gripper and buttons are those of another device."""

    def __init__(self, deadman: Hand) -> None:
        self._deadman = deadman

    def read(self) -> Reading:
        return replace(self._deadman.read(), coupled=True, pose7=None, push6=np.zeros(6), guides=True)

    def close(self) -> None:
        self._deadman.close()

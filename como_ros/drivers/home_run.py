"""The sweep home through joint space, checked set-point by set-point, and what becomes of the hand there."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np

from como_ros.control.homing import HOME_Q, JointMove, MotionTime, refusal
from como_ros.control.limits import RobotLimits
from como_ros.drivers.franka import FrankaArm
from como_ros.drivers.gripper import Hand
from como_ros.errors import ComoError
from policies.spaces import GRIPPER_MAX_M

SETTLE_S = 0.6
CLOSE_RAD = 0.003
FAR_RAD = 0.05
"""More than friction and a wrong load make of it: something holds the arm back."""


class HomeRun:
    """One sweep under way and who waits for its end."""

    def __init__(self, arm: FrankaArm, limits: RobotLimits, answer: Future[str], now_ns: int) -> None:
        self.answer = answer
        self.off_rad = np.inf
        """How far the farthest joint is from home, at the end."""
        self.hand = ""
        """What becomes of the hand, for the answer."""
        self._limits = limits
        self._start = arm.read().q
        arm.track_joints()
        self._move, self._time = JointMove(self._start, np.array(HOME_Q)), MotionTime(now_ns)

    def tick(self, now_ns: int, runs: bool = True) -> None:
        """Go on to now; the sweep comes to rest on its way while it must not run."""
        self._time.tick(now_ns, runs)

    def refusal(self) -> str:
        """Why the set-point may not be sent, or nothing."""
        return refusal(self._limits, *self._set_point(), self._start)

    def send(self, arm: FrankaArm) -> str:
        """Send the set-point; says how the sweep ended, or nothing while it goes on."""
        arm.set_joint_target(*self._set_point())
        settling_s = self._time.since_s - self._move.seconds
        if settling_s < 0:
            return ""
        self.off_rad = float(np.abs(arm.read().q - HOME_Q).max())
        if self.off_rad >= CLOSE_RAD and settling_s <= SETTLE_S:
            return ""
        return f"home, {self.off_rad * 1e3:.1f} mrad off; {self.hand}"

    def _set_point(self) -> tuple[np.ndarray, np.ndarray]:
        q, dq = self._move.at(self._time.since_s)
        return q, self._time.pace * dq

    def end(self, done: str, why: str) -> None:
        """Tell whoever waits how it ended, or why it was broken off."""
        if why:
            self.answer.set_exception(ComoError(f"homing was broken off: {why}"))
        elif self.off_rad < FAR_RAD:
            self.answer.set_result(done)
        else:
            self.answer.set_exception(ComoError(f"not {done}; is something in the way of the arm?"))


def open_hand(hand: Hand, released: bool) -> str:
    """Open it and say so; what it holds it drops only when a person has released the supervisor since."""
    if hand.fault:
        return f"the hand stays as it is: {hand.fault}"
    if hand.is_grasped and not released:
        return "the hand stays closed, it holds something; stop, release and home again to open it"
    hand.request(GRIPPER_MAX_M)
    return "the hand lets go of what it held" if hand.is_grasped else "the hand opens"

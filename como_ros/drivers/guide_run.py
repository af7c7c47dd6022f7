"""Guiding by hand: the arm bears itself and yields to whoever moves it, watched in every round."""

from __future__ import annotations

import numpy as np

from como_ros.control.gains import YIELDING_NMS_RAD
from como_ros.control.guiding import Watched, catching, drawn_to
from como_ros.control.limits import RobotLimits
from como_ros.control.shield import ShieldConfig
from como_ros.control.triage import is_at_rest
from como_ros.drivers.franka import FrankaArm

CAUGHT_WITHIN_NS = 2_000_000_000


class GuideRun:
    """One guiding under way."""

    def __init__(self, arm: FrankaArm, limits: RobotLimits, shield: ShieldConfig) -> None:
        state = arm.read()
        self._watched = Watched(limits, shield, state.q, state.pose7[:3])
        self._torque_nm = np.array(limits.torque)
        self._freely = False
        self._end_ns, self._caught = 0, state.q
        self._let(arm, True, state.dq)

    def _let(self, arm: FrankaArm, freely: bool, dq: np.ndarray) -> None:
        """Be moved, or be moved with an effort and come to rest."""
        if freely != self._freely:
            arm.yield_joints(np.array(YIELDING_NMS_RAD) if freely else catching(dq, self._torque_nm))
        self._freely = freely

    @property
    def ends(self) -> bool:
        return self._end_ns > 0

    def step(self, arm: FrankaArm, freely: bool) -> str:
        """Pull nowhere, damp what moves; says why it may not go on, or nothing."""
        state = arm.read()
        self._let(arm, freely, state.dq)
        arm.set_joint_target(state.q, np.zeros(7))
        return self._watched.beyond(state.robot_s, state.q, state.pose7[:3])

    def end(self, arm: FrankaArm, now_ns: int) -> None:
        """Catch the arm, also from somebody who pushes on: the hand's own law comes when it rests."""
        state = arm.read()
        arm.catch_joints(catching(state.dq, self._torque_nm))
        self._caught = state.q
        self._end_ns = now_ns

    def rests(self, arm: FrankaArm, now_ns: int) -> bool:
        """Or has had its time."""
        state = arm.read()
        arm.set_joint_target(drawn_to(self._caught, state.q, self._torque_nm), np.zeros(7))
        return is_at_rest(state.dq) or now_ns > self._end_ns + CAUGHT_WITHIN_NS

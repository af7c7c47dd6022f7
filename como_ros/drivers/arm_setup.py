"""What an arm is told before it is controlled: limits, thresholds of contact, load, end effector."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from franky import Robot

from como_ros.control import gains
from como_ros.control.limits import get_limits, set_limits
from como_ros.control.triage import is_at_rest
from como_ros.errors import ComoError, require_between
from policies.spaces import invert_pose

EE_WAIT_S = 0.5
EE_TRIES = 3
REST_WAIT_S = 3.0
EE_CLOSE = 0.002
SETTLE_S = 0.02
PAYLOAD_KG = 3.0
"""All that either robot carries."""


def _hand_tcp() -> np.ndarray:
    """Flange to the point between the fingertips: 45 degrees about z and 103.4 mm out."""
    c = np.sqrt(0.5)
    return np.array([[c, c, 0, 0], [-c, c, 0, 0], [0, 0, 1, 0.1034], [0, 0, 0, 1.0]])


F_T_TCP = _hand_tcp()


class ArmError(ComoError):
    """The arm stopped or cannot be reached; says why and what to do."""


@dataclass(frozen=True)
class FrankaConfig:
    """How to talk to the arm and how stiff it is."""

    host: str = "127.0.0.1"
    robot: str = "panda"
    realtime: bool = False
    """Demand a PREEMPT_RT kernel; leave it off in the lab only."""
    stiffness_n_m: float = gains.STIFFNESS_N_M
    posture_nm_rad: float = gains.POSTURE_NM_RAD
    error_clip_m: float = gains.ERROR_CLIP_M
    contact_torque_nm: float = gains.CONTACT_NM
    collision_torque_nm: float = gains.COLLISION_NM
    contact_force_n: float = gains.CONTACT_N
    collision_force_n: float = gains.COLLISION_N
    load_kg: float = 0.0
    """What the hand carries all the time, a camera on it for instance."""

    def __post_init__(self) -> None:
        require_between("the arm's load_kg", self.load_kg, 0, PAYLOAD_KG)

    @property
    def on_this_machine(self) -> bool:
        """Then it is a simulated one."""
        return self.host == "localhost" or self.host.startswith("127.")


def configure(robot: Robot, config: FrankaConfig) -> None:
    """An arm that did not take all of it is never tracked."""
    set_limits(robot, get_limits(config.robot))
    robot.set_collision_behavior(
        lower_torque_threshold=config.contact_torque_nm,
        upper_torque_threshold=config.collision_torque_nm,
        lower_force_threshold=config.contact_force_n,
        upper_force_threshold=config.collision_force_n,
    )
    if config.load_kg:
        robot.set_load(config.load_kg, [0.0, 0.0, float(F_T_TCP[2, 3])], [0.0] * 9)
    _set_tcp(robot)


def _set_tcp(robot: Robot) -> None:
    """The controller forgets the end effector when it restarts, so every connection sets it.

    Tried again where the pose that it is judged by was reported before the controller had settled.
    """
    for _ in range(EE_TRIES):
        if _takes_tcp(robot, _flange_at_rest(robot)):
            return
    raise ArmError("the robot did not take the end effector; connect again")


def _flange_at_rest(robot: Robot) -> np.ndarray:
    """(4, 4) in the base frame; an arm that was just left may still swing."""
    deadline = time.monotonic() + REST_WAIT_S
    while time.monotonic() < deadline:
        time.sleep(SETTLE_S)
        state = robot.state
        if is_at_rest(state.dq):
            flange: np.ndarray = state.O_T_EE.matrix @ invert_pose(state.F_T_EE.matrix)
            return flange
    raise ArmError(f"the arm still moves after {REST_WAIT_S:.0f} s; connect again at rest")


def _takes_tcp(robot: Robot, flange: np.ndarray) -> bool:
    """Set it and wait until the reported pose has moved there: the one before would be followed."""
    robot.set_ee((invert_pose(robot.state.F_T_NE.matrix) @ F_T_TCP).T.flatten().tolist())
    deadline = time.monotonic() + EE_WAIT_S
    while time.monotonic() < deadline:
        if np.abs(robot.state.O_T_EE.matrix - flange @ F_T_TCP).max() < EE_CLOSE:
            return True
        time.sleep(0.005)
    return False

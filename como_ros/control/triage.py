"""What stopped the arm, what to look at, and whether it may be cleared without asking anybody. Pure.

Only errors that our own commands cause and that touch nobody are cleared by themselves, at most three times a
minute; the arm then holds, disarmed. Everything else, every error unknown here, and every stop that is no
reflex, whatever errors were named before it, waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from como_ros.control.gains import CONTACT_N

PER_MINUTE = 3
MINUTE_NS = 60_000_000_000
REFLEX = "Reflex"
"""The robot's mode after it stopped for an error; a pressed user stop is another."""

HARMLESS = {
    "controller_torque_discontinuity": "the commanded torque jumped",
    "joint_motion_generator_velocity_discontinuity": "the commanded joint speed jumped",
    "joint_motion_generator_acceleration_discontinuity": "the commanded joint acceleration jumped",
    "cartesian_motion_generator_velocity_discontinuity": "the commanded speed jumped",
    "cartesian_motion_generator_acceleration_discontinuity": "the commanded acceleration jumped",
}
SERIOUS = {
    "cartesian_reflex": "the arm hit something or somebody: look, free it, then recover",
    "joint_reflex": "the arm hit something or somebody: look, free it, then recover",
    "self_collision_avoidance_violation": "the arm came too close to itself: guide it away by hand",
    "joint_position_limits_violation": "a joint reached its end: guide it back by hand",
    "joint_velocity_violation": "a joint was too fast, or the arm is near a singularity: look at its pose",
    "cartesian_velocity_violation": "the hand was too fast: look at what commanded it",
    "tau_j_range_violation": "a motor gave all it has: is something in the way, is the load set?",
    "power_limit_violation": "the arm drew too much power: let it cool, move slower",
    "communication_constraints_violation": "commands came too late: check cable, kernel and governor",
    "max_goal_pose_deviation_violation": "the arm was held back: look what holds it",
}
REST_RAD_S = 0.05
UNKNOWN = "look at the arm and at Desk"


@dataclass(frozen=True)
class Ruling:
    """What to tell and what to do."""

    advice: str
    clear: bool
    """Whether it may be cleared now without a person."""


class Triage:
    """Remembers when it has let something be cleared."""

    def __init__(self) -> None:
        self._cleared_ns: list[int] = []

    def judge(self, errors: Iterable[str], mode: str, now_ns: int) -> Ruling:
        """A ruling on the names of the robot's errors and the mode it is in since."""
        names = list(errors)
        advice = "; ".join(dict.fromkeys(HARMLESS.get(name) or SERIOUS.get(name, UNKNOWN) for name in names))
        if mode != REFLEX or not names or not all(name in HARMLESS for name in names):
            return Ruling(advice, clear=False)
        self._cleared_ns = [at for at in self._cleared_ns if now_ns - at < MINUTE_NS]
        if len(self._cleared_ns) >= PER_MINUTE:
            return Ruling(f"{advice}, {PER_MINUTE + 1} times in a minute: look at what commands it", False)
        self._cleared_ns.append(now_ns)
        return Ruling(advice, clear=True)


def is_at_rest(dq: np.ndarray) -> bool:
    """Whether joints of these rates stand still."""
    return bool(np.abs(dq).max() < REST_RAD_S)


def touch(wrench: np.ndarray) -> str:
    """What presses on a stopped arm, or nothing; force and torque at the end effector."""
    force_n = float(np.linalg.norm(wrench[:3]))
    return f"something presses on it with {force_n:.0f} N: look, then recover" if force_n > CONTACT_N else ""

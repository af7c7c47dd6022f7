"""Which robot the lab's controller is: its limits in the judge of every command, the model, the scene.

franka-sim judges by the FR3's numbers, whatever its protocol version. For the Panda our own table stands in
their place, in the judge as well as in the robot description that the client asks for. Of the elbow, which
only Cartesian motion generators command, the FR3's tighter limits stay.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from franka_sim.limits.checker import MotionLimitChecker, Violation
from franka_sim.limits.tables import (
    JOINT_MOTION_GENERATOR_POSITION_LIMITS_VIOLATION_INDEX,
    JOINT_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION_INDEX,
    JOINT_POSITION_LIMITS,
    JOINT_VELOCITY_VIOLATION_INDEX,
)

from como_ros.control.limits import LIMITS, RobotLimits
from como_ros.errors import ComoError

PROTOCOL = {"panda": 5, "fr3": 10}
"""What franka-sim calls the two robots; both speak the client's protocol, version 10, on the wire."""
NO_ENVELOPE_RAD_S2 = 1e4
"""Deceleration that leaves the Panda's constant velocity limits alone: it has no envelope near its stops."""


def check_robot(robot: str) -> str:
    if robot not in PROTOCOL:
        raise ComoError(f"no robot named {robot!r}; known: {', '.join(sorted(PROTOCOL))}")
    return robot


class PandaChecker(MotionLimitChecker):
    """franka-sim's judge with the Panda's limits, told apart by their units."""

    def __init__(self, **options: Any) -> None:
        self._table: RobotLimits = LIMITS["panda"]
        speed = self._table.translation.velocity
        super().__init__(measured_cartesian_velocity_limit=speed, **options)
        table = self._table
        self._per_joint: dict[str, Sequence[float]] = {
            "rad/s^2": table.joint_acceleration,
            "rad/s^3": table.joint_jerk,
            "Nm": table.torque,
            "Nm/s": (table.torque_rate,) * 7,
        }
        steps = (("/s", "velocity"), ("/s^2", "acceleration"), ("/s^3", "jerk"))
        self._halves = {
            f"m{unit}": (getattr(table.translation, name), getattr(table.rotation, name))
            for unit, name in steps
        }

    def _check_joint_position_limits(self, q_c: Sequence[float]) -> Violation | None:
        index = JOINT_MOTION_GENERATOR_POSITION_LIMITS_VIOLATION_INDEX
        return _outside(q_c, self._table.q_min, self._table.q_max, 0.0, index, "q_c", "rad")

    def _check_joint_velocity_limits(self, velocity: Sequence[float], signal: str) -> Violation | None:
        index = JOINT_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION_INDEX
        return self._too_fast(velocity, 0.0, index, signal)

    def _check_measured_velocity_locked(self) -> Violation | None:
        if self._measured_velocity is None:
            return None
        margin = self.measured_velocity_margin
        return self._too_fast(self._measured_velocity, margin, JOINT_VELOCITY_VIOLATION_INDEX, "dq")

    def _too_fast(self, values: Sequence[float], margin: float, index: int, signal: str) -> Violation | None:
        most = self._table.joint_velocity
        return _outside(values, [-v for v in most], most, margin, index, signal, "rad/s")

    def _check_per_joint(
        self, values: Sequence[float], limits: Sequence[float], error_index: int, signal: str, unit: str
    ) -> Violation | None:
        return super()._check_per_joint(values, self._per_joint[unit], error_index, signal, unit)

    def _check_cartesian_halves(
        self,
        values: Sequence[float],
        translational_limit: float,
        rotational_limit: float,
        error_index: int,
        signal: str,
        units: tuple[str, str],
    ) -> Violation | None:
        return super()._check_cartesian_halves(values, *self._halves[units[0]], error_index, signal, units)


def _outside(
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    margin: float,
    error_index: int,
    signal: str,
    unit: str,
) -> Violation | None:
    for joint, (value, least, most) in enumerate(zip(values, low, high, strict=False), 1):
        if not least - margin <= value <= most + margin:
            limit = most if value > most else least
            return Violation(error_index, signal, f"joint {joint}", float(value), limit, unit)
    return None


def make_checker(robot: str, **options: Any) -> MotionLimitChecker:
    kind = PandaChecker if robot == "panda" else MotionLimitChecker
    return kind(protocol_version=PROTOCOL[robot], **options)


def robot_description(fr3_urdf: str, robot: str) -> str:
    """The URDF that the client is served: its limits are those of the robot."""
    if robot == "fr3":
        return fr3_urdf
    table, tree = LIMITS[robot], ET.fromstring(fr3_urdf)
    joints = [joint for joint in tree.iter("joint") if joint.get("type") == "revolute"]
    for i, joint in enumerate(joints[:7]):
        limit, envelope = joint.find("limit"), joint.find("position_based_velocity_limits")
        if limit is None or envelope is None:
            raise ComoError(f"{joint.get('name')} of franka-sim's URDF has no limits; install the pinned one")
        limit.set("lower", str(table.q_min[i]))
        limit.set("upper", str(table.q_max[i]))
        limit.set("velocity", str(table.joint_velocity[i]))
        envelope.set("velocity_offset", "0.0")
        envelope.set("deceleration_limit", str(NO_ENVELOPE_RAD_S2))
    return ET.tostring(tree, encoding="unicode")


def set_joint_stops(model: mujoco.MjModel, joint_ids: Sequence[int], robot: str) -> None:
    """The scene's arm stops where the robot's does."""
    panda = LIMITS["panda"]
    stops = np.column_stack([panda.q_min, panda.q_max]) if robot == "panda" else JOINT_POSITION_LIMITS
    model.jnt_range[list(joint_ids)] = stops

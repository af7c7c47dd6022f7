"""What a Panda and an FR3 may be asked to do, from their data sheets; the driver and the shield read it here.

Held by us because franky's own defaults are the wrong way round: its builds for the Panda carry the FR3's
numbers and the other way about. Radians, metres, seconds, Nm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from como_ros.errors import ComoError

Joints = tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True)
class Dynamics:
    """Largest velocity, acceleration and jerk of one quantity."""

    velocity: float
    acceleration: float
    jerk: float


@dataclass(frozen=True)
class RobotLimits:
    """One robot's table."""

    name: str
    q_min: Joints
    q_max: Joints
    joint_velocity: Joints
    joint_acceleration: Joints
    joint_jerk: Joints
    torque: Joints
    torque_rate: float
    translation: Dynamics
    rotation: Dynamics
    elbow: Dynamics


PANDA = RobotLimits(
    name="panda",
    q_min=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    q_max=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    joint_velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    joint_acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    joint_jerk=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    torque=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
    torque_rate=1000.0,
    translation=Dynamics(1.7, 13.0, 6500.0),
    rotation=Dynamics(2.5, 25.0, 12500.0),
    elbow=Dynamics(2.175, 10.0, 5000.0),
)

FR3 = RobotLimits(
    name="fr3",
    q_min=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    q_max=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    joint_velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    joint_acceleration=(10.0,) * 7,
    joint_jerk=(5000.0,) * 7,
    torque=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
    torque_rate=1000.0,
    translation=Dynamics(3.0, 9.0, 4500.0),
    rotation=Dynamics(2.5, 17.0, 8500.0),
    elbow=Dynamics(2.62, 10.0, 5000.0),
)

LIMITS = {limits.name: limits for limits in (PANDA, FR3)}


def get_limits(robot: str) -> RobotLimits:
    if robot not in LIMITS:
        raise ComoError(f"no limits for robot {robot!r}; known robots: {', '.join(sorted(LIMITS))}")
    return LIMITS[robot]


def set_limits(robot: Any, limits: RobotLimits) -> None:
    """Our table into franky's robot, as far as its build lets them be raised."""
    for name, row in (
        ("translation", limits.translation),
        ("rotation", limits.rotation),
        ("elbow", limits.elbow),
    ):
        for quantity in ("velocity", "acceleration", "jerk"):
            held = getattr(robot, f"{name}_{quantity}_limit")
            held.set(min(getattr(row, quantity), held.max))
    for quantity in ("velocity", "acceleration", "jerk"):
        held = getattr(robot, f"joint_{quantity}_limit")
        held.set(np.minimum(getattr(limits, f"joint_{quantity}"), held.max))

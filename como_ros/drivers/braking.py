"""Coming to rest before the arm is let go."""

from __future__ import annotations

import time

import numpy as np

from como_ros.control.guiding import catching, drawn_to
from como_ros.control.limits import RobotLimits
from como_ros.control.servo import Servo
from como_ros.drivers.franka import FrankaArm

BRAKE_S = 0.15
"""The servo's own braking and the spring's settling."""
CATCH_HZ = 200


def brake(arm: FrankaArm, servo: Servo, rate_hz: float) -> None:
    """Take the set-point to a standstill as if the supervisor had fallen silent."""
    servo.supervise("", time.monotonic_ns())
    for _ in range(round(BRAKE_S * rate_hz)):
        setpoint = servo.tick(time.monotonic_ns())
        arm.set_target(setpoint.pose7, setpoint.twist)
        time.sleep(1 / rate_hz)


def brake_joints(arm: FrankaArm) -> None:
    """The same during a sweep through joint space."""
    arm.set_joint_target(arm.read().q, np.zeros(7))
    time.sleep(BRAKE_S)


def catch(arm: FrankaArm, limits: RobotLimits) -> None:
    """The same of an arm that yields: hold its joints where they are."""
    caught, torque_nm = arm.read(), np.array(limits.torque)
    arm.catch_joints(catching(caught.dq, torque_nm))
    for _ in range(round(BRAKE_S * CATCH_HZ)):
        arm.set_joint_target(drawn_to(caught.q, arm.read().q, torque_nm), np.zeros(7))
        time.sleep(1 / CATCH_HZ)

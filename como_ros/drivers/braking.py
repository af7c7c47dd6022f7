"""Coming to rest before the arm is let go."""

from __future__ import annotations

import time

import numpy as np

from como_ros.control.servo import Servo
from como_ros.drivers.franka import FrankaArm

BRAKE_S = 0.15
"""The servo's own braking and the spring's settling."""


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


def catch(arm: FrankaArm) -> None:
    """The same of an arm that yields: hold it where it is."""
    arm.track()
    time.sleep(BRAKE_S)

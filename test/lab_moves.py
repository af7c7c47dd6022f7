"""Moves of a real client's arm that several tests need."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from como_ros.control.homing import HOME_Q, JointMove
from como_ros.drivers.franka import FrankaArm

PERIOD_S = 0.01


def paced(seconds: float) -> Iterator[float]:
    """The time since the start, every 10 ms."""
    begun = time.monotonic()
    for tick in range(round(seconds / PERIOD_S)):
        time.sleep(max(0.0, begun + tick * PERIOD_S - time.monotonic()))
        yield time.monotonic() - begun


def go_home(arm: FrankaArm) -> float:
    """Returns how far off it ended."""
    return go_to(arm, np.array(HOME_Q))


def go_to(arm: FrankaArm, goal: np.ndarray) -> float:
    """To these joints by joint impedance, and held there by the hand; returns how far off it ended."""
    if arm.read().mode == "Reflex":
        arm.recover()
    arm.track_joints()
    move = JointMove(arm.read().q, goal)
    for since_s in paced(move.seconds + 0.4):
        arm.set_joint_target(*move.at(since_s))
        assert arm.fault() == ""
    arm.track()
    return float(np.abs(arm.read().q - goal).max())


def glide(arm: FrankaArm, xyz: tuple[float, float, float], seconds: float) -> str:
    """On a straight line to a place, same orientation; returns the fault that ended it, or nothing."""
    start = arm.read().pose7
    goal = np.concatenate([xyz, start[3:]])
    for t in paced(seconds + 0.3):
        share = min(1.0, t / seconds)
        arm.set_target(start + (goal - start) * (3 * share**2 - 2 * share**3), np.zeros(6))
        if fault := arm.fault():
            return fault
    return ""


def wait_fault(arm: FrankaArm, seconds: float = 2.0) -> str:
    """Why the arm stopped, or nothing if it did not in time."""
    deadline = time.monotonic() + seconds
    while not (fault := arm.fault()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return fault

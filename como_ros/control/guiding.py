"""How far and how fast an arm may be guided by hand. Pure; lengths in metres, angles in radians, seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from como_ros.control.gains import CATCHING_NM_RAD, CATCHING_NMS_RAD
from como_ros.control.limits import RobotLimits
from como_ros.control.shield import ShieldConfig

MARGIN_RAD = 0.1
"""Kept from the ends of the joints' ranges."""
JOINT_SHARE = 0.8
"""Of what the joints' speed may be."""
DAMPING_SHARE, SPRING_SHARE = 0.5, 0.4
"""Of what a joint's motor can give, for each of the two that catch it."""
OVER_S = 0.03
"""Speed is judged over this time: from one pose to the next it would be mostly noise."""


@dataclass(frozen=True)
class Seen:
    """The arm at a moment of the robot's own clock."""

    robot_s: float
    q: np.ndarray
    place: np.ndarray


class Watched:
    """Shown the arm in every round; one that is outside already may come back, but go no further out."""

    def __init__(self, limits: RobotLimits, shield: ShieldConfig, q: np.ndarray, place: np.ndarray) -> None:
        self._low, self._high = np.minimum(shield.box_min_m, place), np.maximum(shield.box_max_m, place)
        self._q_low = np.minimum(np.add(limits.q_min, MARGIN_RAD), q)
        self._q_high = np.maximum(np.subtract(limits.q_max, MARGIN_RAD), q)
        self._fastest_m_s = shield.max_speed_m_s
        self._fastest_rad_s = JOINT_SHARE * np.array(limits.joint_velocity)
        self._seen: list[Seen] = []

    def beyond(self, robot_s: float, q: np.ndarray, place: np.ndarray) -> str:
        """What limit it has passed, or nothing."""
        since_s = robot_s - OVER_S
        self._seen = [seen for seen in self._seen if seen.robot_s >= since_s - OVER_S]
        self._seen.append(Seen(robot_s, q, place))
        return self._outside(q, place) or self._too_fast(since_s)

    def _outside(self, q: np.ndarray, place: np.ndarray) -> str:
        if (place < self._low).any() or (place > self._high).any():
            return f"the hand left the workspace at {np.round(place, 3).tolist()} m"
        for joint in np.flatnonzero((q < self._q_low) | (q > self._q_high)):
            return f"joint {joint + 1} came to {q[joint]:.2f} rad, close to its end"
        return ""

    def _too_fast(self, since_s: float) -> str:
        last = self._seen[-1]
        before = next((seen for seen in reversed(self._seen) if seen.robot_s <= since_s), None)
        if before is None:
            return ""
        passed_s = last.robot_s - before.robot_s
        speed_m_s = float(np.linalg.norm(last.place - before.place)) / passed_s
        if speed_m_s > self._fastest_m_s:
            return f"the hand was guided at {speed_m_s:.2f} m/s, {self._fastest_m_s:.2f} are allowed"
        rates = np.abs(last.q - before.q) / passed_s
        for joint in np.flatnonzero(rates > self._fastest_rad_s):
            allowed = f"{self._fastest_rad_s[joint]:.2f} are allowed"
            return f"joint {joint + 1} was guided at {rates[joint]:.2f} rad/s, {allowed}"
        return ""


def catching(dq: np.ndarray, torque_nm: np.ndarray) -> np.ndarray:
    """Damping that asks no joint for more than its share, at the speed at which it is caught."""
    most = DAMPING_SHARE * torque_nm / np.maximum(np.abs(dq), 1e-3)
    return np.minimum(CATCHING_NMS_RAD, most)


def drawn_to(caught: np.ndarray, q: np.ndarray, torque_nm: np.ndarray) -> np.ndarray:
    """Joints towards those at which the arm was caught, no farther than its share of torque reaches."""
    reach = SPRING_SHARE * torque_nm / CATCHING_NM_RAD
    return np.clip(caught, q - reach, q + reach)

"""The last look at every set-point before it reaches the arm: finite, fresh, inside the box, slow, no jump.

Pure: what is wanted and what was sent last go in, what may be sent and why comes out. A refused set-point
leaves the last one standing still (the servo then brakes instead); a clamped one is the nearest allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from como_ros.control.interpolation import Setpoint
from como_ros.control.rotations import (
    UNIT_CLOSE,
    matrix_from_vector,
    vector_from_matrix,
    xyzw_from_matrix,
)
from como_ros.errors import ComoError

Answer = Literal["clamp", "refuse"]
WALL_BRAKING_M_S2, WALL_TIME_S = 4.0, 0.03
"""How a wall of the box is approached: braking so hard, and the last millimetres in that time constant."""


@dataclass(frozen=True)
class ShieldConfig:
    """What is allowed and what happens to what is not; lengths in metres, angles in radians, seconds."""

    box_min_m: tuple[float, float, float] = (0.20, -0.45, 0.005)
    box_max_m: tuple[float, float, float] = (0.80, 0.45, 0.70)
    max_speed_m_s: float = 0.8
    max_turn_rad_s: float = 2.0
    max_jump_m: float = 0.15
    max_jump_rad: float = 0.8
    max_age_s: float = 0.2
    on_box: Answer = "clamp"
    on_speed: Answer = "clamp"
    on_jump: Answer = "refuse"

    def __post_init__(self) -> None:
        if not len(self.box_min_m) == len(self.box_max_m) == 3:
            raise ComoError(f"workspace box needs x, y and z: {self.box_min_m} to {self.box_max_m}")
        if not all(low < high for low, high in zip(self.box_min_m, self.box_max_m, strict=True)):
            raise ComoError(f"workspace box is empty: {self.box_min_m} to {self.box_max_m}")
        for name in ("on_box", "on_speed", "on_jump"):
            if getattr(self, name) not in get_args(Answer):
                raise ComoError(f"shield: {name} is {getattr(self, name)!r}; known answers: clamp, refuse")
        for name in ("max_speed_m_s", "max_turn_rad_s", "max_jump_m", "max_jump_rad", "max_age_s"):
            if not getattr(self, name) > 0:
                raise ComoError(f"shield: {name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class Verdict:
    """What may be sent."""

    setpoint: Setpoint
    reason: str = ""
    """Empty when nothing had to be changed; else the kind of the fault, a colon, and the figures."""
    refused: bool = False

    @property
    def kind(self) -> str:
        return self.reason.partition(":")[0]


def guard(config: ShieldConfig, wanted: Setpoint, last: Setpoint, dt_s: float, age_s: float = 0.0) -> Verdict:
    """Judge a set-point that follows `last` after `dt_s` and rests on a command `age_s` old."""
    refusal = _not_usable(config, wanted, age_s) or _jump(config, wanted, last)
    if refusal and not (refusal.startswith("jump") and config.on_jump == "clamp"):
        return Verdict(Setpoint.still(last.pose7), refusal, refused=True)
    boxed, box_reason = into_box(config, wanted, last)
    if box_reason and config.on_box == "refuse":
        return Verdict(Setpoint.still(last.pose7), box_reason, refused=True)
    slowed, speed_reason = _slow_down(config, boxed, last, dt_s)
    if speed_reason and config.on_speed == "refuse":
        return Verdict(Setpoint.still(last.pose7), speed_reason, refused=True)
    return Verdict(_brake_before_walls(config, slowed, last, dt_s), refusal or box_reason or speed_reason)


def _not_usable(config: ShieldConfig, wanted: Setpoint, age_s: float) -> str:
    if not (np.isfinite(wanted.pose7).all() and np.isfinite(wanted.twist).all()):
        return f"not finite: pose {wanted.pose7.tolist()}, twist {wanted.twist.tolist()}"
    norm = np.linalg.norm(wanted.pose7[3:])
    if abs(norm - 1) > UNIT_CLOSE:
        return f"not finite: quaternion of length {norm:.4f} is no rotation"
    if age_s > config.max_age_s:
        return f"age: the command is {age_s:.2f} s old, the limit is {config.max_age_s:.2f} s"
    return ""


def _jump(config: ShieldConfig, wanted: Setpoint, last: Setpoint) -> str:
    step, turn = distance(wanted, last)
    if step > config.max_jump_m or turn > config.max_jump_rad:
        return (
            f"jump: {step * 100:.1f} cm and {turn:.2f} rad from the last set-point, "
            f"the limits are {config.max_jump_m * 100:.1f} cm and {config.max_jump_rad:.2f} rad"
        )
    return ""


def distance(a: Setpoint, b: Setpoint) -> tuple[float, float]:
    """Metres and radians between two poses."""
    turn = vector_from_matrix(a.rotation @ b.rotation.T)
    return float(np.linalg.norm(a.pose7[:3] - b.pose7[:3])), float(np.linalg.norm(turn))


def into_box(config: ShieldConfig, wanted: Setpoint, last: Setpoint) -> tuple[Setpoint, str]:
    """Into the box; an arm that is outside already may stay or come back, but go no further out."""
    position = wanted.pose7[:3]
    low, high = np.minimum(config.box_min_m, last.pose7[:3]), np.maximum(config.box_max_m, last.pose7[:3])
    inside = np.clip(position, low, high)
    outside = inside != position
    if not outside.any():
        return wanted, ""
    twist = wanted.twist.copy()
    twist[:3][outside & (np.sign(twist[:3]) == np.sign(position - inside))] = 0.0
    place, nearest = np.round(position, 3).tolist(), np.round(inside, 3).tolist()
    reason = f"outside the box: {place} m, the nearest inside is {nearest}"
    return Setpoint(np.concatenate([inside, wanted.pose7[3:]]), twist), reason


def _brake_before_walls(config: ShieldConfig, wanted: Setpoint, last: Setpoint, dt_s: float) -> Setpoint:
    """No faster towards a wall of the box than can be braked before it."""
    gap = wanted.pose7[:3] - last.pose7[:3]
    low, high = last.pose7[:3] - config.box_min_m, np.array(config.box_max_m) - last.pose7[:3]
    room = np.maximum(np.where(gap > 0, high, low), 0.0)
    fastest = np.minimum(np.sqrt(2 * WALL_BRAKING_M_S2 * room), room / WALL_TIME_S)
    slowed = np.clip(gap, -fastest * dt_s, fastest * dt_s)
    outside = (low < 0) | (high < 0)  # it may come back as it likes
    if outside.any() or (slowed == gap).all():
        return wanted
    twist = wanted.twist.copy()
    twist[:3] = np.where(slowed == gap, twist[:3], np.clip(twist[:3], -fastest, fastest))
    return Setpoint(np.concatenate([last.pose7[:3] + slowed, wanted.pose7[3:]]), twist)


def _slow_down(config: ShieldConfig, wanted: Setpoint, last: Setpoint, dt_s: float) -> tuple[Setpoint, str]:
    """Go as far towards the wanted pose as the speed limits allow; feed no twist forward that is not gone."""
    gap = wanted.pose7[:3] - last.pose7[:3]
    turn = vector_from_matrix(wanted.rotation @ last.rotation.T)
    speed, rate = _length(gap) / dt_s, _length(turn) / dt_s
    linear, angular = _length(wanted.twist[:3]), _length(wanted.twist[3:])
    twist = _share(config, linear, angular) * wanted.twist
    share = _share(config, speed, rate)
    if share >= 1.0:
        return Setpoint(wanted.pose7, twist), ""
    for part, gone in ((twist[:3], share * speed), (twist[3:], share * rate)):
        part *= min(1.0, gone / max(_length(part), 1e-9))
    rotation = matrix_from_vector(share * turn) @ last.rotation
    pose7 = np.concatenate([last.pose7[:3] + share * gap, xyzw_from_matrix(rotation)])
    reason = f"too fast: {speed:.2f} m/s and {rate:.2f} rad/s, slowed to {share:.0%}"
    return Setpoint(pose7, twist), reason


def _length(v: np.ndarray) -> float:
    return float(np.linalg.norm(v))


def _share(config: ShieldConfig, speed_m_s: float, rate_rad_s: float) -> float:
    """By how much a motion must be slowed, as a whole, to keep both limits."""
    return min(
        1.0, config.max_speed_m_s / max(speed_m_s, 1e-9), config.max_turn_rad_s / max(rate_rad_s, 1e-9)
    )

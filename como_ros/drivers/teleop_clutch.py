"""From a hand's motion to the arm's target: relative, scaled, never faster than allowed. Pure.

Only changes of the hand count, so that closing the clutch never moves the target, wherever the hand is, and
closing it again goes on from where the target was. Positions in metres, angles in radians, time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from como_ros.control.rotations import (
    matrix_from_vector,
    matrix_from_xyzw,
    vector_from_matrix,
    xyzw_from_matrix,
)
from como_ros.errors import ComoError


@dataclass(frozen=True)
class ClutchConfig:
    """How the hand's motion becomes the arm's."""

    scale: float = 1.0
    """Metres of the arm per metre of the hand."""
    turn_scale: float = 1.0
    deadband: float = 0.08
    """Deflections up to this share are taken for rest; the rest of the way still reaches from 0 to 1."""
    push_speed_m_s: float = 0.15
    """Speed at full deflection."""
    push_turn_rad_s: float = 0.8
    max_speed_m_s: float = 0.30
    max_turn_rad_s: float = 1.2
    leash_m: float = 0.10
    """The target stays this close to the arm: one that is blocked is not wound up."""
    leash_rad: float = 0.6

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if not 0 < value < float("inf"):
                raise ComoError(f"clutch: {spec.name} must be positive and finite, got {value}")
        if self.deadband >= 1:
            raise ComoError(f"clutch: deadband must be below 1, got {self.deadband}")


class Clutch:
    """`target` is a (position, rotation matrix) that starts at the arm and follows the hand."""

    def __init__(self, config: ClutchConfig, ee_pose7: np.ndarray) -> None:
        self._config = config
        self._position, self._rotation = _split(ee_pose7)
        self._wanted = (self._position, self._rotation)
        self._hand: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def target7(self) -> np.ndarray:
        return np.concatenate([self._position, xyzw_from_matrix(self._rotation)])

    def follow(self, hand_pose7: np.ndarray, dt_s: float, ee_pose7: np.ndarray) -> np.ndarray:
        """The hand has moved to a pose; -> the new target."""
        hand = _split(hand_pose7)
        before, self._hand = self._hand or hand, hand
        moved = self._config.scale * (hand[0] - before[0])
        turned = self._config.turn_scale * vector_from_matrix(hand[1] @ before[1].T)
        position, rotation = self._wanted
        self._wanted = (position + moved, _orthonormal(matrix_from_vector(turned) @ rotation))
        return self._approach(dt_s, ee_pose7)

    def push(self, push6: np.ndarray, dt_s: float, ee_pose7: np.ndarray) -> np.ndarray:
        """The hand leans on a stick; -> the new target."""
        config = self._config
        lean = without_deadband(_finite(push6), config.deadband)
        moved = lean[:3] * config.push_speed_m_s * dt_s
        turned = matrix_from_vector(lean[3:] * config.push_turn_rad_s * dt_s)
        self._wanted = (self._position + moved, _orthonormal(turned @ self._rotation))
        return self._approach(dt_s, ee_pose7)

    def open(self) -> np.ndarray:
        """The hand moves freely and the target stays; -> the target."""
        self._hand, self._wanted = None, (self._position, self._rotation)
        return self.target7

    def _approach(self, dt_s: float, ee_pose7: np.ndarray) -> np.ndarray:
        """Towards what is wanted, as far as the leash and the speed allow."""
        config, (position, rotation) = self._config, self._wanted
        place, attitude = _split(ee_pose7)
        position = place + shortened(position - place, config.leash_m)
        rotation = matrix_from_vector(_turn(attitude, rotation, config.leash_rad)) @ attitude
        self._position = self._position + shortened(position - self._position, config.max_speed_m_s * dt_s)
        step = _turn(self._rotation, rotation, config.max_turn_rad_s * dt_s)
        self._rotation = _orthonormal(matrix_from_vector(step) @ self._rotation)
        return self.target7


def without_deadband(lean: np.ndarray, deadband: float) -> np.ndarray:
    """Deflections in -1..1: none inside the band, growing from zero at its edge to one at the end."""
    size = np.clip(np.abs(lean), 0.0, 1.0)
    return np.sign(lean) * np.maximum(size - deadband, 0.0) / (1 - deadband)


def shortened(vector: np.ndarray, length: float) -> np.ndarray:
    """The vector, or as much of it as is allowed."""
    size = float(np.linalg.norm(vector))
    return vector if size <= length else vector * (length / size)


def _turn(start: np.ndarray, end: np.ndarray, angle: float) -> np.ndarray:
    """Rotation vector from one attitude to another, cut to an angle."""
    return shortened(vector_from_matrix(end @ start.T), angle)


def _orthonormal(rotation: np.ndarray) -> np.ndarray:
    """Thousands of products later it is still a rotation."""
    return matrix_from_xyzw(xyzw_from_matrix(rotation))


def _split(pose7: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pose7 = _finite(pose7)
    length = float(np.linalg.norm(pose7[3:]))
    if abs(length - 1) > 1e-2:
        raise ComoError(f"quaternion {pose7[3:].tolist()} of the hand is not of unit length")
    return pose7[:3].copy(), matrix_from_xyzw(pose7[3:] / length)


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ComoError(f"the hand's reading {np.asarray(values).tolist()} is not finite; check the device")
    return np.asarray(values, float)

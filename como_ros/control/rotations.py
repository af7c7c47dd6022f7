"""Rotation vectors: exponential, logarithm, and the Jacobians that turn their rates into angular velocity."""

from __future__ import annotations

import numpy as np

from policies.spaces import quaternion_from_matrix

_SMALL = 1e-6


def _cross_matrix(v: np.ndarray) -> np.ndarray:
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def matrix_from_vector(v: np.ndarray) -> np.ndarray:
    """(3,) axis times angle -> (3, 3)."""
    angle2 = float(v @ v)
    k = _cross_matrix(v)
    if angle2 < _SMALL**2:
        return np.eye(3) + k
    angle = np.sqrt(angle2)
    turned: np.ndarray = np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle2 * k @ k
    return turned


def vector_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """(3, 3) -> (3,) axis times angle, the angle in 0..pi."""
    q = quaternion_from_matrix(rotation)
    size = np.sqrt(q[:3] @ q[:3])
    scale = 2.0 if size < _SMALL else 2 * np.arctan2(size, q[3]) / size
    return np.asarray(scale * q[:3])


def left_jacobian(v: np.ndarray) -> np.ndarray:
    """J with: angular velocity in the fixed frame = J(v) @ dv/dt for the rotation exp(v)."""
    angle2 = float(v @ v)
    k = _cross_matrix(v)
    if angle2 < _SMALL**2:
        return np.eye(3) + k / 2
    angle = np.sqrt(angle2)
    a, b = (1 - np.cos(angle)) / angle2, (angle - np.sin(angle)) / (angle2 * angle)
    jacobian: np.ndarray = np.eye(3) + a * k + b * k @ k
    return jacobian


def left_jacobian_inverse(v: np.ndarray) -> np.ndarray:
    angle2 = float(v @ v)
    k = _cross_matrix(v)
    if angle2 < _SMALL**2:
        return np.eye(3) - k / 2
    half = np.sqrt(angle2) / 2
    inverse: np.ndarray = np.eye(3) - k / 2 + (1 - half / np.tan(half)) / angle2 * k @ k
    return inverse

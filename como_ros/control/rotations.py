"""Rotation vectors: exponential, logarithm, and the Jacobians that turn their rates into angular velocity.

For one rotation at a time and in plain floats where that is quicker than numpy: the servo runs these a dozen
times a tick. `policies.spaces` has the same conversions for whole batches; a test holds the two together.
"""

from __future__ import annotations

from math import atan2, sqrt

import numpy as np

UNIT_CLOSE = 1e-3
"""How far from one a quaternion's length may be."""
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
    x, y, z, w = _xyzw(rotation)
    size = sqrt(x * x + y * y + z * z)
    scale = 2.0 if size < _SMALL else 2 * atan2(size, w) / size
    return np.array([scale * x, scale * y, scale * z])


def matrix_from_xyzw(xyzw: np.ndarray) -> np.ndarray:
    """(4,) unit quaternion -> (3, 3)."""
    x, y, z, w = xyzw.tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def xyzw_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """(3, 3) -> (4,) unit quaternion with w >= 0."""
    return np.array(_xyzw(rotation))


def _xyzw(rotation: np.ndarray) -> tuple[float, float, float, float]:
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    squares = (1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i)
    rows = (
        (squares[0], b + d, c + g, h - f),
        (b + d, squares[1], f + h, c - g),
        (c + g, f + h, squares[2], d - b),
        (h - f, c - g, d - b, squares[3]),
    )
    x, y, z, w = rows[squares.index(max(squares))]
    norm = sqrt(x * x + y * y + z * z + w * w)
    norm = -norm if w < 0 else norm
    return x / norm, y / norm, z / norm, w / norm


def of_unit_length(poses7: np.ndarray) -> np.ndarray:
    """(..., 7) poses, their quaternions exactly so: franky takes a longer one for a stretched rotation."""
    straight = np.array(poses7, float)
    straight[..., 3:] /= np.linalg.norm(straight[..., 3:], axis=-1, keepdims=True)
    return straight


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

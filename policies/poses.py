"""Rotations and poses in the three forms that are used, each with the way back.

rot6d is the first two columns of the rotation matrix, quaternions are xyzw, `pose7` rows are x y z and then
the quaternion. Every function takes leading batch dimensions.
"""

from __future__ import annotations

import math

import numpy as np


def matrix_from_rot6d(rot6d: np.ndarray) -> np.ndarray:
    """(..., 6) first two columns -> (..., 3, 3), orthonormalised."""
    first, second = rot6d[..., :3], rot6d[..., 3:6]
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    y = second - (x * second).sum(-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def rot6d_from_matrix(rotation: np.ndarray) -> np.ndarray:
    return np.concatenate([rotation[..., :, 0], rotation[..., :, 1]], axis=-1)


def matrix_from_quaternion(xyzw: np.ndarray) -> np.ndarray:
    """(..., 4) xyzw -> (..., 3, 3)."""
    x, y, z, w = np.moveaxis(np.asarray(xyzw, float) / np.linalg.norm(xyzw, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quaternion_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 4) xyzw with w >= 0, by the largest of the four squared components."""
    r = np.asarray(rotation, float)
    if r.ndim == 2:
        return _one_quaternion(*r.reshape(9).tolist())
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    squares = np.stack([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz], -1)
    best = squares.argmax(-1)
    a, b, c = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    d, e, f = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    table = np.stack(
        [
            np.stack([squares[..., 0], d, e, a], -1),
            np.stack([d, squares[..., 1], f, b], -1),
            np.stack([e, f, squares[..., 2], c], -1),
            np.stack([a, b, c, squares[..., 3]], -1),
        ],
        -2,
    )
    q = np.take_along_axis(table, best[..., None, None], -2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0, -q, q)


def _one_quaternion(
    xx: float, xy: float, xz: float, yx: float, yy: float, yz: float, zx: float, zy: float, zz: float
) -> np.ndarray:
    """The same numbers for one matrix, 20 times as fast: loops ask for a pose hundreds of times a second."""
    squares = [1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz]
    best = squares.index(max(squares))
    a, b, c = zy - yz, xz - zx, yx - xy
    d, e, f = xy + yx, xz + zx, yz + zy
    x, y, z, w = (
        (squares[0], d, e, a),
        (d, squares[1], f, b),
        (e, f, squares[2], c),
        (a, b, c, squares[3]),
    )[best]
    size = math.sqrt(x * x + y * y + z * z + w * w)
    return np.array([x, y, z, w]) / (-size if w < 0 else size)


def matrix_from_pose7(pose7: np.ndarray) -> np.ndarray:
    """(..., 7) -> (..., 4, 4)."""
    out = np.zeros((*np.shape(pose7)[:-1], 4, 4))
    out[..., :3, :3] = matrix_from_quaternion(pose7[..., 3:7])
    out[..., :3, 3] = pose7[..., :3]
    out[..., 3, 3] = 1
    return out


def pose7_from_matrix(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix[..., :3, 3], quaternion_from_matrix(matrix[..., :3, :3])], -1)


def invert_pose(matrix: np.ndarray) -> np.ndarray:
    out = np.zeros_like(matrix)
    transposed = np.swapaxes(matrix[..., :3, :3], -1, -2)
    out[..., :3, :3] = transposed
    out[..., :3, 3] = -np.einsum("...ij,...j->...i", transposed, matrix[..., :3, 3])
    out[..., 3, 3] = 1
    return out

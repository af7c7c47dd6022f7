"""Kinematics of the Panda and of the FR3, from the Denavit-Hartenberg parameters Franka publishes.

Both arms share them. Craig's convention: a row is (a of the link before, d, alpha of the link before).
"""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from como_ros.control.rotations import xyzw_from_matrix

DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -pi / 2),
    (0.0, 0.316, pi / 2),
    (0.0825, 0.0, pi / 2),
    (-0.0825, 0.384, -pi / 2),
    (0.0, 0.0, pi / 2),
    (0.088, 0.0, pi / 2),
)
FLANGE_M, TCP_M = 0.107, 0.1034
"""Along z: from joint 7 to the flange, where the hand is mounted, and from there to between its tips."""
HAND_TURN_RAD = -pi / 4


def link_frames(q: np.ndarray) -> np.ndarray:
    """(7,) joint angles -> (9, 4, 4) frames in the base: links 0 to 7, then the hand at the flange."""
    frames = [np.eye(4)]
    for (a, d, alpha), angle in zip(DH, q, strict=True):
        frames.append(frames[-1] @ _joint(a, d, alpha, float(angle)))
    frames.append(frames[-1] @ _joint(0.0, FLANGE_M, 0.0, HAND_TURN_RAD))
    return np.array(frames)


def ee_pose7(q: np.ndarray) -> np.ndarray:
    """(7,) joint angles -> (7,) pose of the point between the finger tips."""
    hand = link_frames(q)[-1]
    return np.concatenate([_tip(hand), xyzw_from_matrix(hand[:3, :3])])


def jacobian(q: np.ndarray) -> np.ndarray:
    """(6, 7) m/s and rad/s of the point between the finger tips, in the base, a rad/s of each joint."""
    frames = link_frames(q)
    axes, levers = frames[1:8, :3, 2], _tip(frames[8]) - frames[1:8, :3, 3]
    return np.concatenate([np.cross(axes, levers).T, axes.T])


def _tip(hand: np.ndarray) -> np.ndarray:
    """Between the finger tips, from the hand's frame."""
    return np.asarray(hand[:3, 3] + TCP_M * hand[:3, 2])


def _joint(a: float, d: float, alpha: float, theta: float) -> np.ndarray:
    ca, sa, ct, st = cos(alpha), sin(alpha), cos(theta), sin(theta)
    return np.array(
        [
            [ct, -st, 0.0, a],
            [st * ca, ct * ca, -sa, -d * sa],
            [st * sa, ct * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )

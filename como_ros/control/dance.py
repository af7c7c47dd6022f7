"""Chunks as a policy sends them, made of nothing: a slow dance, each a little off the one before. Pure."""

from __future__ import annotations

import numpy as np

from como_ros.control.rotations import matrix_from_vector, matrix_from_xyzw, xyzw_from_matrix

CENTRE = np.array([0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])
POSE_NS, POSES = 100_000_000, 16
ZIGZAG_SHARE, ZIGZAG_M = 0.02, 0.05
OFF_M, OFF_RAD = 0.004, 0.02
REACH_M, REACH_RAD = np.array([0.10, 0.20, 0.12]), 0.3
RATES_1_S = np.array([0.9, 0.7, 1.1, 0.8, 0.6, 0.5])
GROWS_S = 3.0
"""From the first chunk until it dances as far as it will."""


class Dance:
    """One in fifty chunks zig-zags by several centimetres."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._begun_ns: int | None = None

    def chunk(self, start_ns: int) -> np.ndarray:
        """(POSES, 7), the first due at `start_ns`."""
        if self._begun_ns is None:
            self._begun_ns = start_ns
        seconds = (start_ns - self._begun_ns + POSE_NS * np.arange(POSES)) / 1e9
        waves = np.sin(RATES_1_S * seconds[:, None] + self._phase)
        waves *= np.minimum(seconds / GROWS_S, 1.0)[:, None]
        places = CENTRE[:3] + REACH_M * waves[:, :3] + self._rng.normal(0, OFF_M, 3)
        if self._rng.random() < ZIGZAG_SHARE:
            places += self._rng.uniform(-ZIGZAG_M, ZIGZAG_M, places.shape)
        turns = REACH_RAD * waves[:, 3:] + self._rng.normal(0, OFF_RAD, 3)
        upright = matrix_from_xyzw(CENTRE[3:])
        quaternions = [xyzw_from_matrix(matrix_from_vector(turn) @ upright) for turn in turns]
        return np.column_stack([places, quaternions])

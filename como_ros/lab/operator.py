"""A scripted operator: from the true poses of things to a timed motion, with a person's variety.

Privileged (it reads truth), so it is used to make demonstrations and to test the arm, never as a policy.
Speed, pauses, hover height, curved paths and small first misses that are then corrected vary with the seed;
the corrections teach a policy how to come back.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from policies import spaces

OPEN_M, CLOSED_M = 0.08, 0.0
PEAK_OVER_MEAN, PEAK_ACCELERATION = 1.875, 5.77  # of a quintic smoothstep of unit length and duration
ACCELERATION_M_S2 = 1.5
DOWN = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Plan:
    """Waypoints joined by smoothstep; the width holds from one waypoint to the next."""

    times_s: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray
    tilts: np.ndarray
    """(N, 2) small rotations about x and y."""
    widths: np.ndarray

    @property
    def duration_s(self) -> float:
        return float(self.times_s[-1])

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray, float]:
        """(pose7, twist6, width) at a time; the last waypoint holds for ever."""
        time_s = min(max(time_s, 0.0), self.duration_s)
        i = min(int(np.searchsorted(self.times_s, time_s, side="right")) - 1, len(self.times_s) - 2)
        span = self.times_s[i + 1] - self.times_s[i]
        u = (time_s - self.times_s[i]) / span
        blend, rate = u * u * u * (10 - 15 * u + 6 * u * u), 30 * u * u * (1 - u) ** 2 / span
        step = self.positions[i + 1] - self.positions[i]
        yaw_step = self.yaws[i + 1] - self.yaws[i]
        rotation = _rotation(
            self.yaws[i] + blend * yaw_step, self.tilts[i] + blend * (self.tilts[i + 1] - self.tilts[i])
        )
        pose7 = np.concatenate([self.positions[i] + blend * step, spaces.quaternion_from_matrix(rotation)])
        twist = np.concatenate([rate * step, [0, 0, rate * yaw_step]])
        return pose7, twist, float(self.widths[i])


def _rotation(yaw: float, tilt: np.ndarray) -> np.ndarray:
    """Gripper pointing down, turned by yaw about the vertical and tilted a little."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return turn @ _lean(*tilt.tolist()) @ DOWN


@functools.lru_cache(maxsize=64)
def _lean(x: float, y: float) -> np.ndarray:
    """Kept, because most of a plan leans one way throughout."""
    lean = np.array([[1, 0, y], [0, 1, -x], [-y, x, 1.0]])
    lean, _ = np.linalg.qr(lean)
    lean *= np.sign(np.diag(lean))
    return lean


class Script:
    """Collects waypoints while keeping the speed a person would."""

    def __init__(self, start: np.ndarray, peak_m_s: float) -> None:
        self._peak = peak_m_s
        self.rows = [(0.0, start, 0.0, np.zeros(2), OPEN_M)]

    @property
    def time_s(self) -> float:
        return self.rows[-1][0]

    def go(self, position: np.ndarray, yaw: float, tilt: np.ndarray, width: float, slow: float = 1.0) -> None:
        time_s, last, last_yaw, _, _ = self.rows[-1]
        length = np.linalg.norm(position - last)
        seconds = max(
            PEAK_OVER_MEAN * length / (self._peak * slow),
            np.sqrt(PEAK_ACCELERATION * length / ACCELERATION_M_S2),
            abs(yaw - last_yaw) / 0.6,
            0.35,
        )
        self._set_width(width)
        self.rows.append((time_s + seconds, np.asarray(position, float), yaw, tilt, width))

    def wait(self, seconds: float, width: float) -> None:
        time_s, last, yaw, tilt, _ = self.rows[-1]
        self._set_width(width)
        self.rows.append((time_s + seconds, last, yaw, tilt, width))

    def _set_width(self, width: float) -> None:
        self.rows[-1] = (*self.rows[-1][:4], width)

    def plan(self) -> Plan:
        times, positions, yaws, tilts, widths = zip(*self.rows, strict=True)
        return Plan(*(np.array(column) for column in (times, positions, yaws, tilts, widths)))


def approach(
    script: Script,
    rng: np.random.Generator,
    hover: np.ndarray,
    yaw: float,
    tilt: np.ndarray,
    width: float = OPEN_M,
) -> None:
    """To above the thing, not always straight and not always right at first."""
    if rng.random() < 0.5:  # a bow instead of a straight line
        last = script.rows[-1][1]
        script.go((last + hover) / 2 + rng.uniform(-0.04, 0.04, 3), yaw * rng.uniform(0, 1), tilt, width)
    for _ in range(int(rng.integers(0, 3))):  # first looks that miss, then are corrected lower down
        miss = np.array([*rng.normal(0, 0.025, 2), rng.uniform(-0.035, 0.03)])
        script.go(hover + miss, yaw + rng.normal(0, 0.12), tilt + rng.normal(0, 0.02, 2), width)
    script.go(hover, yaw, tilt, width)
    if rng.random() < 0.3:
        script.wait(rng.uniform(0.1, 0.4), width)

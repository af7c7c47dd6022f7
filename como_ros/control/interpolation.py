"""Motion between set-points: where the end effector should be, and how fast, at any moment.

A path is asked by time and answers with pose and twist. Chunks are cubic in position and in rotation vector
with continuous velocity; a switch from one path to another fades the difference between them out, so that
neither pose nor velocity jumps. Times are nanoseconds of any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from como_ros.control.rotations import (
    UNIT_CLOSE,
    left_jacobian,
    left_jacobian_inverse,
    matrix_from_vector,
    matrix_from_xyzw,
    vector_from_matrix,
    xyzw_from_matrix,
)

MOST_POSES = 1000
"""Of a chunk: more would keep the control loop from its next set-points while they are read."""


@dataclass(frozen=True)
class Setpoint:
    """Pose and twist in the base frame."""

    pose7: np.ndarray
    """(7,) position and quaternion xyzw."""
    twist: np.ndarray
    """(6,) linear m/s, angular rad/s, of the end effector's origin."""

    @classmethod
    def still(cls, pose7: np.ndarray) -> Setpoint:
        return cls(np.asarray(pose7, float), np.zeros(6))

    @property
    def rotation(self) -> np.ndarray:
        return matrix_from_xyzw(self.pose7[3:])

    def after(self, seconds: float) -> Setpoint:
        """Where it gets to if the twist goes on."""
        return _setpoint(
            self.pose7[:3] + seconds * self.twist[:3],
            matrix_from_vector(seconds * self.twist[3:]) @ self.rotation,
            self.twist[:3],
            self.twist[3:],
        )


class Path(Protocol):
    """Anything that can be followed."""

    def at(self, now_ns: int) -> Setpoint: ...


def _setpoint(
    position: np.ndarray, rotation: np.ndarray, linear: np.ndarray, angular: np.ndarray
) -> Setpoint:
    pose7 = np.concatenate([position, xyzw_from_matrix(rotation)])
    return Setpoint(pose7, np.concatenate([linear, angular]))


def _hermite(u: float, span_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of (start, start rate, end, end rate) for the value and for its rate."""
    v = 1 - u
    value = np.array([v * v * (1 + 2 * u), u * v * v * span_s, u * u * (3 - 2 * u), -u * u * v * span_s])
    slope = 6 * u * v / span_s
    return value, np.array([-slope, v * (1 - 3 * u), slope, u * (3 * u - 2)])


class HoldPath:
    """Stay there."""

    def __init__(self, pose7: np.ndarray) -> None:
        self._setpoint = Setpoint.still(pose7)

    def at(self, now_ns: int) -> Setpoint:
        return self._setpoint


class ChunkPath:
    """Through timed poses; before the first and after the last it stays."""

    def __init__(self, due_ns: np.ndarray, poses7: np.ndarray) -> None:
        self.due_ns = np.asarray(due_ns, np.int64)
        self.poses7 = np.asarray(poses7, float)
        rotations = [matrix_from_xyzw(xyzw) for xyzw in self.poses7[:, 3:]]
        spans_s = np.diff(self.due_ns) / 1e9
        turns = [vector_from_matrix(b @ a.T) for a, b in pairwise(rotations)]
        self._rotations, self._turns = rotations, turns
        self._linear = _knot_rates(np.diff(self.poses7[:, :3], axis=0), spans_s)
        self._angular = _knot_rates(np.reshape(turns, (-1, 3)), spans_s)

    @property
    def start_ns(self) -> int:
        return int(self.due_ns[0])

    @property
    def end_ns(self) -> int:
        return int(self.due_ns[-1])

    def at(self, now_ns: int) -> Setpoint:
        if now_ns < self.start_ns or now_ns >= self.end_ns:
            return Setpoint.still(self.poses7[0 if now_ns < self.start_ns else -1])
        i = int(np.searchsorted(self.due_ns, now_ns, side="right")) - 1
        span_s = (self.due_ns[i + 1] - self.due_ns[i]) / 1e9
        value, rate = _hermite((now_ns - self.due_ns[i]) / 1e9 / span_s, span_s)
        linear = np.array([self.poses7[i, :3], self._linear[i], self.poses7[i + 1, :3], self._linear[i + 1]])
        # the turn since knot i as a rotation vector v, R = exp(v) R_i: v runs from zero to the whole turn
        turn = self._turns[i]
        end_rate = left_jacobian_inverse(turn) @ self._angular[i + 1]
        angular = np.array([np.zeros(3), self._angular[i], turn, end_rate])
        v = value @ angular
        rotation = matrix_from_vector(v) @ self._rotations[i]
        return _setpoint(value @ linear, rotation, rate @ linear, left_jacobian(v) @ (rate @ angular))


def unusable(due_ns: np.ndarray, poses7: np.ndarray) -> str:
    """Why these make no chunk, or nothing; a bad pose at its end must not show on the way to it only."""
    if not 0 < len(due_ns) <= MOST_POSES or (np.diff(due_ns) <= 0).any():
        return f"not timed: {len(due_ns)} poses, 1 to {MOST_POSES} are needed, each due later than the last"
    if poses7.shape != (len(due_ns), 7) or not np.isfinite(poses7).all():
        return f"not finite: poses {poses7.shape}, finite ones of shape (H, 7) are needed"
    lengths = np.linalg.norm(poses7[:, 3:], axis=1)
    worst = int(np.abs(lengths - 1).argmax())
    if abs(lengths[worst] - 1) > UNIT_CLOSE:
        return f"not finite: quaternion of length {lengths[worst]:.4f} in pose {worst + 1} is no rotation"
    return ""


def _knot_rates(steps: np.ndarray, spans_s: np.ndarray) -> np.ndarray:
    """Velocity at each knot: the mean of its two segments weighted so that uneven spacing stays smooth."""
    if not len(steps):
        return np.zeros((1, 3))
    slopes = steps / spans_s[:, None]
    before, after = spans_s[:-1, None], spans_s[1:, None]
    inner = (after * slopes[:-1] + before * slopes[1:]) / (before + after)
    return np.concatenate([slopes[:1], inner, slopes[-1:]])


class BlendPath:
    """From where and how fast one is, over to another path within `blend_s`, without a jump in either."""

    def __init__(self, start: Setpoint, start_ns: int, path: Path, blend_s: float) -> None:
        self._path, self._start_ns, self._blend_s = path, start_ns, blend_s
        there = path.at(start_ns)
        self._offset = start.pose7[:3] - there.pose7[:3]
        self._offset_rate = start.twist[:3] - there.twist[:3]
        self._turn = vector_from_matrix(start.rotation @ there.rotation.T)
        carried = matrix_from_vector(self._turn) @ there.twist[3:]
        self._turn_rate = left_jacobian_inverse(self._turn) @ (start.twist[3:] - carried)

    def at(self, now_ns: int) -> Setpoint:
        there = self._path.at(now_ns)
        u = (now_ns - self._start_ns) / 1e9 / self._blend_s
        if u >= 1:
            return there
        value, rate = _hermite(max(u, 0.0), self._blend_s)
        offset = value[0] * self._offset + value[1] * self._offset_rate
        offset_rate = rate[0] * self._offset + rate[1] * self._offset_rate
        turn = value[0] * self._turn + value[1] * self._turn_rate
        turn_rate = rate[0] * self._turn + rate[1] * self._turn_rate
        lead = matrix_from_vector(turn)
        return _setpoint(
            there.pose7[:3] + offset,
            lead @ there.rotation,
            there.twist[:3] + offset_rate,
            left_jacobian(turn) @ turn_rate + lead @ there.twist[3:],
        )


def blend_seconds(start: Setpoint, goal: Setpoint, shortest_s: float, acceleration: float = 4.0) -> float:
    """Long enough to fade the offset out with `acceleration` in m/s^2 and twice that in rad/s^2."""
    offset = np.linalg.norm(start.pose7[:3] - goal.pose7[:3])
    turn = np.linalg.norm(vector_from_matrix(start.rotation @ goal.rotation.T))
    return float(max(shortest_s, np.sqrt(6 * offset / acceleration), np.sqrt(3 * turn / acceleration)))


class BrakePath:
    """To a standstill along the way one goes: the speed falls evenly to zero and never turns round."""

    def __init__(self, start: Setpoint, start_ns: int, stop_s: float) -> None:
        self._start, self._start_ns, self._stop_s = start, start_ns, stop_s

    def at(self, now_ns: int) -> Setpoint:
        u = min(max((now_ns - self._start_ns) / 1e9 / self._stop_s, 0.0), 1.0)
        place = self._start.after(self._stop_s * (u - u * u / 2))
        return Setpoint(place.pose7, (1 - u) * self._start.twist)

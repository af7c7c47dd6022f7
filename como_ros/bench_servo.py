"""`como bench servo`: how smooth the set-points are that chunks turn into, against the robot's own limits.

Ten simulated minutes of a policy: twice a second a chunk of 16 poses at 10 Hz arrives, a few millimetres off
the one before; one in fifty zig-zags by several centimetres. No robot, no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from como_ros.control.interpolation import Setpoint
from como_ros.control.limits import LIMITS, Dynamics
from como_ros.control.rotations import matrix_from_vector, matrix_from_xyzw, xyzw_from_matrix
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import POLICY, READY
from como_ros.gates import at_most

START = np.array([0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])
TICK_NS, POSE_NS, CHUNK_EVERY, POSES = 10_000_000, 100_000_000, 50, 16
ZIGZAG_SHARE, ZIGZAG_M = 0.02, 0.05
OFF_M, OFF_RAD = 0.004, 0.02
BLEND_TICKS = 20


def run_bench(minutes: float = 10.0, seed: int = 0) -> dict[str, Any]:
    """Result of `como bench servo`."""
    sent, starts = _simulate(round(minutes * 6000), np.random.default_rng(seed))
    twists = np.array([setpoint.twist for setpoint in sent])
    rows = [
        at_most(
            "switch", "velocity jump where a chunk begins, as sent / switched hard", _jumps(sent, starts), 0.2
        )
    ]
    for robot, limits in LIMITS.items():
        rows += _within(robot, "translation", limits.translation, twists[:, :3])
        rows += _within(robot, "rotation", limits.rotation, twists[:, 3:])
    return {"minutes": minutes, "chunks": len(sent) // CHUNK_EVERY, "rows": rows}


def _simulate(ticks: int, rng: np.random.Generator) -> tuple[list[Setpoint], dict[int, np.ndarray]]:
    """(set-points, where each chunk begins by the number of the set-point that it begins with)."""
    servo = Servo(ServoConfig(), ShieldConfig(), START, 0)
    servo.supervise(READY, 0)
    sent = [Setpoint.still(START)]
    starts: dict[int, np.ndarray] = {}
    phase = rng.uniform(0, 2 * np.pi, 6)
    for tick in range(1, ticks + 1):
        now_ns = tick * TICK_NS
        servo.supervise(POLICY, now_ns)
        if tick % CHUNK_EVERY == 0:
            due_ns = now_ns + POSE_NS * np.arange(POSES)
            poses7 = _poses(due_ns / 1e9, phase, rng)
            servo.command_chunk(due_ns, poses7, now_ns)
            starts[tick] = poses7[0, :3]
        sent.append(servo.tick(now_ns))
    return sent, starts


def _jumps(sent: list[Setpoint], starts: dict[int, np.ndarray]) -> float:
    """Mean change of velocity from one tick to the next: the largest of the blend / that of a hard switch."""
    places, second_s = np.array([setpoint.pose7[:3] for setpoint in sent]), TICK_NS / 1e9
    rates = np.diff(places, axis=0) / second_s
    changes = np.linalg.norm(np.diff(rates, axis=0), axis=1)  # of set-point i + 2 against i + 1
    inner = [tick for tick in starts if CHUNK_EVERY < tick < len(sent) - BLEND_TICKS]
    soft = [changes[tick - 2 : tick - 2 + BLEND_TICKS].max() for tick in inner]
    hard = [np.linalg.norm((starts[tick] - places[tick - 1]) / second_s - rates[tick - 2]) for tick in inner]
    return float(np.mean(soft) / np.mean(hard))


def _poses(seconds: np.ndarray, phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slow dance through the workspace, as a policy sees it: off by a little, at times by nonsense."""
    rates = np.array([0.9, 0.7, 1.1, 0.8, 0.6, 0.5])
    waves = np.sin(rates * seconds[:, None] + phase)
    places = START[:3] + [0.10, 0.20, 0.12] * waves[:, :3] + rng.normal(0, OFF_M, 3)
    if rng.random() < ZIGZAG_SHARE:
        places += rng.uniform(-ZIGZAG_M, ZIGZAG_M, places.shape)
    turns = 0.3 * waves[:, 3:] + rng.normal(0, OFF_RAD, 3)
    upright = matrix_from_xyzw(START[3:])
    quaternions = [xyzw_from_matrix(matrix_from_vector(turn) @ upright) for turn in turns]
    return np.column_stack([places, quaternions])


def _within(robot: str, what: str, limit: Dynamics, rates: np.ndarray) -> list[dict[str, Any]]:
    """Largest rate and its first two differences over time, as shares of the robot's table."""
    second_s = TICK_NS / 1e9
    measured = {
        "velocity": rates,
        "acceleration": np.diff(rates, axis=0) / second_s,
        "jerk": np.diff(rates, n=2, axis=0) / second_s**2,
    }
    return [
        at_most(
            f"{robot} {what} {name}",
            f"largest {name} of the set-points / the {robot}'s limit",
            float(np.linalg.norm(values, axis=1).max()) / getattr(limit, name),
            1.0,
        )
        for name, values in measured.items()
    ]

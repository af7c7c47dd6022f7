"""`como bench servo`: how smooth the set-points are that chunks turn into, against the robot's own limits.

Minutes of a policy made of nothing: twice a second a chunk of 16 poses at 10 Hz arrives, a few millimetres
off the one before; one in fifty zig-zags by several centimetres. Without a robot and a clock, or, with
`--lab`, through the arm node and the real protocol, in processes of their own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from como_ros.control.dance import CENTRE, POSE_NS, POSES, Dance
from como_ros.control.interpolation import Setpoint
from como_ros.control.limits import LIMITS
from como_ros.control.peaks import QUANTITIES, Peaks
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import POLICY, READY
from como_ros.gates import at_least, at_most
from como_ros.graphs import Deployment, Process, graph
from como_ros.up import Running, processes_up

TICK_NS, CHUNK_EVERY = 10_000_000, 50
BLEND_TICKS = 20


def run_bench(minutes: float = 10.0, seed: int = 0) -> dict[str, Any]:
    """Result of `como bench servo`."""
    sent, starts = _simulate(round(minutes * 6000), np.random.default_rng(seed))
    peaks = Peaks()
    for setpoint in sent:
        peaks.add(setpoint.twist, TICK_NS / 1e9)
    what = "velocity jump where a chunk begins, as sent / switched hard"
    rows = [at_most("switch", what, _jumps(sent, starts), 0.2)]
    for robot in LIMITS:
        rows += _within(robot, peaks.linear, peaks.angular)
    return {"minutes": minutes, "chunks": len(sent) // CHUNK_EVERY, "rows": rows}


def run_lab(
    minutes: float = 10.0, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Result of `como bench servo --lab`."""
    deployment = Deployment(lab=True)
    processes = [p for p in graph("teleop", deployment) if p.name in ("lab", "arm", "supervisor")]
    processes.append(Process("dance", "como_ros.nodes.dance", {"seed": seed}))
    with (
        tempfile.TemporaryDirectory(prefix="como_servo_") as folder,
        processes_up(processes, deployment, Path(folder)) as (running, station),
    ):
        danced_s = _dance(station, running, 60 * minutes, say)
        figures, chunks = station.figures("arm"), int(station.figures("dance")["chunks"])
    linear, angular = (np.array([float(x) for x in figures[name].split()]) for name in ("linear", "angular"))
    cleared = float(figures["auto_cleared"])
    rows = [
        at_least("danced", "minutes without a fault of the arm", danced_s / 60, minutes),
        at_most("reflex", "faults cleared without a person", cleared, 0),
    ]
    return {"minutes": danced_s / 60, "chunks": chunks, "rows": rows + _within("panda", linear, angular)}


def _dance(station: Any, running: Running, seconds: float, say: Callable[[str], None]) -> float:
    """For how long the arm followed before it was over, or something stopped it."""
    station.call("/supervisor/release")
    station.call("/supervisor/policy")
    begun = told = time.monotonic()
    while (danced_s := time.monotonic() - begun) < seconds + 1:
        running.check()
        if danced_s > 1 and station.supervisor_state != POLICY:
            say(f"stopped after {danced_s:.0f} s: {station.message('supervisor')}")
            return danced_s
        if time.monotonic() - told > 60:
            told = time.monotonic()
            say(f"{danced_s / 60:.0f} min: {station.message('arm')}")
        time.sleep(0.05)
    station.call("/supervisor/stop")
    time.sleep(1.5)  # until the arm has said its figures once more
    return danced_s


def _simulate(ticks: int, rng: np.random.Generator) -> tuple[list[Setpoint], dict[int, np.ndarray]]:
    """(set-points, where each chunk begins by the number of the set-point that it begins with)."""
    servo, dance = Servo(ServoConfig(), ShieldConfig(), CENTRE, 0), Dance(rng)
    servo.supervise(READY, 0)
    sent = [Setpoint.still(CENTRE)]
    starts: dict[int, np.ndarray] = {}
    for tick in range(1, ticks + 1):
        now_ns = tick * TICK_NS
        servo.supervise(POLICY, now_ns)
        if tick % CHUNK_EVERY == 0:
            due_ns = now_ns + POSE_NS * np.arange(POSES)
            poses7 = dance.chunk(now_ns)
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


def _within(robot: str, linear: np.ndarray, angular: np.ndarray) -> list[dict[str, Any]]:
    """The largest of each quantity as a share of the robot's table."""
    limits = LIMITS[robot]
    rows = []
    for what, limit, peaks in (
        ("translation", limits.translation, linear),
        ("rotation", limits.rotation, angular),
    ):
        rows += [
            at_most(f"{robot} {what} {name}", _told(name, robot), float(peak) / getattr(limit, name), 1.0)
            for name, peak in zip(QUANTITIES, peaks, strict=True)
        ]
    return rows


def _told(quantity: str, robot: str) -> str:
    return f"largest {quantity} of the set-points / the {robot}'s limit"

"""`como bench pace`: why set-points come from a process of their own.

The arm's loop follows chunks at its own rate while somebody burns both cores as a policy does, in Python code
and in matrix products: once from another process, once from threads beside it. No robot, real clocks.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from como_ros.control.dance import CENTRE, POSE_NS, POSES, Dance
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import POLICY, READY
from como_ros.drivers.arm_loop import LoopConfig
from como_ros.drivers.pace import Pace, beats
from como_ros.drivers.priority import run_before_others
from como_ros.errors import ComoError
from como_ros.gates import at_least, at_most

PRIORITY = 6
"""As the arm node asks for."""
CHUNK_EVERY_NS = 400_000_000
SIDE = 300
"""Of the matrices whose products burn what the interpreter leaves."""

Counts = tuple[int, int, int]
"""Rounds, late ones, missed ones."""


def run_bench(
    seconds: float = 5.0, rounds: int = 4, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Result of `como bench pace`."""
    if seconds < 1 or rounds < 1:
        raise ComoError(f"--seconds {seconds:g} and --rounds {rounds} must both be 1 or more")
    own, shared = np.zeros(3, int), np.zeros(3, int)
    for number in range(rounds):
        own += _beside_a_process(seconds)
        shared += _in_a_process(_beside_threads, seconds)
        say(f"round {number + 1}/{rounds}: own process {_told(own)}; threads beside it {_told(shared)}")
    late = [max(counts[1] + counts[2], 0) / (counts[0] + counts[2]) for counts in (own, shared)]
    ratio = late[0] / late[1] if late[1] else float("inf")
    rows = [
        at_most("L1", "late or missed ticks, own process / thread beside the burner", ratio, 0.3),
        at_least("L2", "share of set-points sent while both cores burn", own[0] / (own[0] + own[2]), 0.99),
    ]
    return {"own_late_share": late[0], "shared_late_share": late[1], "rows": rows}


def _told(counts: np.ndarray) -> str:
    rounds, late, missed = counts
    return f"{late} late and {missed} missed of {rounds + missed}"


def _beside_a_process(seconds: float) -> Counts:
    """The loop in a process, the burner in another."""
    spawn = multiprocessing.get_context("spawn")
    burner = spawn.Process(target=_burn_alone, daemon=True)
    burner.start()
    try:
        return _in_a_process(_follow, seconds)
    finally:
        burner.kill()
        burner.join()


def _in_a_process(work: Callable[[float], Counts], seconds: float) -> Counts:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (seconds,))


def _burn_alone() -> None:
    stop = threading.Event()
    for burn in (_burn_python, _burn_products):
        threading.Thread(target=burn, args=(stop,)).start()


def _beside_threads(seconds: float) -> Counts:
    """Both in one process."""
    stop = threading.Event()
    burners = [threading.Thread(target=burn, args=(stop,)) for burn in (_burn_python, _burn_products)]
    for burner in burners:
        burner.start()
    try:
        return _follow(seconds)
    finally:
        stop.set()
        for burner in burners:
            burner.join()


def _burn_python(stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        for _ in range(10_000):
            number += 1


def _burn_products(stop: threading.Event) -> None:
    matrix = np.eye(SIDE)
    while not stop.is_set():
        matrix = matrix @ matrix


def _follow(seconds: float) -> Counts:
    """Chunks every 0.4 s, set-points in between, as in the arm's loop."""
    run_before_others(PRIORITY)
    servo, pace, stop = Servo(ServoConfig(), ShieldConfig(), CENTRE, 0), Pace(), threading.Event()
    dance = Dance(np.random.default_rng(0))
    begun_ns = chunk_ns = 0
    for now_ns in beats(LoopConfig().rate_hz, pace, stop):
        begun_ns = begun_ns or now_ns
        servo.supervise(POLICY if now_ns > begun_ns else READY, now_ns)
        if now_ns - chunk_ns > CHUNK_EVERY_NS:
            chunk_ns = now_ns
            servo.command_chunk(now_ns + POSE_NS * np.arange(POSES), dance.chunk(now_ns), now_ns)
        pace.sent(servo.tick(now_ns), now_ns, servo.driver)
        if now_ns - begun_ns > seconds * 1e9:
            stop.set()
    return pace.rounds, pace.late, pace.missed

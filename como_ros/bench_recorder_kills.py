"""`como bench recorder --kills`: a recorder killed in the middle of an episode, over and over, under load.

Every bag must open, end less than a second before the kill, and hold every message up to its end.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import bags
from como_ros.bench_recorder import IMAGE_HZ, READY_S, recorder_up, scratch_folder, senders
from como_ros.errors import ComoError
from como_ros.gates import at_least, at_most
from como_ros.graphs import SWEEPER, Deployment, Process, environment
from como_ros.typestore import deserialize
from como_ros.up import Running

RECORDED_S = (0.7, 2.5)
"""From the first message to the kill; the moment is drawn from this range."""
ROUND_S = 20.0
"""More than any round takes."""
STREAMS = 6
"""Colour and depth of two cameras, joints and pose."""
FORGOTTEN_S = 4.0
"""Until the recorder killed before is known to nobody; before that it may hold up the senders."""


def run_kills(
    rounds: int, out: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Result of `como bench recorder --kills ROUNDS`."""
    if rounds < 1:
        raise ComoError(f"--kills {rounds} is less than one round")
    rng = np.random.default_rng(0)
    rows = []
    with scratch_folder(out) as folder:
        processes = [Process("sweeper", SWEEPER), *senders(folder, rounds * ROUND_S, IMAGE_HZ)]
        with Running(processes, folder / "loads", environment(Deployment(lab=True))) as loads:
            loads.start()
            for number in range(rounds):
                rows.append(_round(folder / f"round_{number}", float(rng.uniform(*RECORDED_S))))
                say(_sentence(number, rows[-1]))
                loads.check()
    return {
        "rows": [
            at_least("opens", "bags that open", sum(row["opens"] for row in rows), rounds),
            at_most("end", "most seconds a bag ends before the kill", max(row["short_s"] for row in rows), 1),
            at_most("absent", "streams of which a bag has nothing", sum(row["absent"] for row in rows), 0),
            at_most("holes", "messages missing before a bag's end", sum(row["missing"] for row in rows), 0),
        ],
        "rounds": rounds,
        "per_round": rows,
    }


def _sentence(number: int, row: dict[str, Any]) -> str:
    if not row["opens"]:
        return f"round {number + 1}: {row['error']}"
    told = f"{row['messages']} messages, {row['missing']} missing"
    told += f", {row['absent']} of {STREAMS} streams absent" if row["absent"] else ""
    return f"round {number + 1}: the bag ends {row['short_s']:.2f} s before the kill, {told}"


def _round(folder: Path, recorded_s: float) -> dict[str, Any]:
    with recorder_up(folder) as (running, station):
        time.sleep(FORGOTTEN_S)
        episode = Path(station.call("/recorder/start").removeprefix("recording "))
        deadline = time.monotonic() + READY_S
        while float(station.figures("recorder").get("messages", 0)) < IMAGE_HZ:
            if time.monotonic() > deadline:
                raise ComoError(f"nothing was recorded within {READY_S:.0f} s; is the machine too busy?")
            time.sleep(0.02)
        time.sleep(recorded_s)
        os.kill(running.pid("recorder"), signal.SIGKILL)
        killed_ns = time.time_ns()
    return _judged(episode, killed_ns)


def _judged(episode: Path, killed_ns: int) -> dict[str, Any]:
    try:
        messages = [(raw.log_ns, raw) for _, raw in bags.read_raw(episode)]
        if bags.read_meta(episode).closed or not messages:
            raise ComoError(f"{episode} was closed, or is empty; nobody was killed while recording")
    except ComoError as error:
        nothing = {"short_s": float("inf"), "missing": 0, "absent": STREAMS, "messages": 0}
        return {"opens": False, "error": str(error), **nothing}
    last_ns = max(log_ns for log_ns, _ in messages)
    numbers = _numbers(raw for _, raw in messages)
    return {
        "opens": True,
        "short_s": (killed_ns - last_ns) / 1e9,
        "missing": sum(max(seen) - min(seen) + 1 - len(set(seen)) for seen in numbers.values()),
        "absent": STREAMS - len(numbers),
        "messages": len(messages),
    }


def _numbers(messages: Any) -> dict[str, list[int]]:
    """What the senders counted, stream by stream."""
    seen: dict[str, list[int]] = {}
    for raw in messages:
        header = getattr(deserialize(raw.cdr, raw.channel.type), "header", None)
        if header is not None and header.frame_id.isdigit():
            seen.setdefault(raw.channel.topic, []).append(int(header.frame_id))
    return seen

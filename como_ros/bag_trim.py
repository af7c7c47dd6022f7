"""Idle time at both ends of an episode: found and said; cut off only in copies, never in the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import bags, wire
from como_ros.bag_writer import BagError, EpisodeWriter
from como_ros.errors import ComoError
from como_ros.mcap import RawMessage
from como_ros.runs import alone_in_new
from policies.timeline import EE_POSE, JOINTS

STILL_M, STILL_RAD, STILL_WIDTH_M = 0.003, 0.02, 0.002
"""Within these of where it is at an end, the arm has not begun, or has ended, to move."""
LEAD_KEPT_S, TAIL_KEPT_S = 0.3, 0.5
"""Left standing at both ends: a policy must learn to begin and to stop."""
WORTH_S = 0.2
"""Less is not worth a copy."""


@dataclass(frozen=True)
class Idle:
    """What could be cut off one episode."""

    begins_ns: int
    ends_ns: int
    """Arrival times between which messages are kept."""
    lead_s: float
    tail_s: float
    seconds: float
    """Of the whole recording."""


def run_trim(folder: Path, out: Path | None = None) -> dict[str, Any]:
    """Result of `como bags trim`; with `out` trimmed copies are written there."""
    found = bags.episodes(folder)
    if not found:
        raise BagError(f"{folder} holds no episodes; give an episode or a folder of them")
    with nullcontext() if out is None else alone_in_new(out):
        rows = [_row(path, out) for path in found]
    idle_s = sum(row["lead_s"] + row["tail_s"] for row in rows if not row["problem"])
    return {"episodes": len(rows), "idle_s": idle_s, "rows": rows}


def _row(path: Path, out: Path | None) -> dict[str, Any]:
    """Of one episode; what keeps it from being trimmed is its `problem`, and never the others'."""
    try:
        idle = find_idle(path)
        if out is not None:
            write_trimmed(path, out / path.name, idle)
    except ComoError as error:
        return {"path": str(path), "problem": str(error)}
    figures = {"seconds": idle.seconds, "lead_s": idle.lead_s, "tail_s": idle.tail_s}
    return {"path": str(path), "problem": "", **figures}


def find_idle(episode: Path) -> Idle:
    """By the measured pose and width, on the clock of arrival."""
    rows: dict[str, list[tuple[int, np.ndarray]]] = {EE_POSE: [], JOINTS: []}
    for arrival in bags.read_arrivals(episode, rows):
        rows[arrival.key].append((arrival.arrived_ns, arrival.value))
    if not rows[EE_POSE] or not rows[JOINTS]:
        raise BagError(f"{episode} does not say how the arm moved; give one with its pose and joint states")
    poses, joints = rows[EE_POSE], rows[JOINTS]
    if any(np.diff([at_ns for at_ns, _ in row]).min(initial=0) < -bags.LATE_NS for row in (poses, joints)):
        raise BagError(f"{episode}: the clock was set back while it was recorded; leave it out")
    first_ns, last_ns = min(poses[0][0], joints[0][0]), max(poses[-1][0], joints[-1][0])
    moves = [*_left(poses, _pose_moved), *_left(joints, _width_moved)]
    stops = [*_left(poses[::-1], _pose_moved), *_left(joints[::-1], _width_moved)]
    if not moves:
        raise BagError(f"{episode}: nothing moves in it; leave it out")
    lead_s = (min(moves) - first_ns) / 1e9 - LEAD_KEPT_S
    tail_s = (last_ns - max(stops)) / 1e9 - TAIL_KEPT_S
    lead_s, tail_s = (seconds if seconds > WORTH_S else 0.0 for seconds in (lead_s, tail_s))
    begins_ns, ends_ns = first_ns + round(lead_s * 1e9), last_ns - round(tail_s * 1e9)
    return Idle(begins_ns, ends_ns, lead_s, tail_s, (last_ns - first_ns) / 1e9)


def _left(rows: list[tuple[int, np.ndarray]], moved: Callable[..., bool]) -> Iterator[int]:
    """When the value of the first row was left; nothing where it never is."""
    stamps = (stamp for stamp, value in rows if moved(rows[0][1], value))
    yield from islice(stamps, 1)


def _pose_moved(one: np.ndarray, other: np.ndarray) -> bool:
    turn_rad = 2 * np.arccos(min(1.0, abs(float(one[3:] @ other[3:]))))
    return bool(np.linalg.norm(one[:3] - other[:3]) > STILL_M or turn_rad > STILL_RAD)


def _width_moved(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(abs(one[7] - other[7]) > STILL_WIDTH_M)


def write_trimmed(episode: Path, target: Path, idle: Idle) -> None:
    """A copy of what lies between; of topics that hold, as the instruction, also what was said before."""
    meta = bags.read_meta(episode)
    told = {"git_hash": meta.git_hash, **meta.provenance}
    writer = EpisodeWriter(target, meta.contract, meta.instruction, **told)
    held: dict[str, RawMessage] = {}
    begun = False
    for _, raw in bags.read_raw(episode):
        topic = raw.channel.topic
        if topic not in wire.KNOWN or raw.log_ns > idle.ends_ns:
            continue
        if raw.log_ns < idle.begins_ns:
            if wire.topic(topic).qos == "state":
                held[topic] = raw
            continue
        if not begun:
            begun = True
            for earlier in held.values():
                writer.write(earlier.channel.topic, idle.begins_ns, earlier.cdr)
        writer.write(topic, raw.log_ns, raw.cdr)
    writer.close(meta.outcome, trimmed=f"{idle.lead_s:.2f} s before, {idle.tail_s:.2f} s after")

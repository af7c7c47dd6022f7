"""What is wrong with a folder of episodes: damage, missing streams, holes, drops, mixed contracts.

One bad episode never hides the others. Rates, holes and missing messages come from capture stamps; what the
recorder itself lost is in the bag and reported beside them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import bag_repair, bags, wire
from como_ros.errors import ComoError
from como_ros.stamp_checks import Stamps, stamp_problems
from policies.spaces import CAMERAS, Contract, image_key
from policies.timeline import EE_POSE, JOINTS, observation_streams

EDGE_NS = 500_000_000
"""So long after an episode's begin a stream may begin, and before its end end."""
MISSING_FACTOR = 1.5
"""An interval this many times the median one means that messages are missing."""
OPEN = "it is still being recorded, or was a moment ago: keep it, or look again in some seconds"
KILLED = "its writer was killed: run `como bags check --repair` to keep what is whole"
HALF_MOVED = "its repair was killed: run `como bags check --repair` to bring that to its end"
HOUSEKEEPING = ("/rosout", "/parameter_events", "/tf", "/events/", "/robot_description", "/clock")
"""What every ROS 2 graph publishes beside the wire."""
CAPTURED = {t.key for t in wire.TOPICS.values() if t.qos in ("sensor", "stream") and t.rate_hz > 0}
"""Streams stamped where they were captured."""
MANY_WRITERS = {"diagnostics"}
"""Each node stamps its own, so that they need not arrive in the order of their stamps."""
SAID = {topic.key for topic in wire.TOPICS.values() if topic.type.startswith("std_msgs/")}
"""Without a header, hence stamped when the recorder heard them."""
HEARD_NS = 500_000_000
"""What a recorder remembers at an episode's beginning is written before what then still waits to be heard."""
PERIODIC = {topic.key for topic in wire.TOPICS.values() if topic.rate_hz > 0}


def run_check(folder: Path, repair: bool = False) -> dict[str, Any]:
    """Result of `como bags check`: every episode with its rates, gaps, drops and problems."""
    half_moved = bag_repair.half_moved(folder)
    repaired = {path: bag_repair.put_back(path) for path in half_moved} if repair else {}
    found = bags.episodes(folder)
    if not found and not half_moved:
        raise bags.BagError(f"{folder} holds no episodes; record some or run `como demos --out {folder}`")
    repaired |= {path: _repaired(path) for path in found if path not in repaired} if repair else {}
    rows = [check_episode(path) | {"repaired": repaired.get(path, "")} for path in found]
    rows += [_row(path, HALF_MOVED) | {"repaired": ""} for path in half_moved if path not in repaired]
    _compare_contracts(rows)
    return {"episodes": [{key: value for key, value in row.items() if key != "contract"} for row in rows]}


def _repaired(path: Path) -> str:
    """What repairing did; empty where there was nothing to mend."""
    try:
        return bag_repair.repair(path) if bag_repair.needs_repair(path) else ""
    except (ComoError, OSError) as error:
        return f"not repaired: {error}"


def _row(path: Path, *problems: str) -> dict[str, Any]:
    found: dict[str, Any] = {"rates_hz": {}, "gaps": [], "drops": {}, "problems": list(problems)}
    return {"path": str(path), "ok": False, **found}


def check_episode(path: Path) -> dict[str, Any]:
    """One episode's row; `ok` means that every observation it should give is there."""
    row = _row(path)
    try:
        meta = bags.read_meta(path)
        row |= {"outcome": meta.outcome, "instruction": meta.instruction, "contract": meta.contract}
        row["flags"] = list(meta.flags)
        row["problems"] += [f"flagged while it was recorded: {flag}" for flag in meta.flags]
        row["recorder_drops"] = json.loads(meta.provenance.get("drops", "{}"))
        if not meta.closed:
            row["problems"].append(KILLED if bag_repair.quiet_s(path) > bag_repair.SETTLED_S else OPEN)
        stamps = _stamps(path, meta.contract, row["problems"])
        _check_streams(row, meta.contract, {key: times.captured_ns for key, times in stamps.items()})
        row["problems"] += stamp_problems({key: stamps[key] for key in sorted(CAPTURED & set(stamps))})
    except (ValueError, OSError) as error:  # every error of ours is a ValueError
        row["problems"].append(str(error))
    row["ok"] = not row["problems"]
    return row


def _stamps(path: Path, contract: Contract, problems: list[str]) -> dict[str, Stamps]:
    """Key -> times in the order of arrival; notes wrong image sizes and unknown topics, each once."""
    times: dict[str, list[tuple[int, int]]] = defaultdict(list)
    wrong: dict[str, tuple[int, ...]] = {}
    unknown: dict[str, int] = {}
    for arrived_ns, key, stamp_ns, value in bags.read_arrivals(path, passed_over=unknown):
        times[key].append((arrived_ns, stamp_ns))
        if key.startswith("images/") and value.shape[:2] != contract.image_hw:
            wrong[key] = value.shape[:2]
    problems += [f"{key} is {size}, the contract says {contract.image_hw}" for key, size in wrong.items()]
    problems += [
        f"{topic}, first at {first_ns} ns, is not on the wire; remap it or keep it out of episodes"
        for topic, first_ns in unknown.items()
        if not topic.startswith(HOUSEKEEPING)
    ]
    return {key: Stamps(*np.array(rows, np.int64).T) for key, rows in times.items()}


def _check_streams(row: dict[str, Any], contract: Contract, stamps: dict[str, np.ndarray]) -> None:
    streams = observation_streams(contract)
    missing = [key for key in streams if key not in stamps]
    row["problems"] += [f"{key} was never recorded" for key in missing]
    span = _span(stamps)
    for key, values in sorted(stamps.items()):
        back_ns = np.diff(values).min(initial=0)
        if key not in MANY_WRITERS and back_ns < (-HEARD_NS if key in SAID else 0):
            row["problems"].append(f"{key} has stamps that go backwards; two publishers or a clock reset")
        if key in streams:
            row["gaps"] += _gaps(key, np.sort(values), streams[key].max_age_ns, span)
        if key in PERIODIC and len(values) >= 3:
            row["rates_hz"][key], row["drops"][key] = _rate_and_missing(np.sort(values))
    row["seconds"] = (span[1] - span[0]) / 1e9
    row["problems"] += [f"{gap['key']} is silent for {gap['seconds']:.2f} s" for gap in row["gaps"]]


def _rate_and_missing(stamps: np.ndarray) -> tuple[float, int]:
    steps = np.diff(stamps)
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0, 0
    median = float(np.median(steps))
    late = steps[steps > MISSING_FACTOR * median]
    return 1e9 / median, int((np.round(late / median) - 1).sum())


def _gaps(key: str, stamps: np.ndarray, limit_ns: int, span: tuple[int, int]) -> list[dict[str, Any]]:
    """Silences longer than the stream's maximum age: there is no observation inside them.

    Also before its first value and after its last, where no stream begins or ends in the same instant.
    """
    moments = np.array([span[0], *stamps, span[1]], np.int64)
    steps, allowed_ns = np.diff(moments), np.full(len(moments) - 1, limit_ns)
    allowed_ns[[0, -1]] += EDGE_NS
    return [
        {"key": key, "stamp_ns": int(moments[i]), "seconds": float(steps[i] / 1e9)}
        for i in np.flatnonzero(steps > allowed_ns)
    ]


def _span(stamps: dict[str, np.ndarray]) -> tuple[int, int]:
    """First and last capture of what is observed."""
    observed = [stamps[key] for key in (JOINTS, EE_POSE, *map(image_key, CAMERAS)) if key in stamps]
    if not observed:
        return 0, 0
    return int(min(s.min() for s in observed)), int(max(s.max() for s in observed))


def _compare_contracts(rows: list[dict[str, Any]]) -> None:
    """The first readable episode's contract is the folder's; the others must agree."""
    known = [row for row in rows if "contract" in row]
    for row in known[1:]:
        if found := known[0]["contract"].differences(row["contract"]):
            row["problems"].append(f"another contract than {known[0]['path']}: " + "; ".join(found))
            row["ok"] = False

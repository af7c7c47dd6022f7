"""`como bench camera`: whether the camera node keeps up with two VGA cameras at 30 Hz; how old frames get.

Pictures drawn beforehand go through librealsense's software device, the driver and the node to a subscriber
in another process; they are numbered, so that what is missing there is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from como_ros.bench_recorder import cpu_s, scratch_folder
from como_ros.errors import ComoError
from como_ros.gates import at_most
from como_ros.graphs import Deployment, Process
from como_ros.lab.canned_feed import draw_pictures
from como_ros.up import processes_up
from policies.spaces import CAMERAS

HW, RATE_HZ = (480, 640), 30
WARM_UP_S = 2.0
MOST_PERIODS = 2.0


def run_bench(seconds: float = 60.0, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Result of `como bench camera`."""
    if seconds < 1:
        raise ComoError(f"--seconds {seconds:g} is too short to count anything; give 1 or more")
    topics = [f"/{camera}/color/image_raw" for camera in CAMERAS]
    with scratch_folder(None) as folder:
        node = _camera_node(draw_pictures(folder / "pictures.npz", HW))
        seen, share = _watched(node, topics, folder / "logs", seconds)
    result = _result(seen, share)
    say(f"{result['received']} pictures, {result['lost']} lost, age p50 {result['age_p50_ms']:.1f} ms")
    return result


def _watched(
    node: Process, topics: list[str], logs: Path, seconds: float
) -> tuple[dict[str, list[Any]], float]:
    """(pictures that came, by topic; the node's share of a processor)."""
    with processes_up([node], Deployment(lab=True), logs) as (running, _):
        from como_ros.nodes.arrivals import Arrivals

        with Arrivals(topics) as arrivals:
            time.sleep(WARM_UP_S)
            first = {topic: len(pictures) for topic, pictures in arrivals.pictures.items()}
            begun_s, begun_cpu = time.monotonic(), cpu_s(running.pid("camera"))
            while time.monotonic() - begun_s < seconds:
                running.check()
                time.sleep(0.1)
            share = (cpu_s(running.pid("camera")) - begun_cpu) / (time.monotonic() - begun_s)
            seen = {topic: pictures[first[topic] :] for topic, pictures in arrivals.pictures.items()}
    return seen, share


def _camera_node(pictures: Path) -> Process:
    parameters = {"canned": str(pictures), "width": HW[1], "height": HW[0], "rate_hz": RATE_HZ}
    return Process("camera", "como_ros.nodes.camera", parameters)


def _result(seen: dict[str, list[Any]], share: float) -> dict[str, Any]:
    received = sum(map(len, seen.values()))
    if not all(seen.values()):
        raise ComoError(f"no pictures of {[topic for topic, rows in seen.items() if not rows]} came")
    lost = sum(rows[-1].number - rows[0].number + 1 - len(rows) for rows in seen.values())
    ages_s = np.array([picture.age_s for rows in seen.values() for picture in rows])
    p50, p90, p99 = np.percentile(ages_s, (50, 90, 99))
    return {
        "rows": [
            at_most("lost", "pictures lost on the way to another process", lost, 0),
            at_most("age", "median age there in frame periods", float(p50) * RATE_HZ, MOST_PERIODS),
        ],
        "received": received,
        "lost": lost,
        "age_p50_ms": float(p50) * 1e3,
        "age_p90_ms": float(p90) * 1e3,
        "age_p99_ms": float(p99) * 1e3,
        "cpu_share": share,
    }

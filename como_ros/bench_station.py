"""`como bench station`: whether this machine carries a whole station, and with how much to spare.

The scripted operator records episodes in the lab, through DDS and the arm's protocol, while a share of every
core is taken away as a busy neighbour would; nine of ten must succeed, all must be healthy.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from como_ros.bench_recorder import cpu_s
from como_ros.drivers.priority import run_before_others, run_like_others
from como_ros.episodes import EpisodeLoop
from como_ros.errors import ComoError, require_between
from como_ros.gates import at_least, at_most
from como_ros.graphs import Deployment
from como_ros.host_watch import HostWatch, kept
from como_ros.lab.client import LabClient
from como_ros.up import Running, graph_up
from policies.spaces import EVALUATION_SEEDS_FROM

TASK = "pick_place"
TAKERS_PRIORITY = 98
"""Before all of the station but libfranka's own thread."""
PERIOD_S = 1e-3
BEGUN_S = 30.0
LEAST_SUCCESSES = 0.9
LOST_IN_A_ROW = 19
"""Twenty stop a robot."""


def run_bench(
    episodes: int = 10,
    taken: float = 0.0,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Result of `como bench station`."""
    if not 1 <= episodes <= 1000:
        raise ComoError(f"--episodes {episodes} is not between 1 and 1000")
    if not 0 <= seed <= (last := EVALUATION_SEEDS_FROM - episodes):
        raise ComoError(f"--seed {seed} is not between 0 and {last}; later ones are kept for evaluation")
    require_between("--taken", taken, 0.0, 0.9)
    result: dict[str, Any] = {"taken": taken, "episodes": 0, "successes": 0, "per_episode": []}
    with tempfile.TemporaryDirectory(prefix="como_station_") as folder:
        deployment = Deployment(lab=True, task=TASK, out=folder, device="scripted")
        whole = graph_up("teleop", deployment, Path(folder) / "logs", say)
        with cores_taken(taken), whole as (running, station):
            begun, before, host = time.monotonic(), _used(running), HostWatch()
            EpisodeLoop(station, "teleop", deployment, running.check, say).run(seed, episodes, result)
            seconds, after = time.monotonic() - begun, _used(running)
            result["host_share"] = host.share()
            steady = [name for name in running.names if after[name][0] == before[name][0]]
            result["restarted"] = sorted(set(running.names) - set(steady))
            result["cores"] = {name: (after[name][1] - before[name][1]) / seconds for name in steady}
            result["control"] = _control(deployment.lab_control)
        result["problems"] = _problems(Path(folder))
    for problem in result["problems"]:
        say(problem)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in result["cores"].items())
    taken_by_it = f"{sum(result['cores'].values()):.2f} ({shares}){kept(result['host_share'])}"
    say(f"cores that the station takes: {taken_by_it}")
    return result | {"rows": _rows(result)}


@contextmanager
def cores_taken(share: float) -> Iterator[list[int]]:
    """That share of every core, a part of every millisecond of it; yields the processes that take it.

    Only once all of them have begun: each starts an interpreter first, sooner or later.
    """
    if share and not run_before_others(TAKERS_PRIORITY):
        raise ComoError("to take cores away needs root; run without --taken")
    run_like_others()
    spawn = multiprocessing.get_context("spawn")
    begun = {core: spawn.Event() for core in (os.sched_getaffinity(0) if share else ())}
    takers = [spawn.Process(target=_take, args=(core, share, begun[core]), daemon=True) for core in begun]
    try:
        for taker in takers:
            taker.start()
        for core, event in begun.items():
            if not event.wait(BEGUN_S):
                raise ComoError(f"core {core} was not taken within {BEGUN_S:g} s; run it on one less busy")
        yield [taker.pid for taker in takers if taker.pid]
    finally:
        for taker in takers:
            if taker.pid:
                taker.kill()
                taker.join()


def _take(core: int, share: float, begun: Event) -> None:
    os.sched_setaffinity(0, {core})
    run_before_others(TAKERS_PRIORITY)
    begun.set()
    due, parent = time.monotonic(), os.getppid()
    while os.getppid() == parent:
        until = time.monotonic() + share * PERIOD_S
        while time.monotonic() < until:
            continue
        due = max(due + PERIOD_S, until)
        time.sleep(max(0.0, due - time.monotonic()))


def _used(running: Running) -> dict[str, tuple[int, float]]:
    """Number and processor seconds of each process of the graph so far."""
    return {name: (pid, cpu_s(pid)) for name in running.names if (pid := running.pid(name))}


def _control(path: str) -> dict[str, Any]:
    client = LabClient(path)
    status = client.status()
    client.close()
    return {**status["control"], "realtime_factor": status["realtime_factor"]}


def _problems(folder: Path) -> list[str]:
    """What `como bags check` says, of each episode that is not healthy."""
    from como_ros.bag_checks import run_check

    rows = run_check(folder)["episodes"]
    return [f"{Path(row['path']).name}: {'; '.join(row['problems'])}" for row in rows if not row["ok"]]


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    succeeded = result["successes"] / result["episodes"]
    return [
        at_least("T1", "share of episodes that succeed", succeeded, LEAST_SUCCESSES),
        at_most("T2", "episodes that are not healthy", len(result["problems"]), 0),
        at_most("T3", "control cycles lost in a row", result["control"]["longest_lost_run"], LOST_IN_A_ROW),
        at_most("T4", "nodes that had to be started again", len(result["restarted"]), 0),
    ]

"""Bring a graph up as processes and take it down again, whole, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from como_ros.errors import ComoError
from como_ros.graphs import Deployment, Process, environment, graph
from como_ros.lab.client import LabClient
from como_ros.leash import leashed
from como_ros.restarts import MOST, WITHIN_S, Restarts
from como_ros.sentry import Sentry

LAB_READY_S = 120.0
NODES_READY_S = 60.0
GRACE_S = 5.0


class Running:
    """The processes of a graph, each logging to a file of its own; leaving the block ends every one.

    Once `restarts` is given, a node that ends is started again, up to three times a minute.
    """

    def __init__(
        self, processes: Sequence[Process], logs: Path, variables: dict[str, str], grace_s: float = GRACE_S
    ) -> None:
        self._processes = processes
        self._grace_s = grace_s
        self._logs = logs
        self._environment = {**os.environ, **variables}
        self._started: list[tuple[Process, subprocess.Popen[bytes]]] = []
        self.restarts: Restarts | None = None
        self.on_restart: Callable[[str, str], None] = lambda name, why: None
        """Told the name of a node that was started again, and how it had ended."""

    def __enter__(self) -> Running:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, only: str = "") -> None:
        """Start what does not run yet, or just the process named `only`."""
        running = {process.name for process, _ in self._started}
        for process in self._processes:
            if process.name not in running and only in ("", process.name):
                self._started.append((process, self._spawn(process)))

    def _spawn(self, process: Process, mode: str = "wb") -> subprocess.Popen[bytes]:
        with self.log(process.name).open(mode) as log:
            return subprocess.Popen(
                leashed(process.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(process.name for process in self._processes)

    def pid(self, name: str) -> int:
        return next(child.pid for process, child in self._started if process.name == name)

    def check(self) -> None:
        """Start a node that has ended once more where that is allowed; else raise with its last words."""
        for place, (process, child) in enumerate(self._started):
            if (code := child.poll()) is not None:
                ended = f"{process.name} ended with code {code}, saying: {self.last_words(process.name)}"
                self._require_another_try(process, ended)
                self._started[place] = process, self._spawn(process, "ab")
                self.on_restart(process.name, ended)

    def last_words(self, name: str) -> str:
        """The end of its log."""
        lines = self.log(name).read_text(errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'nothing'} (whole log: {self.log(name)})"

    def _require_another_try(self, process: Process, ended: str) -> None:
        if self.restarts is None or not process.may_begin_again:
            raise ComoError(ended)
        if not self.restarts.allow(process.name, time.monotonic()):
            often = f"it was started again {MOST} times within {WITHIN_S:.0f} s"
            raise ComoError(f"{ended}; {often}: mend it first")

    def stop(self) -> None:
        """Ask every process to end, last started first, and end those that do not.

        Whoever is impatient and interrupts again cuts the wait short, and leaves nobody behind.
        """
        ending = self._started[::-1]
        self._started.clear()
        try:
            for _, child in ending:
                _signal_group(child, signal.SIGTERM)
            deadline = time.monotonic() + self._grace_s
            for _, child in ending:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for _, child in ending:
                _signal_group(child, signal.SIGKILL)
            for _, child in ending:
                child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    """To the process and to whatever it started itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


@contextlib.contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGINT raise KeyboardInterrupt, even where a shell started us with SIGINT ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def processes_up(
    processes: Sequence[Process], deployment: Deployment, logs: Path
) -> Iterator[tuple[Running, Any]]:
    """These processes, ready, a lab among them first: yields them and a station to talk to them."""
    variables = environment(deployment)
    os.environ.update(variables)  # the station speaks as the nodes do
    from como_ros.nodes.station import Station

    with stop_signals_interrupt(), Station() as station, Running(processes, logs, variables) as running:
        station.require_alone()
        if any(process.name == "lab" for process in processes):
            running.start("lab")
            wait_for_lab(running, deployment.lab_control)
        running.start()
        station.wait_ready(_nodes(processes), NODES_READY_S, running.check)
        yield running, station


def _nodes(processes: Sequence[Process]) -> list[str]:
    return [process.name for process in processes if process.is_node]


@contextlib.contextmanager
def graph_up(
    scenario: str, deployment: Deployment, logs: Path, say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[Running, Any]]:
    """The whole graph, ready: yields its processes and a station to talk to it.

    A node that ends stops the supervisor at once, and `check` starts it again. The lab's end is the graph's.
    """
    processes = graph(scenario, deployment)
    with (
        processes_up(processes, deployment, logs) as (running, station),
        Sentry(lambda _: station.stop_at_once()) as sentry,
    ):
        nodes = _nodes(processes)

        def begin_again(name: str, ended: str) -> None:
            if name not in nodes:
                return
            station.forget(name)
            sentry.watch(name, running.pid(name))
            say(f"{ended}; started again, the arm is stopped and waits for a release")

        for name in nodes:
            sentry.watch(name, running.pid(name))
        running.restarts, running.on_restart = Restarts(), begin_again
        yield running, station


def wait_for_lab(running: Running, control: str) -> None:
    deadline = time.monotonic() + LAB_READY_S
    while True:
        running.check()
        with contextlib.suppress(ComoError):
            client = LabClient(control)
            answers = int(client.status()["pid"])
            client.close()
            if answers == running.pid("lab"):
                return
        if time.monotonic() > deadline:
            raise ComoError(
                f"the lab was not ready after {LAB_READY_S:.0f} s, perhaps another holds the arm's ports; "
                f"see {running.log('lab')}"
            )
        time.sleep(0.1)


def up(
    scenario: str,
    deployment: Deployment,
    episodes: int = 0,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """`como up`: run `episodes` episodes and count, or, for 0, stay up until interrupted."""
    from como_ros.episodes import EpisodeLoop, require_run

    if doubt := require_run(scenario, deployment, episodes, seed):
        say(doubt)
    logs = Path(deployment.out) / "logs"
    result: dict[str, Any] = {"episodes": 0, "successes": 0, "per_episode": []}
    whole = graph_up(scenario, deployment, logs, say)
    with contextlib.suppress(KeyboardInterrupt), whole as (running, station):
        page = f"; console {station.message('console')}" if "console" in running.names else ""
        say(f"{scenario} is ready; logs in {logs}{page}")
        if episodes:
            EpisodeLoop(station, scenario, deployment, running.check, say).run(seed, episodes, result)
        while not episodes:
            running.check()
            time.sleep(0.2)
    return result


def evaluate_on_graph(
    bundle: Path,
    task: str,
    episodes: int,
    seed: int,
    out: Path,
    say: Callable[[str], None] = lambda _: None,
    spread: str = "training",
) -> dict[str, Any]:
    """`como evaluate --ros`: what `evaluate` reports, counted on the whole graph instead of in fast mode."""
    from como_ros.lab.evaluate import wilson_interval

    deployment = Deployment(lab=True, task=task, bundle=str(bundle), out=str(out), spread=spread)
    result = up("autonomous", deployment, episodes, seed, say)
    if not result["episodes"]:
        raise ComoError(f"interrupted before the first of {episodes} episodes ended; nothing to count")
    rate = result["successes"] / result["episodes"]
    return {**result, "rate": rate, "ci95": list(wilson_interval(result["successes"], result["episodes"]))}

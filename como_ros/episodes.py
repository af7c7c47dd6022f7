"""The episode loop on the running graph: place the objects, drive or let the policy run, judge, count.

A robot without the lab's extra comes here too, so the lab's tasks are imported where a lab is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from como_ros.control.supervision import POLICY, TELEOP
from como_ros.errors import ComoError
from como_ros.graphs import SILENT, Deployment, graph
from como_ros.lab.client import LabClient
from policies.spaces import EVALUATION_SEEDS_FROM

SETTLE_S = 0.5
"""After the objects have been placed: the cameras must have seen them."""
POLL_S = 0.05
HOME_TRIES, BEGIN_TRIES = 3, 2
NEWS_S = 0.3
"""The arm says within 0.1 s that it has stopped or goes on."""
ARMED_AS = {"teleop": TELEOP, "autonomous": POLICY}
HELPED = "a person took over"
BACK_S = 60.0
"""Nodes that were started again speak within this time."""


class Graph(Protocol):
    """What the loop needs of a station."""

    supervisor_state: str

    def call(self, service: str) -> str: ...

    def say(self, instruction: str) -> None: ...

    def figures(self, node: str) -> dict[str, str]: ...

    def message(self, node: str) -> str: ...


def require_run(scenario: str, deployment: Deployment, episodes: int, seed: int) -> str:
    """Refuse what cannot be run before anything is brought up; -> what is doubtful about it."""
    if episodes < 0:
        raise ComoError(f"--episodes must be at least 1, or 0 to stay up, got {episodes}")
    if episodes and not deployment.lab:
        raise ComoError("counted episodes need the lab, which resets and judges them; give --lab")
    if deployment.lab:
        from como_ros.lab.tasks import get_task

        get_task(deployment.task).require_seeds(seed, max(episodes, 1), deployment.spread)
    if scenario == "teleop" and seed + episodes > EVALUATION_SEEDS_FROM:
        return f"seeds from {EVALUATION_SEEDS_FROM} on are for evaluation only: nothing is learned from them"
    return ""


class EpisodeLoop:
    """Episodes of one task from consecutive seeds, every one recorded and judged by the lab."""

    def __init__(
        self,
        station: Graph,
        scenario: str,
        deployment: Deployment,
        check: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """`check` starts nodes that have ended once more, or raises."""
        from como_ros.lab.tasks import get_task

        self._station = station
        self._mode = ARMED_AS[scenario]
        self._lab = LabClient(deployment.lab_control)
        self._task, self._spread = get_task(deployment.task), deployment.spread
        self._nodes = [process.name for process in graph(scenario, deployment) if process.is_node]
        self._check = check
        self._say = say
        self._helped = False
        """Whether a person took over in this episode."""

    def run(self, seed: int, episodes: int, result: dict[str, Any]) -> None:
        """Fill `result` as episodes end, so that an interrupted run keeps its count."""
        for number in range(episodes):
            row = self.episode(seed + number)
            result["per_episode"].append(row)
            result["episodes"] += 1
            result["successes"] += row["success"]
            if figures := _numbers(self._station.figures("policy")):
                result["policy"] = figures
            outcome = "success" if row["success"] else f"failure: {row['reason']}"
            self._say(
                f"episode {number + 1}/{episodes}, seed {seed + number}: {outcome} in {row['seconds']:.1f} s"
            )

    def episode(self, seed: int) -> dict[str, Any]:
        layout = self._task.sample(seed, self._spread)
        begin(self._station, self._mode, lambda: self._prepare(layout.instruction, seed), self._say)
        begun = self._lab.status()["time"]
        self._helped = False
        status = self._watch(begun)
        kept = end(self._station, "/recorder/keep_success" if status["success"] else "/recorder/keep_failure")
        return {
            "seed": seed,
            "success": bool(status["success"]) and not self._helped,
            "reason": "; ".join(filter(None, (HELPED if self._helped else status["reason"], kept))),
            "intervention": self._helped,
            "seconds": status["time"] - begun,
            "instruction": layout.instruction,
        }

    def _prepare(self, instruction: str, seed: int) -> None:
        """From wherever the last episode ended to home, released, with the objects in place."""
        wait_for_all(self._station, self._nodes, self._check)
        bring_home(self._station, self._check)
        self._lab.reset(seed)
        self._station.say(instruction)
        time.sleep(SETTLE_S)

    def _watch(self, begun: float) -> dict[str, Any]:
        """The lab's verdict: at once on success, else at the time limit or when the supervisor stops.

        What a person helps with goes on, but counts for no success of the policy.
        """
        armed = time.monotonic()
        while True:
            self._check()
            status = self._lab.status()
            if status["success"]:
                return status
            if status["time"] - begun > self._task.time_limit_s:
                return {**status, "reason": f"out of time: {status['reason']}"}
            if is_faulted(self._station):
                return {**status, "reason": self._station.message("arm")}
            state = self._station.supervisor_state
            self._helped |= self._mode == POLICY and state == TELEOP
            if time.monotonic() - armed > 1.0 and state not in (POLICY, TELEOP):
                return {**status, "reason": f"supervisor went to {state}"}
            time.sleep(POLL_S)


def begin(station: Graph, mode: str, prepare: Callable[[], None], say: Callable[[str], None]) -> None:
    """Prepare, record, arm; anew where a node ended on the way, which has the supervisor stopped."""
    for tries_left in reversed(range(BEGIN_TRIES)):
        prepare()
        try:
            station.call("/recorder/start")
            station.call(f"/supervisor/{mode}")
            return
        except ComoError as error:
            end(station, "/recorder/discard")
            if not tries_left:
                raise
            say(f"{error}; the episode begins anew")


def end(station: Graph, service: str) -> str:
    """Stop, and tell the recorder; what nodes refuse that were started again meanwhile, or nothing."""
    refusals = []
    for name in ("/supervisor/stop", service):
        try:
            station.call(name)
        except ComoError as error:
            refusals.append(str(error))
    return "; ".join(refusals)


def wait_for_all(station: Graph, nodes: Collection[str], check: Callable[[], None]) -> None:
    """Until those that were started again have spoken and the arm answers."""
    deadline = time.monotonic() + BACK_S
    while missing := [name for name in nodes if is_away(station, name)]:
        check()
        if time.monotonic() > deadline:
            said = "; ".join(f"{name}: {station.message(name)}" for name in missing)
            raise ComoError(f"not back after {BACK_S:.0f} s: {said}; see the logs")
        time.sleep(POLL_S)


def is_away(station: Graph, node: str) -> bool:
    return station.message(node) == SILENT or station.figures(node).get("mode") == "connecting"


def is_faulted(station: Graph) -> bool:
    """As far as the arm has said."""
    return station.figures("arm").get("mode") == "fault"


def bring_home(station: Graph, check: Callable[[], None]) -> None:
    """Stopped, recovered where that is needed, released, home: starting the next episode is the consent.

    A fault may not be known here yet, may have cleared itself meanwhile, may end the sweep: then once more.
    """
    wait_for_all(station, ["arm"], check)
    for tries_left in reversed(range(HOME_TRIES)):
        check()
        try:
            station.call("/supervisor/stop")
            if is_faulted(station):
                station.call("/arm/recover")
            station.call("/supervisor/release")
            station.call("/arm/home")
            return
        except ComoError:
            if not tries_left:
                raise
            time.sleep(NEWS_S)


def _numbers(figures: dict[str, str]) -> dict[str, float]:
    return {key: float(value) for key, value in figures.items()}

"""How an episode begins and ends on a graph whose nodes may end at any moment."""

import time

import pytest

from como_ros.control.supervision import POLICY, STOPPED, RefusedError, Supervision
from como_ros.episodes import begin, end
from como_ros.errors import ComoError


class Desk:
    """Supervisor and recorder in one place; a node of theirs ends after each release, so often."""

    def __init__(self, deaths: int) -> None:
        self.supervision, self.deaths = Supervision(), deaths
        self.recording, self.discarded = False, 0

    @property
    def supervisor_state(self) -> str:
        return self.supervision.state

    def call(self, service: str) -> str:
        node, _, name = service.strip("/").partition("/")
        return self._supervise(name) if node == "supervisor" else self._record(name)

    def _supervise(self, name: str) -> str:
        if name == POLICY and self.deaths:  # what the sentry does when it sees one end
            self.deaths -= 1
            self.supervision = self.supervision.request("stop", time.monotonic_ns())
        try:
            self.supervision = self.supervision.request(name, time.monotonic_ns())
        except RefusedError as refusal:
            raise ComoError(str(refusal)) from refusal
        return name

    def _record(self, name: str) -> str:
        if self.recording == (name == "start"):
            raise ComoError(f"/recorder/{name} refused")
        self.recording, self.discarded = name == "start", self.discarded + (name == "discard")
        return name

    def say(self, instruction: str) -> None:
        raise AssertionError(instruction)

    def figures(self, node: str) -> dict[str, str]:
        return {}

    def message(self, node: str) -> str:
        return node


def test_an_episode_whose_node_ends_between_release_and_arming_begins_anew_with_a_sentence():
    desk, said = Desk(deaths=1), []
    begin(desk, POLICY, lambda: desk.call("/supervisor/release"), said.append)
    assert (desk.supervisor_state, desk.recording, desk.discarded) == (POLICY, True, 1)
    assert said == [
        "policy refused: the state is stopped, it is allowed from ready or teleop; the episode begins anew"
    ]


def test_a_graph_in_which_nothing_can_be_armed_ends_the_run_stopped_and_records_nothing():
    desk = Desk(deaths=9)
    with pytest.raises(ComoError, match="policy refused: the state is stopped"):
        begin(desk, POLICY, lambda: desk.call("/supervisor/release"), lambda _: None)
    assert (desk.supervisor_state, desk.recording, desk.discarded) == (STOPPED, False, 2)


def test_an_episode_ends_stopped_also_where_the_recorder_has_nothing_to_keep():
    desk = Desk(deaths=0)
    begin(desk, POLICY, lambda: desk.call("/supervisor/release"), lambda _: None)
    desk.call("/recorder/discard")
    assert end(desk, "/recorder/keep_failure") == "/recorder/keep_failure refused"
    assert desk.supervisor_state == STOPPED

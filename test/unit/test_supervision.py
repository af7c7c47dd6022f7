"""The supervisor's state machine: nothing moves unless released and armed, in that order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from como_ros.control.supervision import (
    POLICY,
    READY,
    REQUESTS,
    STOPPED,
    TELEOP,
    Licence,
    RefusedError,
    Supervision,
)

TIMEOUT_NS = 500_000_000


def test_starts_stopped():
    assert Supervision().state == STOPPED


def test_release_then_arm_reaches_teleop_and_policy():
    ready = Supervision().request("release", 1)
    assert ready.state == READY
    assert ready.request("teleop", 2).state == TELEOP
    assert ready.request("policy", 2).state == POLICY


@pytest.mark.parametrize("name", ["teleop", "policy"])
def test_arming_without_release_is_refused_with_both_states_named(name):
    with pytest.raises(
        RefusedError, match=f"{name} refused: the state is stopped, it is allowed from ready or"
    ):
        Supervision().request(name, 1)


def test_stop_latches_until_released_and_armed_again():
    stopped = Supervision().request("release", 1).request("policy", 2).request("stop", 3)
    with pytest.raises(RefusedError):
        stopped.request("policy", 4)
    assert stopped.request("release", 4).request("policy", 5).state == POLICY


def test_a_person_takes_over_from_a_policy_and_hands_back():
    running = Supervision().request("release", 1).request("policy", 2)
    taken = running.request("teleop", 3)
    assert (taken.state, taken.reason) == (TELEOP, "teleop requested")
    assert taken.deadman(True, 4).request("policy", 5).state == POLICY


def test_who_took_over_and_lets_go_stops_everything_and_the_policy_does_not_go_on():
    taken = Supervision().request("release", 0).request("policy", 1).deadman(True, 2).request("teleop", 3)
    stopped = taken.deadman(False, 4)
    assert stopped.state == STOPPED
    for name in ("policy", "teleop"):
        with pytest.raises(RefusedError):
            stopped.request(name, 5)


def test_a_takeover_without_a_hand_on_the_deadman_stops():
    taken = Supervision().request("release", 0).request("policy", 1).request("teleop", 10 * TIMEOUT_NS)
    assert taken.tick(11 * TIMEOUT_NS, TIMEOUT_NS).state == TELEOP
    assert taken.tick(11 * TIMEOUT_NS + 1, TIMEOUT_NS).state == STOPPED


def test_releasing_the_deadman_while_driving_stops():
    driving = Supervision().request("release", 1).request("teleop", 2).deadman(True, 3)
    stopped = driving.deadman(False, 4)
    assert (stopped.state, stopped.reason) == (STOPPED, "deadman released")


def test_a_silent_deadman_while_driving_stops_only_after_the_timeout():
    driving = Supervision().request("release", 0).request("teleop", 10).deadman(True, 20)
    assert driving.tick(20 + TIMEOUT_NS, TIMEOUT_NS).state == TELEOP
    assert driving.tick(21 + TIMEOUT_NS, TIMEOUT_NS).reason == "deadman silent for 0.50 s"


def test_the_deadman_does_not_matter_to_the_policy():
    running = Supervision().request("release", 0).request("policy", 1)
    assert running.deadman(False, 2).tick(10 * TIMEOUT_NS, TIMEOUT_NS).state == POLICY


def test_a_driver_commands_in_its_own_state_and_says_why_it_does_not():
    licence = Licence(POLICY)
    assert (licence.counts, licence.refusal) == (False, "supervisor is silent")
    for state, counts in ((READY, False), (POLICY, True), (POLICY, True), (TELEOP, False), (POLICY, True)):
        licence.hear(state)
        assert licence.counts == counts
    assert licence.changes == 4


def test_a_driver_that_comes_up_in_the_middle_of_its_run_waits_to_be_armed_again():
    licence = Licence(TELEOP)
    for _ in range(3):
        licence.hear(TELEOP)
        assert not licence.counts
    assert licence.refusal == "started while the supervisor said teleop; waiting to be armed again"
    licence.hear(READY)
    licence.hear(TELEOP)
    assert licence.counts


def test_a_suspended_driver_waits_to_be_armed_again_and_says_why():
    licence = Licence(POLICY)
    licence.suspend("the clock jumped")
    for state in (READY, POLICY):
        licence.hear(state)
    assert licence.counts
    licence.suspend("the clock jumped")
    licence.hear(POLICY)
    assert (licence.counts, licence.refusal) == (False, "the clock jumped; waiting to be armed again")
    for state in (STOPPED, READY, POLICY):
        licence.hear(state)
    assert licence.counts


@given(st.lists(st.sampled_from([*REQUESTS, "held", "let go", "tick"]), max_size=40))
def test_motion_is_never_reached_without_a_release_since_the_last_stop(events):
    now, released = Supervision(), False
    for time_ns, event in enumerate(events):
        try:
            if event in REQUESTS:
                now = now.request(event, time_ns)
            elif event == "tick":
                now = now.tick(time_ns, TIMEOUT_NS)
            else:
                now = now.deadman(event == "held", time_ns)
        except RefusedError:
            continue
        released = (released or event == "release") and now.state != STOPPED
        assert now.state not in (TELEOP, POLICY) or released

"""What may be cleared without a person: little, rarely, and never what is not known."""

import numpy as np
import pytest

from como_ros.control.triage import (
    HARMLESS,
    MINUTE_NS,
    PER_MINUTE,
    REFLEX,
    SERIOUS,
    Triage,
    is_at_rest,
    touch,
)


@pytest.mark.parametrize("name", SERIOUS)
def test_what_may_have_touched_somebody_waits_for_a_person(name):
    ruling = Triage().judge([name], REFLEX, 0)
    assert not ruling.clear
    assert ruling.advice == SERIOUS[name]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_jump_in_our_own_commands_is_cleared(name):
    ruling = Triage().judge([name], REFLEX, 0)
    assert ruling.clear
    assert HARMLESS[name] in ruling.advice


@pytest.mark.parametrize("names", [[], ["a_new_error"]])
def test_what_is_no_known_error_waits_for_a_person(names):
    assert not Triage().judge(names, REFLEX, 0).clear


@pytest.mark.parametrize("mode", ["UserStopped", "Idle", "Other", ""])
def test_a_stop_that_is_no_reflex_waits_for_a_person_whatever_was_wrong_before(mode):
    """After a torque jump was cleared, a pressed user stop still finds it among the robot's last errors."""
    assert not Triage().judge(["controller_torque_discontinuity"], mode, 0).clear


def test_one_serious_error_among_harmless_ones_decides():
    assert not Triage().judge(["controller_torque_discontinuity", "cartesian_reflex"], REFLEX, 0).clear


def test_no_more_than_three_are_cleared_in_a_minute():
    triage, names = Triage(), ["controller_torque_discontinuity"]
    assert [triage.judge(names, REFLEX, number).clear for number in range(PER_MINUTE)] == [True] * PER_MINUTE
    refused = triage.judge(names, REFLEX, PER_MINUTE)
    assert not refused.clear
    assert "4 times in a minute" in refused.advice
    assert triage.judge(names, REFLEX, MINUTE_NS + 1).clear


def test_an_arm_that_moves_or_is_pressed_on_is_not_cleared_by_itself():
    """A jump of our own commands can push the arm against somebody before it trips the robot."""
    assert is_at_rest(np.full(7, 0.01))
    assert not is_at_rest(np.array([0, 0, 0, -0.2, 0, 0, 0]))
    assert touch(np.array([3.0, -4.0, 5.0, 0, 0, 0])) == ""
    assert touch(np.array([0, 0, -31.0, 0, 0, 0])).startswith("something presses on it with 31 N")

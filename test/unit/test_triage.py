"""What may be cleared without a person: little, rarely, and never what is not known."""

import pytest

from como_ros.control.triage import HARMLESS, MINUTE_NS, PER_MINUTE, SERIOUS, Triage


@pytest.mark.parametrize("name", SERIOUS)
def test_what_may_have_touched_somebody_waits_for_a_person(name):
    ruling = Triage().judge([name], 0)
    assert not ruling.clear
    assert ruling.advice == SERIOUS[name]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_jump_in_our_own_commands_is_cleared(name):
    ruling = Triage().judge([name], 0)
    assert ruling.clear
    assert HARMLESS[name] in ruling.advice


@pytest.mark.parametrize("names", [[], ["a_new_error"]])
def test_what_is_no_known_error_waits_for_a_person(names):
    assert not Triage().judge(names, 0).clear


def test_one_serious_error_among_harmless_ones_decides():
    assert not Triage().judge(["controller_torque_discontinuity", "cartesian_reflex"], 0).clear


def test_no_more_than_three_are_cleared_in_a_minute():
    triage, names = Triage(), ["controller_torque_discontinuity"]
    assert [triage.judge(names, number).clear for number in range(PER_MINUTE)] == [True] * PER_MINUTE
    refused = triage.judge(names, PER_MINUTE)
    assert not refused.clear
    assert "4 times in a minute" in refused.advice
    assert triage.judge(names, MINUTE_NS + 1).clear

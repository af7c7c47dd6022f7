"""A call that waits until it is allowed, and what ends its waiting."""

from concurrent.futures import Future

import numpy as np
import pytest

from como_ros.control.limits import LIMITS
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.drivers.errands import HEARSAY_NS, TRACKING, UNHEARD_NS, Errands
from como_ros.drivers.gripper import Hand
from como_ros.errors import ComoError

MS = 1_000_000


@pytest.fixture
def hand(guest):
    """A driver whose hand nobody has switched on."""
    return guest(Hand("127.0.0.9"))


class Waiting:
    """A call to go home before any supervisor has been heard."""

    def __init__(self, hand: Hand) -> None:
        self.servo = Servo(ServoConfig(), ShieldConfig(), np.array([0.5, 0, 0.3, 1, 0, 0, 0]), 0)
        self.errands = Errands(LIMITS["panda"], ShieldConfig(), hand)
        self.called: Future[str] = Future()
        self.errands.want_home(self.called, 0)

    def at(self, now_ns: int) -> bool:
        """Whether it waits still."""
        self.errands.answer(None, self.servo, TRACKING, now_ns)
        return not self.called.done()


def test_a_call_waits_for_a_supervisor_that_nobody_has_heard_yet_and_briefly_for_one_that_says_no(
    hand,
):
    unheard, refused = Waiting(hand), Waiting(hand)
    assert unheard.at(UNHEARD_NS - MS)
    assert not unheard.at(UNHEARD_NS + MS)
    refused.servo.supervise("stopped", 0)
    assert refused.at(HEARSAY_NS - MS)
    assert not refused.at(HEARSAY_NS + MS)
    with pytest.raises(
        ComoError, match="homing refused: the arm is tracking and the supervisor says stopped"
    ):
        refused.called.result(0)


def test_a_call_that_waits_ends_when_the_arm_is_deactivated_and_does_not_begin_once_it_is_active_again(
    hand,
):
    waiting = Waiting(hand)
    assert waiting.at(100 * MS)
    waiting.servo.mandate.activate(False)
    assert not waiting.at(200 * MS)
    with pytest.raises(ComoError, match="homing refused: the arm is inactive; activate its node"):
        waiting.called.result(0)
    waiting.servo.mandate.activate(True)
    waiting.servo.supervise("ready", 300 * MS)
    assert not waiting.errands.mode

"""What a control loop says of its timing."""

import time

import numpy as np
import pytest

from como_ros.control.interpolation import Setpoint
from como_ros.drivers.pace import Pace


def setpoint(*twist: float) -> Setpoint:
    return Setpoint(np.array([0.5, 0, 0.3, 1, 0, 0, 0]), np.array(twist))


def test_a_set_point_that_still_turns_does_not_stand_still():
    """A stop is measured to the standstill of both, or a turning hand would count as stopped."""
    pace, before_ns = Pace(), time.time_ns()
    pace.sent(setpoint(0.1, 0, 0, 0, 0, 0.5))
    pace.sent(setpoint(0, 0, 0, 0, 0, 0.5))
    assert (pace.moving, pace.still_since_ns) == (True, 0)
    pace.sent(setpoint(0, 0, 0, 0, 0, 0))
    assert not pace.moving
    assert pace.still_since_ns >= before_ns


def test_the_moment_at_which_the_policy_no_longer_drives_is_kept():
    pace = Pace()
    pace.sent(setpoint(0.1, 0, 0, 0, 0, 0), "policy")
    assert pace.yielded_ns == 0
    before_ns = time.time_ns()
    pace.sent(setpoint(0.05, 0, 0, 0, 0, 0), "")
    yielded_ns = pace.yielded_ns
    assert yielded_ns >= before_ns
    pace.sent(setpoint(0.05, 0, 0, 0, 0, 0), "teleop")
    assert (pace.driver, pace.yielded_ns) == ("teleop", yielded_ns)
    assert pace.steepest_m_s == pytest.approx(0.1)

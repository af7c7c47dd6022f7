"""Few hand commands from many widths; a homing sweep that is smooth and slow enough."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from como_ros.control.grip import GripConfig, HandCommand, decide
from como_ros.control.homing import HOME_Q, JointMove, MotionTime, lowest_m, refusal, sinks
from como_ros.control.limits import FR3, PANDA
from como_ros.drivers.answers import Answers
from como_ros.errors import ComoError

CONFIG = GripConfig()


def commands(widths) -> list[tuple[str, float]]:
    last, given_out = None, []
    for width in widths:
        if command := decide(CONFIG, width, last):
            last = command
            given_out.append((command.kind, command.width_m))
    return given_out


def test_closing_is_one_grasp_and_opening_one_move():
    opened = ("move", 0.08)
    assert commands([0.08, 0.08, 0.0, 0.0, 0.0, 0.08, 0.08]) == [opened, ("grasp", 0.0), opened]


def test_a_noisy_policy_neither_chatters_nor_drops_what_it_holds():
    rng = np.random.default_rng(0)
    widths = [*(0.078 + rng.normal(0, 0.001, 50)), *(0.01 + rng.normal(0, 0.008, 200)), *[0.08] * 10]
    assert [kind for kind, _ in commands(widths)] == ["move", "grasp", "move"]


def test_a_width_between_the_two_thresholds_keeps_the_grip():
    assert commands([0.0, 0.04, 0.049, 0.051]) == [("grasp", 0.0), ("move", 0.051)]


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_commands_always_lie_in_the_stroke_and_never_repeat_themselves(widths):
    given_out = commands(widths)
    assert all(0 <= width <= 0.08 for _, width in given_out)
    assert all(a != b for a, b in pairwise(given_out))


def test_nothing_is_repeated_for_the_same_width():
    assert decide(CONFIG, 0.06, HandCommand("move", 0.058)) is None


def test_homing_starts_and_ends_at_rest_and_keeps_its_speed():
    start, goal = np.zeros(7), np.linspace(-1, 1, 7)
    move = JointMove(start, goal, peak_rad_s=0.8)
    assert move.seconds == pytest.approx(1.875 / 0.8)
    samples = [move.at(t) for t in np.linspace(0, move.seconds, 200)]
    speeds = np.abs([dq for _, dq in samples])
    assert speeds.max() <= 0.8 + 1e-9
    assert not speeds[0].any()
    assert speeds[-1].max() < 1e-9
    np.testing.assert_allclose(samples[-1][0], goal)
    np.testing.assert_allclose(move.at(1000.0)[0], goal)


def test_a_sweep_that_is_held_up_again_and_again_goes_on_from_where_it_stood():
    """It began anew after every pause and never came home on a machine that held it up each second."""
    move, clock = JointMove(np.zeros(7), np.ones(7), peak_rad_s=0.8), MotionTime(0)
    rates, places = [], []
    for tick in range(1000):
        clock.tick(tick * 10_000_000, runs=tick % 50 < 25)
        q, dq = move.at(clock.since_s)
        places.append(q[0])
        rates.append(clock.pace * dq[0])
    assert np.diff(places).min() >= 0.0
    assert places[-1] == pytest.approx(1.0)
    assert np.abs(np.diff(rates)).max() / 0.01 <= min(
        min(PANDA.joint_acceleration), min(FR3.joint_acceleration)
    )
    assert min(rates[40:50]) == 0.0  # at rest 0.15 s after it was held up
    np.testing.assert_allclose(np.diff(places), np.array(rates[1:]) * 0.01, atol=1e-3)


def test_a_loop_that_stalled_does_not_make_the_sweep_jump():
    move, clock = JointMove(np.zeros(7), np.ones(7), peak_rad_s=0.8), MotionTime(0)
    for now_ns in range(0, 1_000_000_000, 10_000_000):
        clock.tick(now_ns, runs=True)
    before, _ = move.at(clock.since_s)
    clock.tick(now_ns + 500_000_000, runs=True)
    assert np.abs(move.at(clock.since_s)[0] - before).max() <= 0.8 * 0.03 + 1e-9


def test_every_homing_set_point_keeps_its_distance_from_the_joints_ends():
    home = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 1.9, np.pi / 4])
    still = np.zeros(7)
    assert refusal(PANDA, home, still, home) == ""
    beyond = home.copy()
    beyond[3] = -0.06
    assert refusal(PANDA, beyond, still, home).startswith("joint 4 at -0.060 rad")
    assert refusal(PANDA, beyond, still, beyond) == ""  # it may come back from where it is
    assert refusal(PANDA, home, np.full(7, 2.2), home).startswith("joint 1 at 2.20 rad/s")
    assert refusal(PANDA, home * np.nan, still, home).startswith("not finite")


def test_whoever_waits_for_an_answer_gets_one_when_the_loop_ends():
    answers = Answers()
    done, waiting = answers.new(), answers.new()
    done.set_result("home")
    answers.close("the control loop broke")
    assert done.result(0) == "home"
    for answer in (waiting, answers.new()):
        with pytest.raises(ComoError, match="the control loop broke"):
            answer.result(0)


def test_a_hand_that_has_never_answered_has_no_width_and_keeps_no_wish():
    pytest.importorskip("franky")
    from como_ros.drivers.gripper import Hand

    hand = Hand("127.0.0.9")  # nobody listens there
    hand.request(0.0)
    hand.halt()
    assert not hand.wait_connected(0.3)
    assert hand.width_m is None
    assert hand.fault.startswith("hand: ")
    assert not hand.counters
    hand.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_hand_whose_thread_has_ended_says_so_and_has_no_width():
    """Else the last width it read would be published for ever, each time with a fresh stamp."""
    pytest.importorskip("franky")
    from como_ros.drivers.gripper import Hand

    hand = Hand(5)  # no address: breaks its thread with an error that no hand raises
    hand.close()
    assert hand.width_m is None
    assert hand.fault == "hand: its thread has ended; start the node again"


def test_a_sweep_home_that_would_press_on_the_table_is_refused_and_no_other():
    over = np.array([0.1, 1.5, -0.7, -3.0, 1.1, 3.5, 2.2])
    assert lowest_m(over) > 0.15
    assert sinks(over, 0.005).startswith("on its way the arm would come down to -0.08")
    down = np.array([0.2, 0.55, -0.1, -2.1, 0.1, 2.65, 0.8])
    assert 0 < lowest_m(down) < 0.06
    for start in (np.array(HOME_Q), down):
        assert sinks(start, 0.005) == ""

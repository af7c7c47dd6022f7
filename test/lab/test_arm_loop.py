"""The hand and the arm's control loop against the lab: what they do when stopped, broken or cut off."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from arm_drive import Person, until
from lab_server import running_lab

from como_ros.drivers.arm_loop import FAULT, HOMING, TRACKING, ArmLoop, LoopConfig
from como_ros.drivers.franka import FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.errors import ComoError


@pytest.fixture
def lab():
    with running_lab(seed=3) as lab:
        yield lab


def threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def supervise(loop: ArmLoop, state: str, seconds: float) -> None:
    for _ in range(round(seconds / 0.02)):
        loop.tell(lambda servo, now_ns: servo.supervise(state, now_ns))
        time.sleep(0.02)


def drive(loop: ArmLoop, start: np.ndarray, seconds: float) -> None:
    """Teleoperation along y at 15 cm/s."""
    for t in np.arange(0, seconds, 0.02):
        pose7 = start + [0, 0.15 * t, 0, 0, 0, 0, 0]
        loop.tell(lambda servo, now_ns, pose7=pose7: servo.command_pose(pose7, now_ns, now_ns))
        supervise(loop, "teleop", 0.02)


def test_a_halt_stops_closing_fingers_and_starts_nothing(lab, guest):
    hand = guest(Hand("127.0.0.1"))
    assert hand.wait_connected(5)
    hand.request(0.08)
    until(lambda: hand.width_m > 0.078)
    time.sleep(0.2)  # and the command has ended
    hand.request(0.0)
    until(lambda: hand.counters["grasp"] == 1)
    hand.halt()
    time.sleep(0.3)
    stopped_at = hand.width_m
    assert stopped_at is not None
    assert stopped_at > 0.005
    time.sleep(0.8)
    assert hand.width_m == pytest.approx(stopped_at, abs=0.002)
    assert (hand.counters["preempted"], hand.counters["grasp"]) == (1, 1)
    hand.request(0.0)
    until(lambda: hand.width_m < 0.005)
    hand.request(0.08)
    until(lambda: hand.width_m > 0.078)


def test_a_halt_that_overtakes_its_command_stops_the_fingers_all_the_same(lab, guest):
    """franky sends a command from its own thread; beside an arm's threads the stop may well arrive first."""
    arm, hand = guest(FrankaArm(FrankaConfig())), guest(Hand("127.0.0.1"))
    arm.track()
    assert hand.wait_connected(5)
    for width_m in (0.0, 0.08) * 6:
        started = hand.counters.total()
        hand.request(width_m)
        until(lambda started=started: hand.counters.total() > started)
        hand.halt()
        time.sleep(0.2)
        stopped_at = hand.width_m
        time.sleep(0.2)
        assert hand.width_m == pytest.approx(stopped_at, abs=0.001)


def test_the_loop_of_a_thousand_commands_a_second_shares_a_simulated_robots_core_while_that_moves(lab, guest):
    """On another core, one that the machine's host held back for 20 ms was 20 lost commands: a reflex."""
    arm, before, mine = guest(FrankaArm(FrankaConfig())), threads(), os.sched_getaffinity(0)
    arm.track()
    (loop,) = threads() - before
    until(lambda: arm.read().mode == "Move")
    assert os.sched_getaffinity(loop) == {max(mine)}
    lab.process.send_signal(signal.SIGSTOP)  # it may well be the loop that keeps it from going on
    try:
        until(lambda: bool(arm.read()) and os.sched_getaffinity(loop) == mine)
    finally:
        lab.process.send_signal(signal.SIGCONT)
    assert os.sched_getaffinity(0) == mine


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="there is no other core to spin on")
def test_a_lab_that_ends_while_a_motion_begins_is_not_kept_from_it_by_a_loop_that_spins(guest):
    """At the highest priority, on the lab's core, waiting for the answer: for ever, once."""
    for _ in range(3):
        with running_lab(seed=3) as lab:
            arm = guest(FrankaArm(FrankaConfig()))
            arm.track()
            lab.process.send_signal(signal.SIGINT)
            assert lab.process.wait(10) == 0
            arm.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("doing", [TRACKING, HOMING])
def test_a_control_loop_that_breaks_brakes_lets_go_and_answers(lab, guest, doing):
    broken, states = threading.Event(), []

    def report(state, width_m) -> None:
        states.append(state)
        if broken.is_set():
            raise LookupError("nobody thought of this")

    loop = guest(ArmLoop(LoopConfig(), report))
    until(lambda: loop.mode == TRACKING)
    supervise(loop, "ready", 0.1)
    drive(loop, states[-1].pose7, 0.8)
    if doing == HOMING:
        supervise(loop, "ready", 0.4)
    answer = loop.home()

    def moves() -> bool:
        if doing == TRACKING:
            drive(loop, states[-1].pose7, 0.3)
        return loop.mode == doing and float(np.linalg.norm(states[-1].dq)) > 0.05

    with Person(loop, state="ready" if doing == HOMING else "teleop"):
        until(moves)
        broken.set()
        with pytest.raises(ComoError):
            answer.result(15)
        until(lambda: not loop.alive)
    assert (loop.mode, loop.fault) == (FAULT, "the control loop broke: LookupError: nobody thought of this")
    with pytest.raises(ComoError, match="the control loop has ended"):
        loop.home().result(1)
    loop.close()
    client = lab.client()
    rest = client.truth()["joints"]
    time.sleep(0.5)
    np.testing.assert_allclose(client.truth()["joints"], rest, atol=2e-3)
    client.close()


def test_a_hand_that_was_away_has_no_width_and_starts_nothing_when_it_is_back(guest):
    with running_lab(seed=3):
        hand = guest(Hand("127.0.0.1"))
        until(lambda: hand.width_m is not None)
        hand.request(0.0)
    until(lambda: hand.width_m is None)
    started = hand.counters.total()
    hand.request(0.0)
    with running_lab(seed=3) as lab:
        until(lambda: hand.width_m is not None)
        client, width_m = lab.client(), hand.width_m
        time.sleep(0.8)
        assert hand.counters.total() == started
        assert client.truth()["width"] == pytest.approx(width_m, abs=0.002)
        client.close()


def test_a_stop_that_is_released_in_the_same_breath_still_ends_the_sweep_home(lab, guest):
    def stop_and_release(servo, now_ns: int) -> None:
        for state in ("stopped", "ready"):
            servo.supervise(state, now_ns)

    loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: None))
    until(lambda: loop.mode == TRACKING)
    with Person(loop, state="ready"):
        answer = loop.home()
        until(lambda: loop.mode == HOMING)
        loop.tell(stop_and_release)
        with pytest.raises(ComoError, match="broken off: the supervisor no longer says ready"):
            answer.result(15)
    loop.close()


def test_a_sweep_home_waits_where_it_is_for_a_supervisor_that_is_late(lab, guest):
    states: list = []
    loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: states.append(state)))
    until(lambda: loop.mode == TRACKING)
    with Person(loop, lambda: states[-1].pose7) as person:
        person.drives()
        until(lambda: states[-1].pose7[1] > 0.2)
        person.says("ready")
        answer = loop.home()
        until(lambda: loop.mode == HOMING and np.abs(states[-1].dq).max() > 0.2)
        person.is_late = True

        def stands_and_waits() -> bool:
            assert loop.servo is not None
            waits = (loop.mode, loop.servo.mandate.pause) == (HOMING, "supervisor late")
            return waits and np.abs(states[-1].dq).max() < 0.1

        until(stands_and_waits, timeout_s=3.0)
        person.is_late = False
        assert answer.result(15).startswith("home")


def test_a_release_may_arrive_just_after_the_call_to_go_home(lab, guest):
    loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: None))
    until(lambda: loop.mode == TRACKING)
    with Person(loop, state="stopped"):
        time.sleep(0.1)
        with pytest.raises(ComoError, match="the supervisor says stopped"):
            loop.home().result(15)
    answer = loop.home()
    with Person(loop, state="ready"):
        assert answer.result(15).startswith("home")
    loop.close()


def test_a_call_to_go_home_waits_for_a_supervisor_that_has_not_been_found_yet(lab, guest):
    """It was refused because the supervisor "says nothing", a moment after the supervisor had released."""
    loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: None))
    until(lambda: loop.mode == TRACKING)
    answer = loop.home()
    time.sleep(1.0)
    with Person(loop, state="ready"):
        assert answer.result(15).startswith("home")


def test_an_arm_that_did_not_get_home_does_not_say_that_it_is_home(lab, guest):
    """Time in the lab goes by so slowly that the sweep has ended long before the arm is there."""
    states: list = []
    loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: states.append(state)))
    until(lambda: loop.mode == TRACKING)
    supervise(loop, "ready", 0.1)
    drive(loop, states[-1].pose7, 1.5)
    client = lab.client()
    client.fault("slow_physics", value=0.05)
    with Person(loop, state="ready"):
        time.sleep(0.1)
        with pytest.raises(ComoError, match=r"not home, .* mrad off; .*; is something in the way"):
            loop.home().result(30)
    client.fault("none")
    client.close()


def test_a_stop_released_and_sent_home_in_one_breath_opens_the_hand_all_the_same(lab, guest):
    """The stop halts the hand first, and then homing opens it, also when one round hears all three."""
    loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: None))
    until(lambda: loop.mode == TRACKING and loop.hand.width_m is not None)
    supervise(loop, "ready", 0.1)
    supervise(loop, "teleop", 0.1)
    loop.hand.request(0.03)
    until(lambda: loop.hand.width_m < 0.05)
    heard = threading.Event()
    loop.tell(lambda servo, now_ns: heard.wait(0.05))  # hold the round up, so that all of it waits together
    for state in ("stopped", "ready"):
        loop.tell(lambda servo, now_ns, state=state: servo.supervise(state, now_ns))
    answer = loop.home()
    while not answer.done():
        supervise(loop, "ready", 0.1)
    assert answer.result(0).startswith("home")
    until(lambda: loop.hand.width_m > 0.075, 2.0)
    loop.close()

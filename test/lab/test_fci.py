"""The lab's arm through the real protocol: franky on TCP 1337, motion limits and communication enforced."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from lab_moves import go_home, go_to, paced
from lab_server import running_lab
from ros_probe import wait_until

from como_ros.control.homing import HOME_Q
from como_ros.control.kinematics import jacobian
from como_ros.drivers.franka import ArmError, FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.drivers.home_run import open_hand
from como_ros.errors import ComoError
from como_ros.lab.client import LabClient
from como_ros.lab.shared_state import FOLDER, SharedState
from como_ros.lab.tasks import get_task


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=3) as lab:
        yield lab


@pytest.fixture
def arm(lab):
    with closing(FrankaArm(FrankaConfig())) as arm:
        go_home(arm)
        yield arm


def test_franky_connects_over_tcp_1337_and_homes(lab, arm):
    with open("/proc/net/tcp") as table:
        established = [row.split() for row in table.readlines()[1:]]
    assert any(row[2].endswith(f":{1337:04X}") and row[3] == "01" for row in established)
    assert go_home(arm) < 0.01
    np.testing.assert_allclose(arm.read().pose7[:3], [0.463, 0, 0.403], atol=0.01)


def is_smooth(times: list[float]) -> np.ndarray:
    """Where no stall of this loop has made its target jump in the last third of a second."""
    at = np.array(times)
    stalled = at[1:][np.diff(at) > 0.03]
    since = at[:, None] - stalled
    return ~((since >= 0) & (since < 0.33)).any(1)


def test_the_lab_keeps_to_one_core_and_leaves_the_others_to_what_it_serves(lab):
    client = LabClient(lab.control)
    assert len(os.sched_getaffinity(client.status()["pid"])) == 1
    client.close()


def test_a_sine_with_twist_feed_forward_is_followed_within_4_mm(arm):
    start, times, errors = arm.read().pose7, [], []
    omega = 2 * np.pi * 0.25
    for t in paced(5.0):
        ramp = min(t, 1.0)
        target, twist = start.copy(), np.zeros(6)
        target[1] += 0.08 * ramp * np.sin(omega * t)
        twist[1] = 0.08 * omega * ramp * np.cos(omega * t)
        arm.set_target(target, twist)
        assert arm.fault() == ""
        times.append(t)
        errors.append(np.linalg.norm(arm.read().pose7[:3] - target[:3]))
    followed = np.array(errors)[100:][is_smooth(times)[100:]]
    assert np.mean(followed) < 0.004, f"mean error {np.mean(followed) * 1e3:.2f} mm"


def test_an_elbow_that_was_turned_out_comes_back_while_the_hand_stays(arm):
    """Left to itself it wandered until, after minutes, a joint was at its end."""
    turn = np.linalg.svd(jacobian(np.array(HOME_Q)))[2][-1]  # what the hand does not feel
    go_to(arm, HOME_Q + 0.4 * turn)
    held = arm.read().pose7
    out = abs(turn @ (arm.read().q - HOME_Q))
    for _ in paced(3.0):
        arm.set_target(held, np.zeros(6))
        assert arm.fault() == ""
    assert out > 0.35
    assert abs(turn @ (arm.read().q - HOME_Q)) < 0.6 * out
    assert np.linalg.norm(arm.read().pose7[:3] - held[:3]) < 0.005


def test_an_arm_left_in_motion_can_be_connected_to_at_once(lab, arm):
    begun = arm.read().pose7
    for t in paced(0.6):
        arm.set_target(begun + [0, 0.25 * t, 0, 0, 0, 0, 0], np.array([0, 0.25, 0, 0, 0, 0]))
    assert np.abs(arm.read().dq).max() > 0.1
    arm.close()
    with closing(FrankaArm(FrankaConfig())) as again:
        assert np.abs(again.read().dq).max() < 0.1


@pytest.fixture
def hand(lab):
    with closing(Hand("127.0.0.1")) as hand:
        assert hand.wait_connected(5)
        yield hand


def test_a_cube_is_picked_and_placed_through_the_protocol(lab, arm, hand):
    client = lab.client()
    hand.request(0.08)
    client.reset(3)
    truth = client.truth()
    plan = get_task("pick_place").plan(truth["things"], arm.read().pose7[:3], seed=3)
    held_m = []
    for t in paced(plan.duration_s + 0.5):
        pose7, twist, width_m = plan.at(t)
        arm.set_target(pose7, twist)
        assert arm.fault() == ""
        hand.request(width_m)
        if hand.is_grasped:
            held_m.append(hand.width_m)
        if len(held_m) == 50:  # a stop or a careless homing while it carries must not drop the cube
            hand.halt()
            assert open_hand(hand, released=False).startswith("the hand stays closed")
    assert hand.counters["grasp"] == 1
    assert np.median(held_m) == pytest.approx(0.038, abs=0.004)
    status = client.status()
    assert status["success"], status["reason"]
    client.close()


def test_motion_limits_are_enforced(lab, guest):
    arm = guest(FrankaArm(FrankaConfig(stiffness_n_m=3000.0, error_clip_m=0.5)))
    arm.track()
    arm.set_target(arm.read().pose7 + [0, 0.4, 0, 0, 0, 0, 0], np.zeros(6))
    begun = time.monotonic()
    while not (fault := arm.fault()) and time.monotonic() - begun < 2:
        time.sleep(0.005)
    assert "violation" in fault
    assert arm.read().mode == "Reflex"
    arm.recover()
    arm.track()
    assert arm.fault() == ""


STALLED_CLIENT = """
import sys, time
from como_ros.drivers.franka import FrankaArm, FrankaConfig
arm = FrankaArm(FrankaConfig())
arm.track()
print("tracking", flush=True)
while not (fault := arm.fault()):
    time.sleep(0.005)
print(fault, flush=True)
"""


def test_communication_constraints_are_enforced(lab):
    client = subprocess.Popen([sys.executable, "-c", STALLED_CLIENT], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "tracking\n"
    time.sleep(0.3)
    client.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    client.send_signal(signal.SIGCONT)
    assert "communication_constraints_violation" in client.stdout.readline()
    assert client.wait(10) == 0


def test_a_new_width_interrupts_the_hand(hand):
    hand.request(0.0)
    wait_until(lambda: hand.width_m and hand.width_m < 0.078, "the hand to begin")
    hand.request(0.08)
    wait_until(lambda: hand.width_m > 0.079, "the hand to open again")
    assert hand.counters["preempted"] == 1
    assert hand.width_m == pytest.approx(0.08, abs=0.002)
    assert not hand.is_grasped


def test_the_world_reaches_shared_memory_within_20_ms(lab):
    state = SharedState.attach(lab.state)
    ages_ms = []
    for _ in range(50):
        ages_ms.append((time.time_ns() - state.read()[1]) / 1e6)
        time.sleep(0.01)
    state.close()
    assert np.median(ages_ms) < 20


def test_reset_moves_the_objects_and_leaves_the_arm(lab):
    client = lab.client()
    before = client.reset(5) and client.truth()
    after = client.reset(6) and client.truth()
    assert before["things"]["cube"][:2] != after["things"]["cube"][:2]
    np.testing.assert_allclose(before["joints"], after["joints"], atol=1e-3)
    assert client.status()["seed"] == 6
    client.close()


HUGE = "9" * 400
GARBAGE = (
    "[" * 3000,
    f'{{"cmd": "reset", "seed": {HUGE}}}',
    '{"cmd": "reset", "seed": true}',
    f'{{"cmd": "fault", "name": "camera_drop", "value": {HUGE}}}',
    '{"cmd": "fault", "name": "x"}',
    '{"cmd": "push", "force": [0, 1]}',
    '{"cmd": "push", "force": [0, 0, NaN]}',
    f'{{"cmd": "push", "force": [0, 0, {HUGE}]}}',
)


def test_garbage_on_the_control_socket_is_answered_and_survived(lab):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(lab.control))
        stream = raw.makefile("rw")
        for line in (*GARBAGE, "garbage", "[]", '{"cmd": "fly"}', '{"cmd": "reset"}'):
            stream.write(line + "\n")
            stream.flush()
            assert '"error"' in stream.readline()
    client = lab.client()
    with pytest.raises(ComoError, match="seed -1 is not between 0 and"):
        client.reset(-1)
    assert client.status()["ready"]
    client.close()


def test_a_lab_that_has_ended_is_told_in_a_sentence(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        client = LabClient(path)
        listener.accept()[0].close()
        for _ in range(2):
            with pytest.raises(ComoError, match="the lab closed the connection"):
                client.status()
        client.close()


def test_the_server_stops_cleanly_and_leaves_nothing_behind(lab):
    """Last in this file: it ends the lab the others use."""
    lab.process.send_signal(signal.SIGINT)
    assert lab.process.wait(10) == 0
    assert not (FOLDER / f"como_{lab.state}").exists()
    assert not lab.control.exists()
    with pytest.raises(ArmError, match=r"no arm answers at 127\.0\.0\.1"):
        FrankaArm(FrankaConfig())
    with pytest.raises(ComoError, match="no lab answers"):
        lab.client()

"""Every fault of the arm and the hand, switched by name and seen by a real client."""

import time

import numpy as np
import pytest
from franky import CommandException, Gripper
from lab_moves import glide, go_home, wait_fault
from lab_server import running_lab
from ros_probe import wait_until

from como_ros.drivers.franka import ArmError, FrankaArm, FrankaConfig
from como_ros.errors import ComoError
from como_ros.lab.camera_faults import camera_fault
from como_ros.lab.shared_state import SharedState

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=3) as lab:
        yield lab


@pytest.fixture
def control(lab):
    client = lab.client()
    yield client
    client.fault("none")
    client.close()


@pytest.fixture(scope="module")
def arm(lab):
    arm = FrankaArm(FrankaConfig())
    yield arm
    arm.close()


@pytest.fixture
def tracking(arm):
    if arm.read().mode == "Reflex":  # left by a test that failed
        arm.recover()
    go_home(arm)
    return arm


@pytest.fixture(scope="module")
def gripper(lab):
    return Gripper(HOST)


def test_lost_commands_lower_the_success_rate(tracking, control):
    before = control.status()["control"]["lost"]
    control.fault("fci_packet_loss", value=0.3)
    wait_until(lambda: control.status()["control"]["lost"] > before + 50, "lost commands")
    assert tracking.read().success_rate < 0.9
    assert tracking.fault() == ""
    control.fault("fci_packet_loss", on=False)
    wait_until(lambda: tracking.read().success_rate > 0.9, "better times")


def test_a_long_run_of_lost_commands_stops_the_motion(tracking, control):
    before = control.status()["control"]["violations"]
    control.fault("fci_packet_loss", value=40)
    assert "communication_constraints_violation" in wait_fault(tracking)
    assert control.status()["control"]["violations"] == before + 1


@pytest.mark.parametrize(
    "kind", ["joint_reflex", "self_collision_avoidance_violation", "tau_J_range_violation"]
)
def test_a_reflex_of_any_kind_can_be_had(tracking, control, kind):
    control.fault("reflex", kind=kind)
    assert kind in wait_fault(tracking)
    assert tracking.read().mode == "Reflex"
    assert control.status()["faults"] == {}
    tracking.recover()
    tracking.track()
    assert tracking.fault() == ""


def test_a_user_stop_holds_until_it_is_released(tracking, control):
    control.fault("user_stop")
    assert "User Stop pressed" in wait_fault(tracking)
    assert tracking.read().mode == "UserStopped"
    with pytest.raises(ArmError, match="user stop is pressed"):
        tracking.recover()
    tracking.track()
    assert "not possible in the current mode" in wait_fault(tracking)
    assert tracking.read().mode == "UserStopped"
    control.fault("user_stop", on=False)
    wait_until(lambda: tracking.read().mode == "Idle", "the release to be seen")
    tracking.track()
    assert glide(tracking, (0.46, 0.03, 0.40), 0.3) == ""


def test_jammed_fingers_do_not_move_and_say_so(gripper, control):
    assert gripper.move(0.06, 0.1)
    control.fault("gripper_jam")
    assert not gripper.move(0.02, 0.1)
    assert not gripper.grasp(0.04, 0.1, 20.0, 0.03, 0.03)
    assert gripper.width == pytest.approx(0.06, abs=1e-3)
    control.fault("gripper_jam", on=False)
    assert gripper.move(0.02, 0.1)
    assert gripper.width == pytest.approx(0.02, abs=1e-3)


def test_slow_physics_is_slow_and_reported(arm, control):
    control.fault("slow_physics", value=0.4)
    begun, start_s = time.monotonic(), control.status()["time"]
    time.sleep(2.2)
    status = control.status()
    passed_s = (status["time"] - start_s) / (time.monotonic() - begun)
    assert 0.2 < passed_s < 0.45  # slower still on a machine that cannot keep up
    assert 0.2 < status["realtime_factor"] < 0.55
    assert "of real time" in status["warning"]


def test_camera_faults_reach_the_cameras(lab, control):
    shared = SharedState.attach(lab.state)
    control.fault("camera_drop", value=0.5, camera="wrist")
    assert camera_fault(shared, "camera_drop", "wrist") == 0.5
    assert camera_fault(shared, "camera_drop", "front") == 0.0
    assert control.status()["faults"] == {"camera_drop:wrist": 0.5}
    control.fault("camera_drop", value=0.2)
    control.fault("camera_drop", on=False, camera="wrist")
    assert camera_fault(shared, "camera_drop", "front") == 0.2
    assert control.status()["faults"] == {"camera_drop:front": 0.2}
    control.fault("none")
    assert camera_fault(shared, "camera_drop", "wrist") == 0.0
    assert control.status()["faults"] == {}
    shared.close()


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"name": "flood"}, "known: fci_packet_loss, reflex, user_stop, gripper_jam, slow_physics, camera_"),
        (
            {"name": "reflex", "kind": "sneeze"},
            "known: cartesian_motion.*communication_constraints_violation",
        ),
        ({"name": "fci_packet_loss", "value": -1}, "share of the commands"),
        ({"name": "fci_packet_loss", "value": 2.5}, "whole number"),
        ({"name": "slow_physics", "value": 3}, "up to 1, got 3"),
        ({"name": "slow_physics", "value": "half"}, "number, got 'half'"),
        ({"name": "user_stop", "value": 1}, "takes no value"),
        ({"name": "gripper_jam", "camera": "front"}, "takes no camera"),
        ({"name": "camera_drop", "value": 7}, "camera_drop needs a value"),
        ({"name": 7}, "needs a name"),
    ],
)
def test_a_fault_that_is_none_is_answered_with_what_is_valid(control, order, said):
    with pytest.raises(ComoError, match=said):
        control.fault(**order)
    assert control.status()["faults"] == {}


def test_the_hand_keeps_to_the_speed_it_is_given(gripper, control):
    assert gripper.move(0.08, 0.1)

    def quickest(speed_m_s: float) -> float:
        """Of a few ways of 2 cm, since this process may be kept waiting for an answer."""
        taken = []
        for width_m in (0.06, 0.08, 0.06, 0.08):
            begun = control.status()["time"]
            assert gripper.move(width_m, speed_m_s)
            taken.append(control.status()["time"] - begun)
        return min(taken)

    assert quickest(0.04) == pytest.approx(0.55, abs=0.1)
    assert quickest(5.0) == pytest.approx(0.25, abs=0.1)  # no faster than the hand can


def test_the_hand_refuses_what_no_hand_can_do(gripper):
    with pytest.raises(CommandException):
        gripper.move(0.2, 0.1)
    with pytest.raises(CommandException):
        gripper.move(0.05, 0.0)
    with pytest.raises(CommandException):
        gripper.grasp(0.04, 0.1, -5.0, 0.01, 0.01)
    assert not gripper.grasp(0.04, 0.1, 20.0, 0.01, 0.01)  # there is nothing
    np.testing.assert_allclose(gripper.width, 0.0, atol=2e-3)

"""Guided by hand: how far and how fast, and what a demonstration by hand commands."""

import numpy as np
import pytest

from como_ros.control.gains import CATCHING_NM_RAD
from como_ros.control.guiding import Watched, catching, drawn_to
from como_ros.control.homing import HOME_Q
from como_ros.control.limits import PANDA
from como_ros.control.shield import ShieldConfig
from como_ros.drivers.teleop import CLOSED_M, Reading
from como_ros.drivers.teleop_guiding import GuidingHand
from como_ros.drivers.teleop_hand import HandDevice

PLACE = np.array([0.46, 0.0, 0.4])
Q = np.array(HOME_Q)


def led(way: np.ndarray, joints: np.ndarray | None = None) -> list[str]:
    """What is said along a way, (N, 3) metres, a millisecond from one to the next."""
    joints = np.tile(Q, (len(way), 1)) if joints is None else joints
    watched = Watched(PANDA, ShieldConfig(), joints[0], way[0])
    return [watched.beyond(0.001 * i, q, place) for i, (q, place) in enumerate(zip(joints, way, strict=True))]


def along_y(speed_m_s: float, seconds: float = 0.3) -> np.ndarray:
    return PLACE + np.outer(0.001 * speed_m_s * np.arange(round(seconds * 1e3)), [0, 1, 0])


def test_a_hand_may_lead_the_arm_anywhere_in_the_workspace_at_a_bounded_speed():
    assert set(led(along_y(0.7))) == {""}
    assert "the hand was guided at 0.90 m/s, 0.80 are allowed" in led(along_y(0.9))


def test_one_noisy_pose_is_no_speed():
    way = along_y(0.0)
    way[100, 2] += 0.005
    assert set(led(way)) == {""}


def test_a_hand_that_leads_the_arm_out_of_the_workspace_is_told_where():
    said = led(PLACE + np.outer(np.linspace(0, 0.5, 2000), [0, 1, 0]))
    first = next(why for why in said if why)
    assert first.startswith("the hand left the workspace at [0.46, 0.45")


def test_an_arm_that_is_outside_already_may_be_led_back_but_no_further_out():
    outside = PLACE + [0, 0.6, 0]
    assert set(led(outside - np.outer(np.linspace(0, 0.3, 2000), [0, 1, 0]))) == {""}
    assert led(outside + np.outer(np.linspace(0, 0.1, 1000), [0, 1, 0]))[-1] != ""


def test_a_joint_that_comes_close_to_its_end_or_turns_too_fast_is_named():
    joints = np.tile(Q, (400, 1))
    joints[:, 3] = np.linspace(-2.2, -3.05, 400)
    assert "joint 4 was guided at 2.13 rad/s, 1.74 are allowed" in led(np.tile(PLACE, (400, 1)), joints)
    slowly = np.tile(Q, (4000, 1))
    slowly[:, 3] = np.linspace(-2.2, -3.05, 4000)
    assert led(np.tile(PLACE, (4000, 1)), slowly)[-1].startswith("joint 4 came to -3.0")


class Pedal:
    """A deadman with a gripper button."""

    def __init__(self) -> None:
        self.reading = Reading(held=True, push6=np.ones(6), pose7=np.zeros(7))

    def read(self) -> Reading:
        return self.reading

    def close(self) -> None:
        self.reading = Reading()


def test_a_demonstration_by_hand_commands_where_the_arm_is_and_asks_the_arm_once_to_yield():
    pedal = Pedal()
    device = HandDevice(lambda: GuidingHand(pedal))
    asked: list[str] = []
    device.engage(np.array([*PLACE, 1, 0, 0, 0]))
    for y in np.linspace(0, 0.2, 10):
        here = np.array([0.46, y, 0.4, 1, 0, 0, 0])
        command = device.command(0.02, here)
        asked += device.pressed()
        np.testing.assert_array_equal(command.pose7, here)
        assert (command.held, command.width_m) == (True, None)
    assert asked == ["guide"]
    pedal.reading = Reading(held=True, buttons=frozenset({"close"}))
    assert device.command(0.2, here).width_m == CLOSED_M
    pedal.reading = Reading()
    assert not device.command(0.2, here).held


@pytest.mark.parametrize("times", [2, 3])
def test_every_new_grip_asks_the_arm_anew_to_yield(times):
    device, asked = HandDevice(lambda: GuidingHand(Pedal())), []
    for _ in range(times):
        device.engage(np.array([*PLACE, 1, 0, 0, 0]))
        device.command(0.02, np.array([*PLACE, 1, 0, 0, 0]))
        asked += device.pressed()
        device.disengage()
    assert asked == ["guide"] * times


def test_a_joint_is_caught_with_all_its_damping_and_spring_or_with_what_its_motor_can_give():
    torque_nm, dq = np.array(PANDA.torque), np.array([2.0, 0.0, 0.5, 0.0, -2.0, 1.0, 0.0])
    damping = catching(dq, torque_nm)
    np.testing.assert_allclose(damping, [21.75, 30.0, 30.0, 30.0, 3.0, 6.0, 5.0])
    moved_on = Q + [0.1, 0.0, 0.5, 0.0, -0.5, 0.1, 0.0]
    pull = CATCHING_NM_RAD * (drawn_to(Q, moved_on, torque_nm) - moved_on)
    np.testing.assert_allclose(pull, [-20.0, 0.0, -34.8, 0.0, 4.8, -4.0, 0.0], atol=1e-9)
    assert (np.abs(pull) + np.abs(damping * dq) < torque_nm).all()

"""What every hand-held device does alike: no jump, relative motion, limits, deadman, gripper, buttons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from como_ros.control.rotations import matrix_from_vector, matrix_from_xyzw, xyzw_from_matrix
from como_ros.drivers.teleop import CLOSED_M, OPEN_M, Reading
from como_ros.drivers.teleop_clutch import Clutch, ClutchConfig, without_deadband
from como_ros.drivers.teleop_hand import HandDevice
from como_ros.errors import ComoError

FREE = ClutchConfig(max_speed_m_s=1e6, max_turn_rad_s=1e6, leash_m=1e6, leash_rad=1e6)
"""Without limits: where the target goes is then a matter of geometry alone."""
DT_S = 0.02

vectors = arrays(float, 3, elements=st.floats(-1, 1))
pushes = arrays(float, 6, elements=st.floats(-2, 2))


def pose(position, turn) -> np.ndarray:
    return np.concatenate([position, xyzw_from_matrix(matrix_from_vector(np.asarray(turn)))])


poses = st.builds(pose, vectors, vectors.map(lambda v: 3 * v))


def rotation(pose7) -> np.ndarray:
    return matrix_from_xyzw(pose7[3:])


def angle(a, b) -> float:
    cosine = (np.trace(rotation(a) @ rotation(b).T) - 1) / 2
    return float(np.arccos(np.clip(cosine, -1, 1)))


def assert_same(a, b):
    np.testing.assert_allclose(a[:3], b[:3], atol=1e-9)
    np.testing.assert_allclose(rotation(a), rotation(b), atol=1e-7)


@given(poses, poses)
def test_closing_the_clutch_never_moves_the_target_wherever_the_hand_is(ee, hand):
    assert_same(Clutch(ClutchConfig(), ee).follow(hand, DT_S, ee), ee)


@given(poses, st.lists(poses, min_size=2, max_size=6))
def test_the_target_goes_as_far_and_turns_as_far_as_the_hand_did(ee, hands):
    clutch = Clutch(FREE, ee)
    for hand in hands:
        target = clutch.follow(hand, DT_S, ee)
    np.testing.assert_allclose(target[:3] - ee[:3], hands[-1][:3] - hands[0][:3], atol=1e-6)
    turned = rotation(hands[-1]) @ rotation(hands[0]).T
    np.testing.assert_allclose(rotation(target), turned @ rotation(ee), atol=1e-5)


@given(poses, poses, poses, poses)
def test_closing_it_again_goes_on_from_where_the_target_was(ee, first, second, elsewhere):
    clutch = Clutch(FREE, ee)
    clutch.follow(first, DT_S, ee)
    there = clutch.follow(second, DT_S, ee)
    assert_same(clutch.open(), there)
    assert_same(clutch.follow(elsewhere, DT_S, ee), there)


def test_scales_shrink_way_and_angle_and_keep_the_axis():
    ee, start = pose([0.5, 0, 0.3], [0, 0, 0]), pose([0, 0, 0], [0, 0, 0])
    clutch = Clutch(ClutchConfig(0.5, 0.25, leash_m=9, leash_rad=9, max_speed_m_s=99, max_turn_rad_s=99), ee)
    clutch.follow(start, DT_S, ee)
    target = clutch.follow(pose([0.2, 0, -0.1], [0, 0.8, 0]), DT_S, ee)
    assert_same(target, pose([0.6, 0, 0.25], [0, 0.2, 0]))


@given(poses, st.lists(poses, min_size=1, max_size=8))
def test_the_target_is_never_faster_than_allowed_nor_far_from_the_arm(ee, hands):
    config = ClutchConfig()
    clutch, before = Clutch(config, ee), ee
    for hand in hands:
        target = clutch.follow(hand, DT_S, ee)
        assert np.linalg.norm(target[:3] - before[:3]) <= config.max_speed_m_s * DT_S + 1e-9
        assert angle(target, before) <= config.max_turn_rad_s * DT_S + 1e-6
        assert np.linalg.norm(target[:3] - ee[:3]) <= config.leash_m + 1e-9
        before = target


@given(poses, st.lists(pushes, min_size=1, max_size=8))
def test_leaning_on_a_stick_moves_at_most_at_its_speed(ee, leans):
    config = ClutchConfig()
    clutch, before = Clutch(config, ee), ee
    for lean in leans:
        target = clutch.push(lean, DT_S, ee)
        assert np.linalg.norm(target[:3] - before[:3]) <= config.push_speed_m_s * np.sqrt(3) * DT_S + 1e-9
        before = target


def test_a_blocked_arm_does_not_wind_the_target_up():
    ee = pose([0.5, 0, 0.1], [0, 0, 0])
    clutch = Clutch(ClutchConfig(), ee)
    down, up = np.array([0, 0, -1.0, 0, 0, 0]), np.array([0, 0, 1.0, 0, 0, 0])
    for _ in range(500):
        deepest = clutch.push(down, DT_S, ee)
    assert ee[2] - deepest[2] == pytest.approx(ClutchConfig().leash_m)
    assert clutch.push(up, DT_S, ee)[2] > deepest[2]


def test_rest_is_rest_and_the_end_of_the_way_is_full_speed():
    given_, found = np.array([0.0, 0.05, -0.079, 1.0, -1.0, 5.0]), np.array([0, 0, 0, 1.0, -1.0, 1.0])
    np.testing.assert_allclose(without_deadband(given_, 0.08), found)


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.array([0, 0, 0, 0, 0, 0, 0.5])])
def test_a_reading_that_is_no_pose_is_refused(bad):
    ee = pose([0.5, 0, 0.3], [0, 0, 0])
    with pytest.raises(ComoError):
        Clutch(ClutchConfig(), ee).follow(bad, DT_S, ee)


@pytest.mark.parametrize("values", [{"scale": 0.0}, {"leash_m": float("nan")}, {"deadband": 1.0}])
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(ComoError, match=next(iter(values))):
        ClutchConfig(**values)


class Dummy:
    """A real hand in software: it reads what the test wrote down, then breaks."""

    def __init__(self, *readings: Reading) -> None:
        self.readings = list(readings)
        self.closed = False

    def read(self) -> Reading:
        if not self.readings:
            raise OSError("unplugged")
        return self.readings.pop(0)

    def close(self) -> None:
        self.closed = True


EE = pose([0.5, 0, 0.3], [0, 0, 0])
REST = Reading()


def test_a_hand_off_the_deadman_drives_nothing_and_the_target_stays():
    lean = np.array([1.0, 0, 0, 0, 0, 0])
    device = HandDevice(lambda: Dummy(Reading(held=True, push6=lean), Reading(held=False, push6=lean)))
    device.engage(EE)
    first, second = device.command(0.02, EE), device.command(0.04, EE)
    assert (first.held, second.held) == (True, False)
    assert first.pose7[0] > EE[0]
    np.testing.assert_array_equal(first.pose7, second.pose7)


def test_a_button_counts_once_when_it_goes_down():
    down, both = frozenset({"start"}), frozenset({"start", "stop"})
    readings = (REST, Reading(buttons=down), Reading(buttons=both), Reading(held=True, buttons=both), REST)
    device = HandDevice(lambda: Dummy(*readings))
    assert [device.pressed() for _ in range(5)] == [(), ("start",), ("stop",), ("drive",), ()]


def test_what_is_down_when_the_device_is_first_read_was_not_pressed_for_us():
    stuck = Reading(held=True, buttons=frozenset({"start"}))
    device = HandDevice(lambda: Dummy(stuck, stuck, REST, stuck))
    assert [device.pressed() for _ in range(4)] == [(), (), (), ("drive", "start")]


def test_the_gripper_is_left_alone_until_it_is_asked_for():
    buttons = [frozenset(), frozenset({"close"}), frozenset(), frozenset({"open"})]
    device = HandDevice(lambda: Dummy(*(Reading(held=True, buttons=down) for down in buttons)))
    device.engage(EE)
    assert [device.command(i * DT_S, EE).width_m for i in range(4)] == [None, CLOSED_M, CLOSED_M, OPEN_M]


def test_a_device_that_broke_is_closed_and_opened_again_no_sooner_than_after_a_second():
    now, made = [0.0], []

    def open_hand():
        made.append(Dummy() if len(made) < 1 else Dummy(REST))
        return made[-1]

    device = HandDevice(open_hand, clock=lambda: now[0])
    with pytest.raises(OSError, match="unplugged"):
        device.pressed()
    assert made[0].closed
    with pytest.raises(ConnectionError, match=r"again in 1\.0 s"):
        device.pressed()
    now[0] = 1.1
    assert device.pressed() == ()
    assert len(made) == 2


def test_a_trigger_counts_once_it_has_moved_from_where_it_was_when_driving_began():
    device = HandDevice(lambda: Dummy(*(Reading(held=True, width_m=w) for w in (0.05, 0.05, 0.03, 0.05))))
    device.engage(EE)
    assert [device.command(i * DT_S, EE).width_m for i in range(4)] == [None, None, 0.03, 0.05]


def test_one_button_closes_and_opens_by_turns():
    down, up = Reading(held=True, buttons=frozenset({"toggle"})), Reading(held=True)
    device = HandDevice(lambda: Dummy(up, down, up, down))
    device.engage(EE)
    assert [device.command(i * DT_S, EE).width_m for i in range(4)] == [None, CLOSED_M, CLOSED_M, OPEN_M]

"""The shield: whatever is wanted, what is sent is finite, inside the box and slow enough."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from como_ros.control.interpolation import Setpoint
from como_ros.control.limits import LIMITS, get_limits
from como_ros.control.rotations import matrix_from_vector
from como_ros.control.shield import ShieldConfig, distance, guard
from como_ros.errors import ComoError
from policies.spaces import quaternion_from_matrix

CONFIG = ShieldConfig()
DT_S = 0.01
DOWN = np.array([1.0, 0, 0, 0])
HERE = Setpoint.still(np.concatenate([[0.5, 0, 0.3], DOWN]))

anything = st.floats(allow_nan=True, allow_infinity=True, width=32)
near = st.floats(-0.3, 0.3)


def moved(x: float = 0, y: float = 0, z: float = 0, twist=(0,) * 6) -> Setpoint:
    return Setpoint(HERE.pose7 + [x, y, z, 0, 0, 0, 0], np.array(twist, float))


def test_a_modest_step_passes_untouched():
    verdict = guard(CONFIG, moved(0.005), HERE, DT_S)
    assert verdict.reason == ""
    np.testing.assert_array_equal(verdict.setpoint.pose7, moved(0.005).pose7)


@given(st.lists(anything, min_size=13, max_size=13))
@settings(max_examples=100)
def test_whatever_is_wanted_what_is_sent_is_finite_boxed_and_slow(numbers):
    wanted = Setpoint(np.array(numbers[:7]), np.array(numbers[7:]))
    check_safe(guard(CONFIG, wanted, HERE, DT_S).setpoint, HERE)


@given(near, near, near, near, near, near)
@settings(max_examples=100)
def test_every_answer_keeps_the_limits_even_when_jumps_are_clamped(x, y, z, a, b, c):
    config = ShieldConfig(on_jump="clamp")
    quaternion = quaternion_from_matrix(matrix_from_vector(np.array([a, b, c])) @ HERE.rotation)
    pose7 = np.concatenate([HERE.pose7[:3] + [x, y, z], quaternion])
    wanted = Setpoint(pose7, np.array([x, y, z, a, b, c]) * 30)
    check_safe(guard(config, wanted, HERE, DT_S).setpoint, HERE)


def check_safe(sent: Setpoint, last: Setpoint) -> None:
    assert np.isfinite(sent.pose7).all()
    assert np.isfinite(sent.twist).all()
    assert (sent.pose7[:3] >= CONFIG.box_min_m).all()
    assert (sent.pose7[:3] <= CONFIG.box_max_m).all()
    step, turn = distance(sent, last)
    assert step <= CONFIG.max_speed_m_s * DT_S + 1e-9
    assert turn <= CONFIG.max_turn_rad_s * DT_S + 1e-6
    assert np.linalg.norm(sent.twist[:3]) <= CONFIG.max_speed_m_s + 1e-9
    assert np.linalg.norm(sent.twist[3:]) <= CONFIG.max_turn_rad_s + 1e-9


@pytest.mark.parametrize(
    ("wanted", "age_s", "kind"),
    [
        (moved(np.nan), 0.0, "not finite"),
        (moved(0, twist=[np.inf, 0, 0, 0, 0, 0]), 0.0, "not finite"),
        (Setpoint.still(HERE.pose7 * 2), 0.0, "not finite"),
        (moved(0.001), 0.3, "age"),
        (moved(0.2), 0.0, "jump"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_the_arm_stands_still(wanted, age_s, kind):
    verdict = guard(CONFIG, wanted, HERE, DT_S, age_s)
    assert (verdict.refused, verdict.kind) == (True, kind)
    np.testing.assert_array_equal(verdict.setpoint.pose7, HERE.pose7)
    assert not verdict.setpoint.twist.any()


def test_too_fast_is_slowed_along_the_way():
    verdict = guard(CONFIG, moved(0.1), HERE, DT_S)
    assert verdict.kind == "too fast"
    np.testing.assert_allclose(verdict.setpoint.pose7[:3], [0.508, 0, 0.3])


def test_a_rotation_that_slows_the_step_slows_the_twist_with_it():
    turned = matrix_from_vector(np.array([0, 0, 0.04])) @ HERE.rotation  # 4 rad/s, twice the limit
    pose7 = np.concatenate([HERE.pose7[:3] + [0.004, 0, 0], quaternion_from_matrix(turned)])
    wanted = Setpoint(pose7, np.array([0.4, 0, 0, 0, 0, 4.0]))
    sent = guard(CONFIG, wanted, HERE, DT_S).setpoint
    np.testing.assert_allclose(sent.pose7[:3] - HERE.pose7[:3], [0.002, 0, 0], atol=1e-9)
    np.testing.assert_allclose(sent.twist, [0.2, 0, 0, 0, 0, 2.0], atol=1e-6)


def test_a_twist_too_fast_in_one_part_is_slowed_in_both():
    verdict = guard(CONFIG, moved(twist=[0.4, 0, 0, 0, 0, 4.0]), HERE, DT_S)
    np.testing.assert_allclose(verdict.setpoint.twist, [0.2, 0, 0, 0, 0, 2.0])


def test_outside_the_box_is_clamped_and_the_outward_velocity_dropped():
    last = moved(z=-0.29)
    verdict = guard(CONFIG, moved(z=-0.30, twist=[0.1, 0, -0.2, 0, 0, 0]), last, DT_S)
    assert verdict.kind == "outside the box"
    assert CONFIG.box_min_m[2] <= verdict.setpoint.pose7[2] < last.pose7[2]
    np.testing.assert_array_equal(verdict.setpoint.twist[:3], [0.1, 0, 0])


def test_a_wall_of_the_box_is_reached_without_a_jolt_and_never_crossed():
    last, speed_m_s, heights, speeds = moved(z=-0.1), 0.2, [], []
    for tick in range(200):
        goal = moved(z=-0.1 - speed_m_s * DT_S * tick, twist=[0, 0, -speed_m_s, 0, 0, 0])
        last = guard(CONFIG, goal, last, DT_S).setpoint
        heights.append(last.pose7[2])
        speeds.append(-last.twist[2])
    assert min(heights) >= CONFIG.box_min_m[2]
    assert heights[-1] == pytest.approx(CONFIG.box_min_m[2], abs=1e-4)
    braking_m_s2 = -np.diff(np.diff(heights) / DT_S) / DT_S
    assert np.abs(braking_m_s2[5:]).max() < 10


def test_an_arm_outside_the_box_may_stay_and_come_back_but_not_go_further():
    outside = moved(x=0.35)
    assert guard(CONFIG, outside, outside, DT_S).reason == ""
    assert guard(CONFIG, moved(x=0.345), outside, DT_S).reason == ""
    np.testing.assert_allclose(guard(CONFIG, moved(x=0.355), outside, DT_S).setpoint.pose7, outside.pose7)


@pytest.mark.parametrize(("field", "wanted"), [("on_box", moved(z=-0.299)), ("on_speed", moved(0.1))])
def test_clamping_can_be_configured_to_refusal(field, wanted):
    last = moved(z=-0.29) if field == "on_box" else HERE
    assert guard(ShieldConfig(**{field: "refuse"}), wanted, last, DT_S).refused


def test_an_empty_box_is_refused_at_once():
    with pytest.raises(ComoError, match="workspace box is empty"):
        ShieldConfig(box_min_m=(0.9, 0, 0))
    with pytest.raises(ComoError, match="max_age_s must be positive, got 0"):
        ShieldConfig(max_age_s=0)
    with pytest.raises(ComoError, match="needs x, y and z"):
        ShieldConfig(box_min_m=(0.2, -0.4))


@pytest.mark.parametrize("field", ["on_box", "on_speed", "on_jump"])
def test_an_answer_that_is_none_is_refused_and_not_taken_for_the_other_one(field):
    with pytest.raises(ComoError, match=f"{field} is 'refuze'; known answers: clamp, refuse"):
        ShieldConfig(**{field: "refuze"})


def test_both_robots_have_a_table_and_an_unknown_one_is_named():
    assert sorted(LIMITS) == ["fr3", "panda"]
    assert get_limits("panda").joint_velocity[0] < get_limits("fr3").joint_velocity[0]
    with pytest.raises(ComoError, match="no limits for robot 'ur5'; known robots: fr3, panda"):
        get_limits("ur5")

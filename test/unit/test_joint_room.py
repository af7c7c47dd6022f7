"""What a Cartesian motion asks of the joints: never more speed than they have, never into their ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from como_ros.control.homing import HOME_Q
from como_ros.control.interpolation import Setpoint
from como_ros.control.joint_room import END_TIME_S, MARGIN_RAD, SPEED_SHARE, joint_rates, slow_down
from como_ros.control.kinematics import ee_pose7, jacobian
from como_ros.control.limits import LIMITS, PANDA
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.tracking import Briskness

DT_S, MS = 0.01, 1_000_000
HOME = np.array(HOME_Q)
AS_HARD_AS_IT_TAKES = Briskness(1e6, 1e6)


def asked_of(q: np.ndarray, twist, limits=PANDA, last_twist=None, most=AS_HARD_AS_IT_TAKES):
    """(the set-point's twist as it may go, why not faster) for a motion that wants `twist`."""
    last = Setpoint(ee_pose7(q), np.asarray(twist if last_twist is None else last_twist, float))
    wanted = Setpoint(last.pose7, np.asarray(twist, float)).after(DT_S)
    slowed, why = slow_down(limits, q, wanted, last, DT_S, most)
    return slowed.twist, why, (slowed.pose7[:3] - last.pose7[:3]) / DT_S


def test_a_speed_that_the_end_effector_may_have_is_slowed_where_an_elbow_may_not():
    slowed, why, gone = asked_of(HOME, [0.8, 0, 0, 0, 0, 0])
    assert why.startswith("too fast for joint 2: slowed to ")
    assert np.abs(joint_rates(HOME, slowed)).max() == pytest.approx(SPEED_SHARE * 2.175, rel=1e-3)
    np.testing.assert_allclose(gone, slowed[:3], atol=1e-6)
    assert asked_of(HOME, [0.3, 0, 0, 0, 0, 0])[1] == ""


def test_a_joint_near_its_end_is_approached_ever_more_slowly_and_left_freely():
    q = HOME.copy()
    q[3] = PANDA.q_min[3] + 0.1
    inward = jacobian(q) @ np.array([0, 0, 0, 1.5, 0, 0, 0])
    out = -inward
    if joint_rates(q, out)[3] > 0:
        inward, out = out, inward
    slowed, why, _ = asked_of(q, out)
    assert why.startswith("too fast for joint 4")
    assert abs(joint_rates(q, slowed)[3]) <= (0.1 - MARGIN_RAD) / END_TIME_S + 1e-3
    assert asked_of(q, inward)[1] == ""


def test_it_is_slowed_no_more_harshly_than_the_arm_may_brake():
    most = Briskness(8.1, 15.3)
    slowed, why, _ = asked_of(HOME, [0.8, 0, 0, 0, 0, 0], most=most)
    assert why
    assert 0.8 - slowed[0] == pytest.approx(8.1 * DT_S)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_slowing_down_for_a_joint_changes_speed_no_more_briskly_than_the_rest_of_the_servo(seed):
    """It once did by twice as much: the turn of the way and the braking along it added up."""
    rng, most = np.random.default_rng(seed), Briskness(8.1, 15.3)
    last_twist = rng.normal(0, 0.6, 6)
    steps = [
        length * way / np.linalg.norm(way)
        for way, length in zip(rng.normal(0, 1, (2, 3)), DT_S * np.array([8.1, 15.3]), strict=True)
    ]
    slowed, _, _ = asked_of(HOME, last_twist + np.concatenate(steps), last_twist=last_twist, most=most)
    change = slowed - last_twist
    assert np.linalg.norm(change[:3]) <= 8.1 * DT_S + 1e-6
    assert np.linalg.norm(change[3:]) <= 15.3 * DT_S + 1e-6


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(LIMITS)))
def test_no_motion_asks_a_joint_for_more_than_its_share(seed, robot):
    limits, rng = LIMITS[robot], np.random.default_rng(seed)
    q = rng.uniform(np.add(limits.q_min, 0.3), np.subtract(limits.q_max, 0.3))
    slowed, _, gone = asked_of(q, rng.normal(0, 0.6, 6), limits)
    shares = np.abs(joint_rates(q, np.concatenate([gone, slowed[3:]]))) / limits.joint_velocity
    assert shares.max() <= SPEED_SHARE + 1e-3


def follow(limits) -> tuple[float, set[str]]:
    """A chunk away from the base at 0.7 m/s: (the fastest joint's share of its speed, what was said)."""
    q = HOME
    servo = Servo(ServoConfig(), ShieldConfig(), ee_pose7(q), 0, limits)
    for tick, state in enumerate(("stopped", "ready", "policy"), 1):
        servo.supervise(state, tick * MS)
    due_ns = 100 * MS * np.arange(8)
    poses7 = np.tile(ee_pose7(q), (8, 1))
    poses7[:, 0] += np.minimum(0.07 * np.arange(8), 0.28)
    servo.command_chunk(due_ns, poses7, 3 * MS)
    fastest, said = 0.0, set()
    for now_ns in range(10 * MS, 700 * MS, 10 * MS):
        servo.supervise("policy", now_ns)
        setpoint = servo.tick(now_ns, q)
        rates = joint_rates(q, setpoint.twist)
        fastest = max(fastest, float((np.abs(rates) / PANDA.joint_velocity).max()))
        said.add(servo.reason.partition(":")[0])
        q = q + DT_S * rates
    return fastest, said


def test_the_servo_slows_a_policy_that_asks_too_much_of_a_joint_and_says_which():
    fastest, said = follow(PANDA)
    assert "too fast for joint 4" in said
    assert fastest < SPEED_SHARE + 0.1  # braking takes its time
    without, _ = follow(None)
    assert without > 1.0


@pytest.mark.parametrize("way", [1, -1])
def test_a_joint_at_its_end_does_not_forbid_what_does_not_move_it(way):
    """Up was forbidden and down was not: rounding made joint 1 move by 1e-17 rad/s towards its end."""
    q = HOME.copy()
    q[0] = PANDA.q_max[0] - MARGIN_RAD / 2
    assert asked_of(q, [0, 0, way * 0.1, 0, 0, 0])[1] == ""

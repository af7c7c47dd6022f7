"""Whatever a peer sends the servo, in any order: it never breaks, keeps its limits, says what it refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from como_ros.control.homing import HOME_Q
from como_ros.control.interpolation import MOST_POSES
from como_ros.control.joint_room import joint_rates
from como_ros.control.kinematics import ee_pose7
from como_ros.control.limits import PANDA
from como_ros.control.rotations import vector_from_matrix
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig

MS, DT_S = 1_000_000, 0.01
START = ee_pose7(np.array(HOME_Q))
STATES = ["stopped", "ready", "teleop", "policy", "policy", "teleop", "nonsense", ""]


def armed(shield: ShieldConfig | None = None, state: str = "policy") -> Servo:
    servo = Servo(ServoConfig(), shield or ShieldConfig(), START, 0)
    for number, said in enumerate(("stopped", "ready", state), 1):
        servo.supervise(said, number * MS)
    return servo


def chunk(servo: Servo, poses7: np.ndarray, period_ms: int = 100) -> str:
    return servo.command_chunk((3 + period_ms * np.arange(len(poses7))) * MS, poses7, 3 * MS)


def run(servo: Servo, seconds: float, state: str = "policy") -> np.ndarray:
    """(N, 13) poses and twists sent."""
    sent = []
    for now_ns in range(10 * MS, round(seconds * 1e9), 10 * MS):
        servo.supervise(state, now_ns)
        setpoint = servo.tick(now_ns)
        sent.append(np.concatenate([setpoint.pose7, setpoint.twist]))
    return np.array(sent)


@pytest.mark.parametrize(
    ("due_ns", "poses", "why"),
    [
        ([], 0, "not timed: 0 poses"),
        ([5, 5], 2, "not timed: 2 poses"),
        ([5, 4], 2, "not timed: 2 poses"),
        (range(MOST_POSES + 1), MOST_POSES + 1, "not timed: 1001 poses, 1 to 1000 are needed"),
    ],
)
def test_a_chunk_without_poses_out_of_order_or_without_end_is_refused_whole(due_ns, poses, why):
    servo = armed()
    assert servo.command_chunk(np.array(due_ns, int), np.tile(START, (poses, 1)), 3 * MS).startswith(why)
    assert servo.counters["refused not timed"] == 1


def test_a_last_pose_that_is_no_rotation_is_refused_with_the_chunk_and_not_on_the_way_to_it():
    servo, poses7 = armed(), np.tile(START, (4, 1))
    poses7[3, 3:] *= 1.005
    assert chunk(servo, poses7) == "not finite: quaternion of length 1.0050 in pose 4 is no rotation"


@pytest.mark.parametrize("state", ["teleop", "policy"])
def test_a_quaternion_a_little_too_long_is_sent_with_unit_length(state):
    """franky makes a stretched rotation of one that is not."""
    servo, poses7 = armed(state=state), np.tile(START, (4, 1))
    poses7[:, 3:] *= 1.0009
    if state == "policy":
        assert chunk(servo, poses7) == ""
    else:
        assert servo.command_pose(poses7[0], 3 * MS, 3 * MS) == ""
    lengths = np.linalg.norm(run(servo, 0.3, state)[:, 3:7], axis=1)
    assert np.abs(lengths - 1).max() < 1e-9


def speeding_up() -> np.ndarray:
    """(16, 7) poses aside, ever faster."""
    poses7 = np.tile(START, (16, 1))
    poses7[:, 1] += 0.01 * np.arange(16) ** 2
    return poses7


def test_a_stall_while_it_brakes_is_no_reason_to_stop_dead_and_complain_for_ever():
    """Who refuses what is too fast refused its own braking, in every round from then on."""
    servo = armed(ShieldConfig(on_speed="refuse"))
    chunk(servo, speeding_up())
    assert run(servo, 0.36)[-1, 8] > 0.5
    servo.commander_lost()
    sent = [servo.tick(ms * MS) for ms in (360, 420, *range(430, 800, 10))]
    assert sent[-1].pose7[1] - sent[0].pose7[1] > 0.01
    assert servo.counters["too fast"] < 5


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_order_of_commands_words_and_stalls_keeps_every_limit(seed):
    rng, shield, config = np.random.default_rng(seed), ShieldConfig(), ServoConfig()
    q, now_ns = np.array(HOME_Q) + rng.normal(0, 0.1, 7), 0
    servo = Servo(config, shield, ee_pose7(q), 0, PANDA)
    last, state = servo.tick(0, q), "stopped"
    for tick in range(80):
        step_ns = 10 * MS if rng.random() < 0.97 else int(rng.integers(1, 300)) * MS
        now_ns += step_ns
        state = STATES[tick] if tick < 3 else state if rng.random() < 0.97 else str(rng.choice(STATES))
        trouble(rng, servo, state, last.pose7, now_ns)
        sent = servo.tick(now_ns, q)
        passed_s = min(step_ns / 1e9, config.max_dt_s)
        way = np.concatenate(
            [sent.pose7[:3] - last.pose7[:3], vector_from_matrix(sent.rotation @ last.rotation.T)]
        )
        assert np.isfinite(np.concatenate([sent.pose7, sent.twist])).all()
        assert np.linalg.norm(way[:3]) <= shield.max_speed_m_s * passed_s + 1e-9
        assert np.linalg.norm(way[3:]) <= shield.max_turn_rad_s * passed_s + 1e-9
        change = (sent.twist - last.twist) / (step_ns / 1e9)
        assert np.linalg.norm(change[:3]) <= config.acceleration_m_s2 + 1e-6
        assert np.linalg.norm(change[3:]) <= config.acceleration_rad_s2 + 1e-6
        q, last = q + passed_s * joint_rates(q, way / passed_s), sent


def trouble(rng: np.random.Generator, servo: Servo, state: str, here: np.ndarray, now_ns: int) -> None:
    """What peers may do within one round."""
    if rng.random() < 0.9:
        servo.supervise(state, now_ns)
    if rng.random() < 0.2:
        count = int(rng.choice([1, 2, 16]))
        period_ns = int(rng.choice([1, 1000, MS, 50 * MS, 100 * MS]))
        due_ns = now_ns + int(rng.integers(-300, 400)) * MS + period_ns * np.arange(count)
        servo.command_chunk(due_ns, somewhere(rng, here, count), now_ns)
    if rng.random() < 0.3:
        stamp_ns = now_ns + int(rng.choice([0, 0, -50, 50, 900, -300])) * MS
        servo.command_pose(somewhere(rng, here, 1)[0], stamp_ns, now_ns)
    if rng.random() < 0.03:
        servo.commander_lost()
    if rng.random() < 0.01:
        servo.contested("/arm/command/chunk")
    if rng.random() < 0.03:
        servo.mandate.hindrance = str(rng.choice(["", "the robot is silent"]))


def somewhere(rng: np.random.Generator, here: np.ndarray, count: int) -> np.ndarray:
    """(count, 7) poses near or far; now and then turned by any angle, of either sign, or no pose at all."""
    poses7 = np.tile(here, (count, 1))
    poses7[:, :3] += np.cumsum(rng.normal(0, rng.choice([0, 0.003, 0.03, 0.3]), (count, 3)), 0)
    poses7[:, 3:] += rng.normal(0, rng.choice([0, 1e-9, 0.03, 1.0]), (count, 4))
    poses7[:, 3:] /= rng.choice([-1, 1]) * np.linalg.norm(poses7[:, 3:], axis=1, keepdims=True)
    if rng.random() < 0.1:
        poses7[rng.integers(count), rng.integers(7)] = rng.choice([np.nan, np.inf, -1e150, 0.0])
    return poses7

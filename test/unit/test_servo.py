"""The servo: moves only when told to by the right side, holds in time, and never jumps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from como_ros.bench_servo import run_bench
from como_ros.control.interpolation import Setpoint
from como_ros.control.mandate import INACTIVE
from como_ros.control.servo import FOLLOWING, HOLDING, Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.speakers import ALONE_NS, CHUNKS_ALONE_NS, Speakers, Turns
from como_ros.errors import ComoError

MS = 1_000_000
START = np.array([0.5, 0, 0.3, 1, 0, 0, 0])


class Bench:
    """A servo with a clock and a faithful supervisor."""

    def __init__(self, state: str = "teleop") -> None:
        self.servo = Servo(ServoConfig(), ShieldConfig(), START, 0)
        self.state, self.supervised = state, True
        self.now_ns = 0
        self.sent: list[Setpoint] = []
        self.servo.reset(START, 0, rearm=True)
        self.state = "ready"
        self.step(1)
        self.state = state
        self.step(1)

    def step(self, ticks: int) -> Setpoint:
        for _ in range(ticks):
            self.now_ns += 10 * MS
            if self.supervised:
                self.servo.supervise(self.state, self.now_ns)
            self.sent.append(self.servo.tick(self.now_ns))
        return self.sent[-1]

    def drive(self, seconds: float, speed_m_s: float = 0.1) -> None:
        """An operator moving along y, a pose every 20 ms."""
        start = self.sent[-1].pose7
        for number in range(1, round(seconds / 0.02) + 1):
            target = start + [0, 0.02 * number * speed_m_s, 0, 0, 0, 0, 0]
            self.servo.command_pose(target, self.now_ns, self.now_ns)
            self.step(2)

    def chunk(self, delay_ms: int = 0, poses: int = 16, speed_m_s: float = 0.1) -> str:
        due_ns = self.now_ns + (delay_ms + 100 * np.arange(poses)) * MS
        poses7 = np.tile(self.sent[-1].pose7, (poses, 1))
        poses7[:, 1] += 0.1 * speed_m_s * np.arange(poses)
        return self.servo.command_chunk(due_ns, poses7, self.now_ns)

    @property
    def speed(self) -> float:
        return float(np.linalg.norm(self.sent[-1].twist[:3]))


def test_holds_before_anything_is_commanded():
    bench = Bench()
    np.testing.assert_array_equal(bench.step(20).pose7, START)
    assert (bench.servo.activity, bench.servo.reason) == (HOLDING, "no pose commanded yet")


def test_follows_a_driving_operator_with_the_velocity_fed_forward():
    bench = Bench()
    bench.drive(1.0)
    assert bench.servo.activity == FOLLOWING
    assert bench.speed > 0.05
    assert bench.sent[-1].pose7[1] > 0.05


def test_an_operator_gone_silent_leaves_the_arm_standing_within_200_ms():
    bench = Bench()
    bench.drive(1.0)
    bench.step(20)
    assert bench.speed == 0
    assert (bench.servo.activity, bench.servo.reason) == (HOLDING, "commands stopped")


def test_a_chunk_is_followed_to_its_end_and_then_held():
    bench = Bench("policy")
    assert bench.chunk() == ""
    bench.step(100)
    assert bench.speed == pytest.approx(0.1, abs=0.01)
    bench.step(60)
    assert bench.servo.reason == "chunk ran out"
    np.testing.assert_allclose(bench.sent[-1].pose7[1], 0.15, atol=0.005)


def test_a_chunk_that_starts_later_waits_while_the_old_one_goes_on():
    bench = Bench("policy")
    bench.chunk()
    bench.step(40)
    bench.chunk(delay_ms=100, speed_m_s=-0.1)
    bench.step(5)
    assert bench.sent[-1].twist[1] > 0
    bench.step(30)
    assert bench.sent[-1].twist[1] < 0


def test_losing_the_commander_holds_at_once_and_a_new_chunk_goes_on():
    bench = Bench("policy")
    bench.chunk()
    bench.step(50)
    bench.servo.commander_lost()
    bench.step(8)
    assert (bench.speed, bench.servo.reason) == (0, "commander lost")
    bench.chunk()
    bench.step(20)
    assert bench.servo.activity == FOLLOWING


@pytest.mark.parametrize("state", ["stopped", "ready", "teleop", "nonsense", ""])
def test_a_chunk_moves_nothing_unless_the_supervisor_says_policy(state):
    bench = Bench(state)
    bench.chunk()
    np.testing.assert_array_equal(bench.step(50).pose7, START)


def test_stop_brakes_within_100_ms_and_the_old_chunk_does_not_resume_when_re_armed():
    bench = Bench("policy")
    bench.chunk()
    bench.step(50)
    bench.state = "stopped"
    bench.step(8)
    assert bench.speed == 0
    stood = bench.sent[-1].pose7
    bench.state = "policy"
    np.testing.assert_array_equal(bench.step(30).pose7, stood)
    assert bench.servo.reason == "no chunk commanded yet"


def test_a_silent_supervisor_leaves_the_arm_standing_within_200_ms_and_counts_as_dead_after_a_second():
    bench = Bench("policy")
    bench.chunk()
    bench.step(30)
    bench.supervised = False
    bench.step(10)
    assert bench.servo.activity == FOLLOWING
    bench.step(9)
    assert (bench.speed, bench.servo.reason, bench.servo.halted) == (0, "supervisor late", "")
    bench.step(83)
    assert (bench.servo.reason, bench.servo.halted) == ("supervisor silent", "supervisor silent")
    bench.supervised = True
    bench.step(1)
    bench.chunk()
    bench.step(20)
    assert (bench.speed, bench.servo.reason) == (0, "waiting to be armed again")


@pytest.mark.parametrize("state", ["policy", "teleop"])
def test_a_supervisor_that_merely_came_late_holds_the_arm_and_the_next_command_goes_on(state):
    bench = Bench(state)

    def command(ticks: int) -> None:
        if state == "policy":
            bench.chunk()
            bench.step(ticks)
        else:
            bench.drive(ticks / 100)

    command(30)
    bench.supervised = False
    command(20)
    assert (bench.servo.activity, bench.servo.reason) == (HOLDING, "supervisor late")
    stood = bench.sent[-1].pose7
    command(4)  # meanwhile nothing counts
    np.testing.assert_array_equal(bench.sent[-1].pose7, stood)
    bench.supervised = True
    np.testing.assert_array_equal(bench.step(20).pose7, stood)
    command(20)
    assert bench.sent[-1].pose7[1] > stood[1] + 0.005
    assert bench.servo.counters["held: supervisor late"] == 1


def test_a_width_that_is_told_while_the_supervisor_is_late_is_not_lost():
    bench = Bench("teleop")
    bench.drive(0.2)
    bench.supervised = False
    bench.step(15)
    bench.servo.command_widths(np.array([bench.now_ns]), np.array([0.02]), bench.now_ns)
    bench.step(1)
    assert bench.servo.width(bench.now_ns) is None
    bench.supervised = True
    bench.drive(0.1)
    assert bench.servo.width(bench.now_ns) == 0.02


def test_what_the_loop_itself_slept_through_is_no_silence_of_the_supervisor():
    bench = Bench("policy")
    bench.chunk()
    bench.step(20)
    bench.now_ns += 900 * MS
    bench.supervised = False
    bench.step(7)
    assert bench.servo.mandate.pause == ""
    bench.step(95)
    assert bench.servo.reason == "supervisor silent"


def test_after_a_fault_nothing_moves_until_the_supervisor_arms_again():
    bench = Bench("policy")
    bench.chunk()
    bench.step(20)
    bench.servo.reset(START, bench.now_ns, rearm=True)
    bench.sent.append(Setpoint.still(START))
    stays_until_armed_again(bench)


def test_a_heartbeat_that_returns_armed_moves_nothing():
    bench = Bench("policy")
    bench.supervised = False
    bench.step(110)
    assert bench.servo.reason == "supervisor silent"
    bench.supervised = True
    stays_until_armed_again(bench)


def test_an_arm_node_restarted_while_armed_moves_nothing():
    bench = Bench("policy")
    bench.servo = Servo(ServoConfig(), ShieldConfig(), START, bench.now_ns)
    bench.servo.reset(START, bench.now_ns, rearm=True)
    stays_until_armed_again(bench)


def test_a_deactivated_arm_brakes_hears_nobody_and_once_active_again_waits_to_be_armed():
    bench = Bench("policy")
    bench.chunk()
    bench.step(40)
    assert bench.speed > 0.05
    bench.servo.mandate.activate(False)
    rest = bench.step(10).pose7
    assert bench.speed == 0
    for state in ("stopped", "ready", "policy"):
        bench.state = state
        bench.step(1)
        bench.chunk()
        np.testing.assert_array_equal(bench.step(30).pose7, rest)
        assert bench.servo.reason == bench.servo.halted == bench.servo.mandate.unheard == INACTIVE
    bench.servo.mandate.activate(True)
    stays_until_armed_again(bench)


def stays_until_armed_again(bench: Bench) -> None:
    rest = bench.sent[-1].pose7
    for _ in range(3):
        bench.step(1)
        bench.chunk()
        np.testing.assert_array_equal(bench.step(30).pose7, rest)
        assert bench.servo.reason == "waiting to be armed again"
    bench.state = "ready"
    bench.step(1)
    bench.state = "policy"
    bench.step(1)
    bench.chunk()
    assert bench.step(20).pose7[1] > rest[1]


def test_two_publishers_stop_the_arm_until_it_is_armed_again():
    bench = Bench("teleop")
    bench.drive(0.5)
    bench.servo.contested("/arm/command/pose")
    bench.drive(0.4)
    assert bench.speed == 0
    assert bench.servo.reason == "two publishers on /arm/command/pose; stop one of them and arm again"
    assert (bench.servo.halted, bench.servo.counters["contested"]) == (bench.servo.reason, 1)
    rest = bench.sent[-1].pose7
    bench.drive(0.4)
    np.testing.assert_array_equal(bench.sent[-1].pose7, rest)
    bench.state = "ready"
    bench.step(1)
    bench.state = "teleop"
    bench.step(1)
    bench.drive(0.4)
    assert bench.speed > 0


def test_a_clock_that_jumps_holds_the_arm_until_it_is_armed_again():
    bench = Bench("policy")
    bench.chunk()
    bench.step(30)
    for _ in range(2):
        bench.servo.raise_alarm("clock jumps", "the system clock jumped")
        bench.chunk()
        bench.step(10)
    assert (bench.speed, bench.servo.reason) == (0, "the system clock jumped")
    assert bench.servo.counters["clock jumps"] == 1
    for state in ("stopped", "ready", "policy"):
        assert bench.speed == 0
        bench.state = state
        bench.step(1)
    bench.chunk()
    bench.step(20)
    assert bench.speed > 0


def test_two_supervisors_move_nothing_though_one_of_them_says_stopped_and_the_other_arms():
    """Each heartbeat of the stopped one would be the edge that the next of the armed one needs."""
    bench = Bench("policy")
    bench.supervised = False
    for _ in range(20):
        bench.servo.contested("/supervisor/state")
        bench.servo.supervise("", bench.now_ns)
        bench.chunk()
        bench.step(10)
        assert bench.servo.mandate.state == ""
    np.testing.assert_array_equal(bench.sent[-1].pose7, START)
    assert bench.servo.reason.startswith("two publishers on /supervisor/state")
    bench.supervised = True
    bench.step(10)
    bench.chunk()
    np.testing.assert_array_equal(bench.step(30).pose7, START)
    bench.state = "ready"
    bench.step(1)
    bench.state = "policy"
    bench.step(1)
    bench.chunk()
    assert bench.step(20).pose7[1] > 0


def test_two_speakers_within_a_second_are_two_and_a_restarted_one_is_one():
    speakers, second = Speakers(), 10**9
    assert not speakers.two(b"a", 0)
    assert not speakers.two(b"a", second // 2)
    assert speakers.two(b"b", second)
    assert speakers.two(b"a", second + 1)
    assert not speakers.two(b"c", 3 * second)


def test_two_policies_that_send_whole_chunks_are_two():
    speakers, chunk_ns = Speakers(CHUNKS_ALONE_NS), 1_600 * MS
    said = [speakers.two(b"a", at) for at in range(0, 4 * chunk_ns, chunk_ns)]
    assert not any(said)
    assert speakers.two(b"b", 4 * chunk_ns)


def test_the_last_widths_of_a_policy_that_has_yielded_are_late_and_no_contest():
    turns = Turns()
    turns.begin("policy", 0)
    assert not turns.two(b"policy", 10 * MS)
    turns.begin("teleop", 20 * MS)
    assert turns.is_late(b"policy", 30 * MS)
    assert not turns.is_late(b"person", 40 * MS)
    assert not turns.two(b"person", 40 * MS)


def test_a_policy_that_does_not_yield_is_a_second_publisher():
    turns = Turns()
    turns.begin("policy", 0)
    turns.two(b"policy", 10 * MS)
    turns.begin("teleop", 20 * MS)
    stubborn_ns = 20 * MS + ALONE_NS
    assert not turns.two(b"person", stubborn_ns - 1)
    assert not turns.is_late(b"policy", stubborn_ns)
    assert turns.two(b"policy", stubborn_ns)


def test_who_gets_its_turn_back_within_a_second_is_listened_to():
    turns = Turns()
    for at, turn, sender in (
        (0, "policy", b"policy"),
        (100, "teleop", b"person"),
        (200, "policy", b"policy"),
    ):
        turns.begin(turn, at * MS)
        assert not turns.is_late(sender, at * MS)
        assert not turns.two(sender, at * MS)
    assert turns.is_late(b"person", 210 * MS)


def velocity_steps(bench: Bench) -> np.ndarray:
    return np.linalg.norm(np.diff([setpoint.twist[:3] for setpoint in bench.sent], axis=0), axis=1)


def test_a_takeover_ignores_the_policy_at_once_and_follows_the_person_without_a_jump():
    bench = Bench("policy")
    bench.chunk(speed_m_s=0.2)
    bench.step(60)
    assert (bench.servo.driver, bench.speed) == ("policy", pytest.approx(0.2, abs=0.01))
    bench.state = "teleop"
    bench.step(1)
    assert bench.servo.driver == ""
    assert bench.chunk(speed_m_s=0.2) == ""  # the policy has not heard it yet
    bench.step(2)
    assert bench.servo.driver == ""
    bench.drive(1.0, speed_m_s=-0.1)
    assert (bench.servo.driver, bench.servo.counters["contested"]) == ("teleop", 0)
    assert bench.sent[-1].twist[1] < -0.05
    assert velocity_steps(bench).max() < 8.1 * 0.01


def test_handing_back_ends_the_persons_motion_and_blends_into_the_next_chunk():
    bench = Bench("policy")
    bench.state = "teleop"
    bench.step(1)
    bench.drive(1.0, speed_m_s=0.2)
    assert bench.speed > 0.15
    bench.state = "policy"
    bench.step(3)
    assert bench.servo.driver == ""
    assert bench.chunk(speed_m_s=-0.2) == ""
    bench.step(40)
    assert bench.servo.driver == "policy"
    assert bench.sent[-1].twist[1] == pytest.approx(-0.2, abs=0.01)
    assert velocity_steps(bench).max() < 8.1 * 0.01


def test_a_reset_while_ready_lets_the_next_arming_count():
    bench = Bench("ready")
    bench.servo.reset(START, bench.now_ns, rearm=True)
    bench.state = "policy"
    bench.step(1)
    bench.chunk()
    assert bench.step(20).pose7[1] > 0


def test_a_heartbeat_lost_while_homing_needs_arming_too():
    bench = Bench("ready")
    bench.supervised = False
    bench.step(110)
    bench.servo.reset(START, bench.now_ns)
    bench.supervised, bench.state = True, "policy"
    stays_until_armed_again(bench)


def test_released_means_that_the_last_change_was_from_stopped_to_ready():
    bench = Bench("stopped")
    bench.state = "ready"
    bench.step(1)
    assert bench.servo.mandate.released
    for state in ("policy", "stopped"):
        bench.state = state
        bench.step(1)
        assert not bench.servo.mandate.released


def test_a_bad_chunk_is_refused_whole_and_counted():
    bench = Bench("policy")
    due_ns = bench.now_ns + 100 * MS * np.arange(4)
    poses7 = np.tile(START, (4, 1))
    poses7[2, 1] = np.nan
    assert bench.servo.command_chunk(due_ns, poses7, bench.now_ns).startswith("not finite")
    assert bench.servo.command_chunk(due_ns, poses7[:, :6], bench.now_ns).startswith("not finite")
    assert bench.servo.command_chunk(due_ns + 10**10, np.tile(START, (4, 1)), bench.now_ns).startswith("age")
    assert bench.servo.command_chunk(due_ns - 10**10, np.tile(START, (4, 1)), bench.now_ns).startswith("age")
    assert bench.servo.command_chunk(due_ns, far(), bench.now_ns).startswith("jump")
    np.testing.assert_array_equal(bench.step(30).pose7, START)
    assert bench.servo.counters["refused not finite"] == 2
    assert bench.servo.counters["refused age"] == 2
    assert bench.servo.counters["refused jump"] == 1


def far() -> np.ndarray:
    return np.tile(START, (4, 1)) + np.eye(7)[0] * 0.25


def test_a_pose_stamped_long_ago_or_far_ahead_is_refused():
    bench = Bench()
    assert bench.servo.command_pose(START, bench.now_ns - 10**9, bench.now_ns).startswith("age")
    assert bench.servo.command_pose(START, bench.now_ns + 2 * 10**9, bench.now_ns).startswith("age")


def test_a_width_due_far_ahead_is_refused_and_does_not_open_the_hand_a_minute_later():
    bench = Bench("teleop")
    due_ns = np.array([bench.now_ns + 60_000 * MS])
    assert bench.servo.command_widths(due_ns, np.array([0.08]), bench.now_ns).startswith("age")
    assert bench.servo.counters["refused age"] == 1


def test_widths_come_once_when_due_and_not_while_holding():
    bench = Bench("policy")
    widths = np.array([0.08, 0.0])
    bench.servo.command_widths(bench.now_ns + np.array([0, 300 * MS]), widths, bench.now_ns)
    assert bench.servo.width(bench.now_ns) is None
    bench.chunk()
    bench.step(10)
    assert [bench.servo.width(bench.now_ns) for _ in range(2)] == [0.08, None]
    bench.step(30)
    assert bench.servo.width(bench.now_ns) == 0.0
    bench.servo.commander_lost()
    bench.step(1)
    assert bench.servo.width(bench.now_ns) is None


def test_the_widths_of_a_refused_chunk_are_not_obeyed_whichever_comes_first():
    bench = Bench("policy")
    bench.chunk()
    bench.servo.command_widths(np.array([bench.now_ns]), np.array([0.08]), bench.now_ns)
    bench.step(5)
    assert bench.servo.width(bench.now_ns) == 0.08
    due_ns = bench.now_ns + 100 * MS * np.arange(4)
    for _ in range(2):
        bench.servo.command_widths(due_ns, np.zeros(4), bench.now_ns)
        assert bench.servo.command_chunk(due_ns, far(), bench.now_ns).startswith("jump")
    bench.step(30)
    assert bench.servo.width(bench.now_ns) is None


@pytest.mark.parametrize("widths_first", [True, False])
def test_widths_belong_to_the_chunk_with_the_same_stamp(widths_first):
    bench = Bench("policy")
    due_ns = bench.now_ns + 100 * MS * np.arange(4)
    poses7 = np.tile(START, (4, 1))

    def widths() -> None:
        bench.servo.command_widths(due_ns + 7, np.zeros(4), bench.now_ns, stamp_ns=42)

    if widths_first:
        widths()
    bench.servo.command_chunk(due_ns, poses7, bench.now_ns, stamp_ns=42)
    if not widths_first:
        widths()
    bench.step(5)
    assert bench.servo.width(bench.now_ns) == 0.0


def test_a_stop_halts_the_hand_and_missing_commands_do_not():
    bench = Bench("policy")
    bench.chunk()
    bench.step(250)
    assert (bench.servo.reason, bench.servo.halted) == ("chunk ran out", "")
    bench.state = "stopped"
    bench.step(1)
    assert bench.servo.halted == "supervisor is stopped"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_whatever_is_sent_by_random_chunks_stays_slow_and_smooth(seed):
    rng = np.random.default_rng(seed)
    bench = Bench("policy")
    for _ in range(8):
        steps = rng.normal(0, 0.03, (16, 3))
        poses7 = np.tile(bench.sent[-1].pose7, (16, 1))
        poses7[:, :3] += np.cumsum(steps, 0)
        due_ns = bench.now_ns + 100 * MS * np.arange(16)
        bench.servo.command_chunk(due_ns, poses7, bench.now_ns)
        bench.step(int(rng.integers(5, 60)))
    positions = np.array([s.pose7[:3] for s in bench.sent])
    speeds = np.linalg.norm(np.diff(positions, axis=0), axis=1) / 0.01
    assert speeds.max() <= ShieldConfig().max_speed_m_s + 1e-6
    assert (positions >= np.array(ShieldConfig().box_min_m) - 1e-9).all()
    changes = np.diff([s.twist for s in bench.sent], axis=0) / 0.01
    assert np.linalg.norm(changes[:, :3], axis=1).max() < 1.7 * ServoConfig.acceleration_m_s2
    assert np.linalg.norm(changes[:, 3:], axis=1).max() < 1.05 * ServoConfig.acceleration_rad_s2


@pytest.mark.parametrize("field", ["blend_s", "stop_s", "heartbeat_late_s", "max_dt_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused_before_anything_moves(field, value):
    with pytest.raises(ComoError, match=f"{field} must be positive and finite"):
        ServoConfig(**{field: value})


def test_a_late_tick_does_not_leap():
    bench = Bench("policy")
    bench.chunk(speed_m_s=0.5)
    bench.step(30)
    before = bench.sent[-1].pose7[1]
    bench.now_ns += 300 * MS
    after = bench.step(1).pose7[1]
    assert after - before <= 0.8 * 0.02 + 1e-6


class Operator:
    """Hands the servo a pose every 20 ms while it ticks every 10 ms."""

    def __init__(self, where, bench: Bench | None = None) -> None:
        self.bench, self.where = bench or Bench(), where
        self.behind_m: list[float] = []

    def drive(self, seconds: float) -> None:
        begun_ns = self.bench.now_ns
        for _ in range(round(seconds / 0.02)):
            self.bench.servo.command_pose(self.pose7(begun_ns), self.bench.now_ns, self.bench.now_ns)
            for _ in range(2):
                gap = self.bench.step(1).pose7[:3] - self.pose7(begun_ns)[:3]
                self.behind_m.append(float(np.linalg.norm(gap)))

    def pose7(self, begun_ns: int) -> np.ndarray:
        return START + [0, self.where((self.bench.now_ns - begun_ns) / 1e9), 0, 0, 0, 0, 0]

    @property
    def y(self) -> np.ndarray:
        return np.array([sent.pose7[1] for sent in self.bench.sent])


@pytest.mark.parametrize("speed_m_s", [0.1, 0.2, 0.3])
def test_the_arm_follows_an_operator_with_less_than_60_ms_of_lag(speed_m_s):
    operator = Operator(lambda t: speed_m_s * t)
    operator.drive(1.0)
    lag_ms = np.array(operator.behind_m[30:]) / speed_m_s * 1e3
    assert lag_ms.max() < 60, f"{lag_ms.max():.0f} ms behind at {speed_m_s} m/s"


def test_a_hand_that_sways_is_followed_within_1_cm():
    operator = Operator(lambda t: 0.1 * (1 - np.cos(2 * np.pi * 0.5 * t)))  # peaks at 0.31 m/s
    operator.drive(2.0)
    assert max(operator.behind_m) < 0.01, f"{max(operator.behind_m) * 1e3:.1f} mm"


@pytest.mark.parametrize("periods_ms", [(20,), (50,), (10, 20, 30)])
@given(st.floats(0.02, 0.1), st.floats(0.5, 1.0), st.integers(-40, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_an_operator_who_slows_down_is_not_overtaken_by_2_mm(periods_ms, way_m, seconds, clock_ms, seed):
    """He stopped above the table and the arm went on into it. Any rate, uneven too, any clock."""
    rng, bench = np.random.default_rng(seed), Bench()
    begun_ns, next_ns = bench.now_ns, bench.now_ns
    for _ in range(round(100 * (seconds + 0.3))):
        if bench.now_ns >= next_ns:
            share = min((bench.now_ns - begun_ns) / 1e9 / seconds, 1.0)
            pose7 = START + [0, way_m * share**3 * (10 - 15 * share + 6 * share**2), 0, 0, 0, 0, 0]
            bench.servo.command_pose(pose7, bench.now_ns - clock_ms * MS, bench.now_ns)
            next_ns += int(rng.choice([10, 20, 30])) * MS
        bench.step(1)
    y = np.array([sent.pose7[1] for sent in bench.sent])
    assert y.max() <= way_m + 2e-3
    assert y[-1] == pytest.approx(way_m, abs=1e-3)


@pytest.mark.parametrize("step_m", [0.01, 0.05, 0.10, 0.14])
def test_a_step_is_approached_from_one_side_and_not_overshot_by_5_mm(step_m):
    operator = Operator(lambda t: step_m if t > 0.1 else 0.0)
    operator.drive(1.5)
    assert operator.y.min() >= -1e-6
    assert operator.y.max() < step_m + 0.005
    assert operator.y[-1] == pytest.approx(step_m, abs=1e-3)


@pytest.mark.parametrize("step_m", [0.01, 0.05, 0.10, 0.14])
def test_a_step_followed_by_silence_never_moves_the_other_way(step_m):
    operator = Operator(lambda t: step_m if t > 0.09 else 0.0)
    operator.drive(0.12)
    operator.bench.step(60)
    assert np.diff(operator.y).min() >= -1e-6
    assert 0 < operator.y[-1] < step_m + 0.005
    assert operator.bench.speed == 0


def test_an_operator_out_of_reach_is_refused_and_followed_again_when_back():
    operator = Operator(lambda t: 0.3 if 0.2 < t < 0.6 else 0.02)
    operator.drive(1.5)
    assert operator.bench.servo.counters["refused jump"] > 15
    assert operator.y.max() < 0.025
    assert operator.y[-1] == pytest.approx(0.02, abs=1e-3)
    assert operator.bench.servo.activity == FOLLOWING


def test_the_speed_of_a_driven_arm_changes_by_no_more_than_its_acceleration_allows():
    operator = Operator(lambda t: 0.14 * (int(t / 0.3) % 2))
    operator.drive(2.0)
    twists = np.array([sent.twist[:3] for sent in operator.bench.sent])
    assert np.linalg.norm(np.diff(twists, axis=0), axis=1).max() < 0.06
    rates = np.diff(operator.y) / 0.01
    assert np.abs(rates - (twists[1:, 1] + twists[:-1, 1]) / 2).max() < 1e-6


def test_a_pose_older_than_the_one_before_is_refused():
    bench = Bench()
    bench.drive(0.2)
    assert bench.servo.command_pose(bench.sent[-1].pose7, bench.now_ns - 50 * MS, bench.now_ns).startswith(
        "age"
    )


def test_a_chunk_that_leaps_is_braked_from_and_the_next_one_followed():
    bench = Bench("policy")
    due_ns = bench.now_ns + 100 * MS * np.arange(8)
    poses7 = np.tile(START, (8, 1))
    poses7[:, 1] += [0, 0.03, 0.06, 0.09, 0.40, 0.40, 0.40, 0.40]
    assert bench.servo.command_chunk(due_ns, poses7, bench.now_ns) == ""
    bench.step(100)
    assert bench.servo.counters["refused jump"] == 1
    assert bench.speed == 0
    twists = np.array([sent.twist[:3] for sent in bench.sent])
    assert np.linalg.norm(twists, axis=1).max() > 0.3
    changes = np.linalg.norm(np.diff(twists, axis=0), axis=1)
    most = ServoConfig.acceleration_m_s2 * 0.01
    assert changes.max() < 1.05 * most, f"{changes.max():.3f} m/s in one tick"
    bench.chunk()
    bench.step(20)
    assert bench.servo.activity == FOLLOWING


def test_a_chunk_that_turns_too_fast_slows_the_whole_motion_smoothly():
    bench = Bench("policy")
    due_ns = bench.now_ns + 100 * MS * np.arange(8)
    angles = 0.15 * np.arange(8) ** 1.5 / 2
    poses7 = np.tile(START, (8, 1))
    poses7[:, 1] += 0.02 * np.arange(8)
    poses7[:, 3:] = np.stack([np.cos(angles / 2), np.sin(angles / 2), 0 * angles, 0 * angles], 1)
    assert bench.servo.command_chunk(due_ns, poses7, bench.now_ns) == ""
    bench.step(60)
    assert bench.servo.counters["too fast"] > 0
    twists = np.array([sent.twist for sent in bench.sent])
    assert np.linalg.norm(np.diff(twists[:, :3], axis=0), axis=1).max() < 0.1
    assert np.linalg.norm(np.diff(twists[:, 3:], axis=0), axis=1).max() < 0.5
    rates = np.diff([sent.pose7[1] for sent in bench.sent]) / 0.01
    assert np.abs(rates - (twists[1:, 1] + twists[:-1, 1]) / 2).max() < 0.1


def test_twelve_seconds_of_chunks_stay_within_the_robots_tables_and_switch_softly():
    rows = run_bench(minutes=0.2)["rows"]
    assert all(row["ok"] for row in rows), rows
    assert {row["id"] for row in rows} >= {"switch", "panda translation jerk", "fr3 rotation acceleration"}


def test_an_alarm_while_nobody_drives_ends_by_itself_but_is_counted_and_remembered():
    bench = Bench("ready")
    for _ in range(2):
        bench.servo.raise_alarm("clock jumps", "the system clock jumped by +1.00 s")
        bench.step(2)
        assert bench.servo.mandate.alarm == ""
    assert (bench.servo.mandate.alarms, bench.servo.counters["clock jumps"]) == (2, 2)
    assert bench.servo.mandate.last_alarm == "the system clock jumped by +1.00 s"


def test_a_robot_that_is_silent_for_a_moment_is_waited_for_and_the_next_command_goes_on():
    bench = Bench("policy")
    bench.chunk()
    bench.step(30)
    bench.servo.mandate.hindrance = "the robot is silent"
    bench.step(10)
    assert (bench.speed, bench.servo.reason, bench.servo.halted) == (0, "the robot is silent", "")
    bench.servo.mandate.hindrance = ""
    bench.chunk()
    bench.step(10)
    assert bench.speed > 0


def test_a_supervisor_wrongly_taken_for_dead_is_told_that_the_arm_waits_to_be_armed():
    bench = Bench("policy")
    bench.chunk()
    bench.step(20)
    assert bench.servo.mandate.unheard == ""
    bench.supervised = False
    bench.step(110)
    bench.supervised = True
    bench.step(1)
    assert bench.servo.mandate.unheard == "waiting to be armed again"
    bench.state = "stopped"
    bench.step(1)
    assert bench.servo.mandate.unheard == ""

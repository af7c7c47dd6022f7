"""The arm node among separate processes: what it publishes, and how fast it holds when others fall silent."""

import signal
import sys
import time

import numpy as np
import pytest
from lab_server import running_lab
from ros_probe import wait_until

from como_ros import wire
from como_ros.drivers.franka import HOME_Q

COMMANDER = """
import sys, time
import numpy as np, rclpy
from builtin_interfaces.msg import Duration as DurationMsg
from geometry_msgs.msg import PoseStamped, Transform
from rclpy.duration import Duration
from rclpy.qos import LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint
from como_ros import wire
from como_ros.drivers.priority import run_before_others
from policies.spaces import ActionChunk

mode, start, speed = sys.argv[1], np.array(eval(sys.argv[2])), float(sys.argv[3])
run_before_others(4)
rclpy.init()
node = rclpy.create_node("commander")
alive = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, liveliness=LivelinessPolicy.AUTOMATIC,
                   liveliness_lease_duration=Duration(nanoseconds=100_000_000))
chunk_out = node.create_publisher(MultiDOFJointTrajectory, "/arm/command/chunk", alive)
pose_out = node.create_publisher(PoseStamped, "/arm/command/pose", 1)
deadman_out = node.create_publisher(Bool, "/teleop/deadman", 1)
while chunk_out.get_subscription_count() < 2 or pose_out.get_subscription_count() < 1:
    time.sleep(0.05)  # the arm listens to chunks twice, the second time for signs of life

def pose(seconds):
    return start + np.array([0, speed * max(seconds, 0.0), 0, 0, 0, 0, 0])

def chunk(now_ns, seconds):
    poses = np.stack([pose(seconds + 0.1 * i) for i in range(16)])
    made = ActionChunk(now_ns, poses, np.zeros(16))
    return wire.fill_chunk(
        MultiDOFJointTrajectory(), made, MultiDOFJointTrajectoryPoint, Transform, DurationMsg
    )

armed_ns = []
def on_state(message):
    if message.data in ("policy", "teleop") and not armed_ns:
        armed_ns.append(time.time_ns())

node.create_subscription(String, "/supervisor/state", on_state, 1)
begun, tick = time.time_ns(), 0
while True:
    rclpy.spin_once(node, timeout_sec=0)
    now_ns = time.time_ns()
    seconds = (now_ns - armed_ns[0]) / 1e9 - 0.6 if armed_ns else 0.0
    deadman_out.publish(Bool(data=True))
    if mode == "chunk" and tick % 10 == 0:
        chunk_out.publish(chunk(now_ns, seconds))
    if mode == "pose":
        pose_out.publish(wire.fill_pose(PoseStamped(), pose(seconds), now_ns))
    tick += 1
    time.sleep(max(0.0, (begun + tick * 20_000_000 - time.time_ns()) / 1e9))
"""
STAYS_M = 0.005
"""An impedance swings a little about where it holds."""
SETTLED_M = 0.003
SPRING_S = 0.1
"""For so long it carries the arm on after its set-point stands."""


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=1) as lab:
        yield lab


class Station:
    """The arm node and a real supervisor, seen from outside."""

    def __init__(self, probe, processes) -> None:
        self.probe, self.processes = probe, processes
        self.arm = processes.node("arm")
        self.supervisor = processes.node("supervisor")
        self.poses = probe.listen("/arm/ee_pose")
        self.health = probe.listen("/diagnostics")
        wait_until(lambda: len(self.poses) > 20, "the arm's state")
        probe.call("/supervisor/release")
        self.told(lambda text: "supervisor is ready" in text)
        home, message = probe.call("/arm/home")
        assert home, message

    def arm_status(self):
        found = [s for _, m in list(self.health) for s in m.status if s.name == "arm"]
        return found[-1] if found else None

    def figures(self) -> dict[str, str]:
        return {value.key: value.value for value in self.arm_status().values}

    def told(self, true) -> None:
        wait_until(lambda: (status := self.arm_status()) and true(status.message), "the arm's word")

    def commander(self, mode: str, speed_m_s: float = 0.15):
        start = wire.pose7_from_msg(self.poses[-1][1]).tolist()
        return self.processes.run([sys.executable, "-c", COMMANDER, mode, repr(start), str(speed_m_s)])

    def track(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) stamps in seconds and (N, 3) positions so far."""
        messages = [m for _, m in list(self.poses)]
        stamps = np.array([wire.stamp_ns(m) for m in messages]) / 1e9
        return stamps, np.array([wire.pose7_from_msg(m)[:3] for m in messages])

    def travelled(self, since_s: float) -> float:
        """Metres between the poses at a moment and now, both by the arm's own stamps."""
        now_s = time.time()
        wait_until(lambda: self.track()[0][-1] >= now_s, "the newest pose")
        stamps, positions = self.track()
        return float(np.linalg.norm(positions[-1] - positions[np.searchsorted(stamps, since_s)]))

    def moves(self) -> None:
        begun_s = time.time()
        wait_until(lambda: self.travelled(begun_s) > 0.05, "the arm to move")

    def stands(self, seconds: float) -> None:
        begun_s = time.time()
        time.sleep(seconds)
        assert self.travelled(begun_s) < STAYS_M

    def speed_before(self, moment_s: float) -> float:
        stamps, positions = self.track()
        first, last = np.searchsorted(stamps, [moment_s - 0.15, moment_s]) - [0, 1]
        return float(np.linalg.norm(positions[last] - positions[first]) / (stamps[last] - stamps[first]))

    def holds_after(self, event: str, moment_s: float, within_s: float) -> None:
        """It was moving, its set-point came to a standstill in time, and the arm then stayed for a second."""
        wait_until(lambda: self.track()[0][-1] > moment_s + 1.2, "the arm's state after the event")
        wait_until(
            lambda: int(self.figures()["still_since_ns"]) / 1e9 > moment_s, "the set-point's standstill"
        )
        still_s = int(self.figures()["still_since_ns"]) / 1e9 - moment_s
        stamps, positions = self.track()
        off = np.linalg.norm(positions - positions[-20:].mean(0), axis=1)
        away = stamps[(off > SETTLED_M) & (stamps > moment_s)]
        settled_s = float(away[-1] - moment_s) if len(away) else 0.0
        speed = self.speed_before(moment_s)
        print(  # noqa: T201
            f"{event}: at {speed * 100:.1f} cm/s, set-point still after {still_s * 1e3:.0f} ms, "
            f"arm within {SETTLED_M * 1e3:.0f} mm of its rest after {settled_s * 1e3:.0f} ms"
        )
        assert speed > 0.05
        assert stamps[-1] > moment_s + 1.0
        allowed_s = within_s + self.probe.stalls.after(round(moment_s * 1e9))
        assert still_s < allowed_s
        assert settled_s < allowed_s + SPRING_S


@pytest.fixture
def station(lab, probe, processes):
    return Station(probe, processes)


def test_state_is_published_at_100_hz_and_home_works_when_ready(station):
    success, message = station.probe.call("/arm/home")
    assert success, message
    joints = station.probe.listen("/arm/joint_states")
    wrenches = station.probe.listen("/arm/external_wrench")
    wait_until(lambda: joints and wrenches, "joints and wrench")
    q, width_m = wire.joints_from_msg(joints[-1][1])
    np.testing.assert_allclose(q, HOME_Q, atol=0.02)
    assert 0 <= width_m <= 0.081
    before = len(station.poses), len(joints), len(wrenches), int(station.figures()["missed"])
    begun_ns = time.time_ns()
    time.sleep(3.0)
    after = len(station.poses), len(joints), len(wrenches), int(station.figures()["missed"])
    stalled = 100 * station.probe.stalls.after(begun_ns, 4.0)  # rounds of 10 ms
    assert min(np.subtract(after, before)[:3]) >= 290 - stalled
    assert after[3] - before[3] <= 3 + stalled
    station.probe.call("/supervisor/stop")
    station.told(lambda text: "supervisor is stopped" in text)
    success, message = station.probe.call("/arm/home")
    assert not success
    assert "the supervisor says stopped" in message
    success, message = station.probe.call("/arm/recover")
    assert (success, message) == (False, "nothing to recover: the arm is tracking")


@pytest.mark.parametrize(("mode", "state"), [("chunk", "policy"), ("pose", "teleop")])
def test_the_arm_holds_within_200_ms_of_its_commanders_death(station, mode, state):
    deadman = station.probe.listen("/teleop/deadman")
    commander = station.commander(mode)
    wait_until(lambda: deadman, "the commander")
    station.probe.call(f"/supervisor/{state}")
    station.moves()
    commander.send_signal(signal.SIGKILL)
    station.holds_after(f"{mode} commander killed", time.time(), within_s=0.2)
    assert float(station.figures()["success_rate"]) > 0.9


def test_stop_holds_and_nothing_moves_until_released_and_armed_again(station):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    stopped_s = time.time()
    station.probe.call("/supervisor/stop")
    station.holds_after("operator stop", stopped_s, within_s=0.2)
    station.probe.call("/supervisor/release")
    station.stands(1.0)
    station.told(lambda text: "holding: supervisor is ready" in text)


def test_a_dead_supervisor_holds_the_arm_and_its_heartbeat_alone_moves_nothing(station):
    from std_msgs.msg import String

    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    station.supervisor.send_signal(signal.SIGKILL)
    station.holds_after("supervisor killed", time.time(), within_s=0.7)
    station.told(lambda text: "supervisor silent" in text)
    heartbeat = station.probe.speak("/supervisor/state")
    for _ in range(15):
        heartbeat.publish(String(data="policy"))
        time.sleep(0.1)
    station.told(lambda text: "waiting to be armed again" in text)
    station.stands(0.0)


def test_an_arm_node_restarted_while_armed_holds_until_armed_again(station):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    station.arm.send_signal(signal.SIGTERM)
    station.arm.wait(10)
    station.processes.node("arm")
    station.told(lambda text: "waiting to be armed again" in text)
    station.stands(1.0)


def test_a_chunk_that_is_not_finite_is_refused_whole_and_counted(station):
    station.probe.call("/supervisor/policy")
    from builtin_interfaces.msg import Duration
    from geometry_msgs.msg import Transform
    from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

    from policies.spaces import ActionChunk

    here = wire.pose7_from_msg(station.poses[-1][1])
    speak = station.probe.speak("/arm/command/chunk")
    time.sleep(1.0)

    def message() -> MultiDOFJointTrajectory:
        chunk = ActionChunk(time.time_ns(), np.tile(here + [0, 0.03, 0, 0, 0, 0, 0], (4, 1)), np.zeros(4))
        return wire.fill_chunk(
            MultiDOFJointTrajectory(), chunk, MultiDOFJointTrajectoryPoint, Transform, Duration
        )

    broken = message()
    broken.points[2].transforms[0].translation.x = float("nan")
    speak.publish(broken)
    station.stands(1.5)
    assert int(station.figures()["refused_malformed"]) == 1
    begun_s = time.time()
    speak.publish(message())  # the same, whole, does move it
    wait_until(lambda: station.travelled(begun_s) > 0.02, "the whole chunk to be followed")


def test_a_second_publisher_of_chunks_stops_the_arm_and_is_named(station):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    begun_s = time.time()
    station.commander("chunk", speed_m_s=-0.15)
    station.told(lambda text: "two publishers on /arm/command/chunk" in text)
    time.sleep(0.5)
    station.stands(1.0)
    assert station.speed_before(begun_s) > 0.05


def test_a_reflex_is_said_at_once_and_recovery_needs_arming_again(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client = lab.client()
    begun_s = time.time()
    client.fault("reflex", kind="cartesian_reflex")
    client.close()
    station.told(lambda text: text.startswith("fault:") and "motion aborted by reflex" in text)
    assert "the arm hit something or somebody" in station.arm_status().message
    assert time.time() - begun_s < 1.0 + station.probe.stalls.after(round(begun_s * 1e9), 2.0)
    assert station.speed_before(begun_s) > 0.05
    success, message = station.probe.call("/arm/recover")
    assert success, message
    station.stands(1.0)
    station.told(lambda text: "supervisor is stopped" in text)  # it heard of the fault


def test_a_harmless_stop_is_cleared_by_itself_and_moves_nothing(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client = lab.client()
    client.fault("reflex", kind="controller_torque_discontinuity")
    client.close()
    station.told(lambda text: text.startswith("fault:") and "the commanded torque jumped" in text)
    station.told(lambda text: "supervisor is stopped" in text)
    assert station.figures()["auto_cleared"] == "1"
    station.stands(1.0)
    success, message = station.probe.call("/arm/recover")
    assert (success, message) == (False, "nothing to recover: the arm is tracking")

"""The arm node and a real supervisor in the lab, seen from outside, and commanders to kill."""

from __future__ import annotations

import sys
import time

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Transform
from ros_probe import wait_until
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from como_ros import wire
from como_ros.graphs import LAB_ARM_HZ
from policies.spaces import ActionChunk

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
        armed_ns.append(time.monotonic_ns())

node.create_subscription(String, "/supervisor/state", on_state, 1)
begun, tick = time.monotonic_ns(), 0
while True:
    rclpy.spin_once(node, timeout_sec=0)
    now_ns = time.time_ns()
    seconds = (time.monotonic_ns() - armed_ns[0]) / 1e9 - 0.6 if armed_ns else 0.0
    deadman_out.publish(Bool(data=True))
    if mode == "chunk" and tick % 10 == 0:
        chunk_out.publish(chunk(now_ns, seconds))
    if mode == "pose":
        pose_out.publish(wire.fill_pose(PoseStamped(), pose(seconds), now_ns))
    tick += 1
    time.sleep(max(0.0, (begun + tick * 20_000_000 - time.monotonic_ns()) / 1e9))
"""
STAYS_M = 0.005
"""An impedance swings a little about where it holds."""
SETTLED_M = 0.003
SPRING_S = 0.1
"""For so long it carries the arm on after its set-point stands."""


class Station:
    """The arm node and a real supervisor, seen from outside."""

    def __init__(self, probe, processes, reaction, rate_hz: float = LAB_ARM_HZ) -> None:
        self.probe, self.processes, self.reaction = probe, processes, reaction
        self._rate_hz = rate_hz
        self.arm = self.start_arm()
        # a commander that starves on a busy machine is the arm's to notice, within 0.1 s
        self.supervisor = processes.node("supervisor", deadman_timeout_s=3.0)
        self.poses = probe.listen("/arm/ee_pose")
        self.health = probe.listen("/diagnostics")
        self.deadman = probe.listen("/teleop/deadman")
        self.wait(lambda: len(self.poses) > 20, "the arm's state")
        self.told(lambda text: text.startswith(("tracking", "fault")))
        if self.figures()["mode"] == "fault":  # the test before may have left the robot in a reflex
            probe.call("/arm/recover")
        probe.call("/supervisor/release")
        self.told(lambda text: "supervisor is ready" in text)
        home, message = probe.call("/arm/home")
        assert home, message

    def start_arm(self):
        return self.processes.node("arm", rate_hz=self._rate_hz)

    def arm_status(self):
        return self.status("arm")

    def status(self, node: str):
        found = [s for _, m in list(self.health) for s in m.status if s.name == node]
        return found[-1] if found else None

    def has_said(self, words: str) -> bool:
        """At any time so far, however briefly."""
        statuses = [s for _, m in list(self.health) for s in m.status if s.name == "arm"]
        return any(status.message.startswith("fault:") and words in status.message for status in statuses)

    def figures(self) -> dict[str, str]:
        return {value.key: value.value for value in self.arm_status().values}

    def told(self, true) -> None:
        self.wait(lambda: (status := self.arm_status()) and true(status.message), "the arm's word")

    def stopped_for(self, words: str) -> None:
        """By the supervisor, which keeps why: what an arm says for a moment at its start may be missed."""
        self.wait(lambda: (status := self.status("supervisor")) and words in status.message, "the stop")

    def wait(self, true, what: str) -> None:
        """In vain, with all that the nodes said last."""
        try:
            wait_until(true, what)
        except AssertionError as error:
            said = {s.name: s.message for _, m in list(self.health)[-20:] for s in m.status}
            raise AssertionError(f"{error}: {said}") from error

    def commander(self, mode: str, speed_m_s: float = 0.15):
        start = wire.pose7_from_msg(self.poses[-1][1]).tolist()
        heard = len(self.deadman)
        command = [sys.executable, "-c", COMMANDER, mode, repr(start), str(speed_m_s)]
        process = self.processes.run(command)
        wait_until(lambda: len(self.deadman) > heard, "the commander")
        return process

    def chunk(self, aside_m: float) -> MultiDOFJointTrajectory:
        """A policy's message: be a little aside, from now on."""
        here = wire.pose7_from_msg(self.poses[-1][1])
        poses7 = np.tile(here + [0, aside_m, 0, 0, 0, 0, 0], (4, 1))
        chunk = ActionChunk(time.time_ns(), poses7, np.zeros(4))
        return wire.fill_chunk(
            MultiDOFJointTrajectory(), chunk, MultiDOFJointTrajectoryPoint, Transform, Duration
        )

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
        self.wait(lambda: self.travelled(begun_s) > 0.05, "the arm to move")

    def stands(self, seconds: float) -> None:
        begun_s = time.time()
        time.sleep(seconds)
        assert self.travelled(begun_s) < STAYS_M

    def speed_before(self, moment_s: float) -> float:
        stamps, positions = self.track()
        first, last = np.searchsorted(stamps, [moment_s - 0.15, moment_s]) - [0, 1]
        return float(np.linalg.norm(positions[last] - positions[first]) / (stamps[last] - stamps[first]))

    def holds_after(self, row: str, moment_s: float, within_s: float) -> None:
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
            f"{row}: at {speed * 100:.1f} cm/s, set-point still after {still_s * 1e3:.0f} ms, "
            f"arm within {SETTLED_M * 1e3:.0f} mm of its rest after {settled_s * 1e3:.0f} ms"
        )
        assert speed > 0.05
        assert stamps[-1] > moment_s + 1.0
        stalled_s = self.probe.stalls.after(round(moment_s * 1e9))
        self.reaction(row, still_s, within_s, stalled_s)
        assert settled_s < within_s + SPRING_S + stalled_s

    def tells_after(self, row: str, moment_s: float, true, within_s: float = 1.0) -> None:
        """The arm node says something in time."""
        self.told(true)
        told_s = time.time() - moment_s
        self.reaction(row, told_s, within_s, self.probe.stalls.after(round(moment_s * 1e9), 2.0))

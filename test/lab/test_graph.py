"""The whole graph against the lab: real protocol, librealsense and DDS, separate processes, real faults."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from constant_bundle import write_constant_bundle
from ros_probe import children, wait_until

from como_ros import bags, wire
from como_ros.control.servo import ServoConfig
from como_ros.episodes import wait_for_all
from como_ros.graphs import Deployment
from como_ros.lab.client import LabClient
from como_ros.up import graph_up, up

STILL_M_S = 0.03
NOT_WHEN_DRIVEN_BY_HAND = {"command_chunk", "depth/front", "depth/wrist"}
"""No policy plans, and depth is off; test_demos.py holds the fast mode's bags to the same."""
SPRING_S, SPRING_M = 0.3, 0.025
"""The impedance spring carries the arm on for up to so long after its set-point stands, and back so far."""


@pytest.fixture
def deployment(tmp_path):
    bundle = write_constant_bundle(tmp_path / "bundle", (0.008, 0.0, 0.0))
    return Deployment(lab=True, bundle=str(bundle), out=str(tmp_path / "episodes"))


def asks(station, *services: str) -> None:
    """For one after the other."""
    for service in services:
        station.call(service)


def stops_while_it_moves(station, motion) -> tuple[int, float]:
    """When an operator said stop, and how many seconds later the set-point stood.

    On a busy machine the policy may have fallen silent by itself just then; the arm is then armed again.
    """
    for _ in range(4):
        moves(station, motion)
        stopped_ns = time.time_ns()
        station.call("/supervisor/stop")
        time.sleep(1.5)
        still_ns = int(station.figures("arm")["still_since_ns"])
        if still_ns > stopped_ns:
            return stopped_ns, (still_ns - stopped_ns) / 1e9
        asks(station, "/supervisor/release", "/arm/home", "/supervisor/policy")
    raise AssertionError("four times, the arm stood by itself before it was stopped")


class Motion:
    """How fast the end effector is, from the poses that the arm publishes."""

    def __init__(self, probe) -> None:
        self.stalls = probe.stalls
        self._kept = probe.listen("/arm/ee_pose")

    def speed(self, window_s: float = 0.05) -> float:
        rows = [(wire.stamp_ns(m), wire.pose7_from_msg(m)[:3]) for _, m in self._kept[-60:]]
        recent = [row for row in rows if row[0] > rows[-1][0] - window_s * 1e9]
        seconds = (recent[-1][0] - recent[0][0]) / 1e9
        return float(np.linalg.norm(recent[-1][1] - recent[0][1])) / seconds if seconds else 0.0

    def stops_within(self, seconds: float, since_ns: int, reaction, row: str) -> None:
        """It was still in time; the spring's swing and what the machine stalled come on top."""
        reaction(row, self.seconds_until_still(since_ns), seconds + SPRING_S, self.stalls.after(since_ns))

    def seconds_until_still(self, since_ns: int) -> float:
        """From `since_ns` until the end effector stops getting farther away from where it was then."""
        rows = [(wire.stamp_ns(m), wire.pose7_from_msg(m)[:3]) for _, m in list(self._kept)]
        rows = [row for row in rows if row[0] >= since_ns]
        far = np.linalg.norm(np.array([place for _, place in rows]) - rows[0][1], axis=1)
        farthest = int(np.flatnonzero(far > far.max() - 1e-3)[0])
        assert far[-1] > far.max() - SPRING_M, "it did not stop, it turned back"
        return (rows[farthest][0] - since_ns) / 1e9


def moves(station, motion) -> None:
    """Or says what the nodes say."""
    try:
        wait_until(lambda: motion.speed() > 0.04, "the arm to move")
    except AssertionError as error:
        said = {name: station.message(name) for name in ("arm", "policy", "camera", "supervisor")}
        raise AssertionError(f"{error}: {said}, {motion.speed():.3f} m/s") from error


@contextmanager
def moving(deployment, probe) -> Iterator[tuple]:
    """The autonomous graph with its policy driving the arm forward."""
    motion = Motion(probe)
    with graph_up("autonomous", deployment, Path(deployment.out) / "logs") as (running, station):
        asks(station, "/supervisor/release", "/arm/home", "/supervisor/policy")
        moves(station, motion)
        time.sleep(0.5)
        yield running, station, motion


def test_a_scripted_operator_succeeds_and_leaves_a_whole_episode_and_no_process(own_domain, deployment):
    before = children()
    said: list[str] = []
    result = up("teleop", deployment, episodes=1, seed=3, say=said.append)
    assert (result["episodes"], result["successes"]) == (1, 1), result
    assert children() <= before
    folder = bags.episodes(Path(deployment.out))[0]
    meta = bags.read_meta(folder)
    assert meta.closed
    assert meta.instruction == result["per_episode"][0]["instruction"]
    keys = {key for key, _, _ in bags.read_events(folder)}
    assert keys == {topic.key for topic in wire.TOPICS.values()} - NOT_WHEN_DRIVEN_BY_HAND


def test_killed_nodes_leave_the_arm_holding_and_come_back_to_an_arm_that_must_be_armed(
    probe, deployment, reaction
):
    with moving(deployment, probe) as (running, station, motion):
        station.call("/recorder/start")
        for victim, row in (("policy", "policy killed, arm"), ("recorder", "recorder killed, arm")):
            killed_ns, pid = time.time_ns(), running.pid(victim)
            os.kill(pid, signal.SIGKILL)
            time.sleep(1.0)
            motion.stops_within(0.2, killed_ns, reaction, row)
            running.check()
            assert running.pid(victim) != pid
            wait_for_all(station, [victim], running.check)
            assert (station.supervisor_state, station.figures("arm")["mode"]) == ("stopped", "tracking")
            time.sleep(0.5)
            assert motion.speed() < STILL_M_S
            asks(station, "/supervisor/release", "/arm/home", "/supervisor/policy")
            moves(station, motion)


def test_homing_opens_the_hand_and_a_killed_teleop_leaves_the_arm_holding_and_the_supervisor_stopped(
    probe, deployment, reaction
):
    motion = Motion(probe)
    with graph_up("teleop", deployment, Path(deployment.out) / "logs") as (running, station):
        lab = LabClient(deployment.lab_control)
        asks(station, "/supervisor/release", "/arm/home", "/supervisor/teleop")
        wait_until(lambda: lab.truth()["width"] < 0.05, "the scripted operator to grasp")
        asks(station, "/supervisor/stop", "/supervisor/release", "/arm/home")
        wait_until(lambda: lab.truth()["width"] > 0.075, "the hand to open")
        lab.close()
        station.call("/supervisor/teleop")
        wait_until(lambda: motion.speed() > 0.1, "the arm to move")
        killed_ns = time.time_ns()
        os.kill(running.pid("teleop"), signal.SIGKILL)
        time.sleep(1.0)
        motion.stops_within(0.2, killed_ns, reaction, "teleop killed")
        assert station.supervisor_state == "stopped"


def test_an_inference_that_raises_stops_the_run_and_leaves_the_arm_holding(probe, deployment, reaction):
    write_constant_bundle(Path(deployment.bundle), (0.008, 0, 0), width_m=0.0, fails_below_m=0.06)
    states = probe.listen("/supervisor/state")
    motion = Motion(probe)
    with graph_up("autonomous", deployment, Path(deployment.out) / "logs") as (_, station):
        asks(station, "/supervisor/release", "/arm/home", "/supervisor/policy")
        wait_until(lambda: motion.speed() > 0.04, "the arm to move")
        wait_until(lambda: station.supervisor_state == "stopped", "the stop")
        stopped_ns = time.time_ns()
        wait_until(lambda: "policy: inference failed" in station.message("supervisor"), "the reason")
        time.sleep(1.0)
        motion.stops_within(0.2, stopped_ns, reaction, "inference")
    assert states[-1][1].data == "stopped"


def takeover(station) -> tuple[int, float]:
    """When a person was let in, and how many seconds later the set-point was not the policy's any more."""
    for _ in range(4):
        wait_until(lambda: station.figures("arm")["driver"] == "policy", "the policy to drive")
        taken_ns = time.time_ns()
        station.call("/supervisor/teleop")
        wait_until(lambda: station.figures("arm")["driver"] == "teleop", "the person to drive")
        yielded_ns = int(station.figures("arm")["yielded_ns"])
        if yielded_ns > taken_ns:
            return taken_ns, (yielded_ns - taken_ns) / 1e9
        station.call("/supervisor/policy")
    raise AssertionError("four times, the policy had fallen silent by itself before the person was let in")


def test_a_person_takes_over_from_the_policy_at_once_and_hands_back(probe, deployment, reaction):
    steepest_m_s = ServoConfig.acceleration_m_s2 * ServoConfig.max_dt_s
    with moving(replace(deployment, device="scripted"), probe) as (_, station, motion):
        station.call("/recorder/start")
        taken_ns, yielded_s = takeover(station)
        reaction("takeover", yielded_s, 0.1, motion.stalls.after(taken_ns))
        wait_until(lambda: motion.speed() > 0.1, "the arm to follow the person")
        assert station.supervisor_state == "teleop"
        station.call("/supervisor/policy")
        wait_until(lambda: station.figures("arm")["driver"] == "policy", "the policy to go on")
        wait_until(lambda: 0.04 < motion.speed() < 0.1, "the policy's own speed")
        figures = station.figures("arm")
        assert "two publishers" not in station.message("arm")
        assert float(figures["steepest_m_s"]) < steepest_m_s
        station.call("/supervisor/stop")
        station.call("/recorder/keep")
    meta = bags.read_meta(bags.episodes(Path(deployment.out))[0])
    assert meta.provenance["intervention"] == "true"


def test_frozen_cameras_stop_the_arm_until_they_see_again_and_a_stop_until_it_is_armed_again(
    probe, deployment, reaction
):
    with moving(deployment, probe) as (_, station, motion):
        lab = LabClient(deployment.lab_control)
        frozen_ns = time.time_ns()
        lab.fault("camera_freeze", True)
        wait_until(lambda: station.message("policy").startswith("holding: images/"), "the refusal")
        time.sleep(0.5)
        # maximum age, tick, braking
        motion.stops_within(0.5 + 0.1 + 0.06, frozen_ns, reaction, "camera frozen, arm")
        lab.fault("camera_freeze", False)
        lab.close()
        wait_until(lambda: station.message("policy") == "running", "the policy to go on")
        asks(station, "/supervisor/stop", "/supervisor/release", "/arm/home", "/supervisor/policy")
        stopped_ns, still_s = stops_while_it_moves(station, motion)
        assert still_s < 0.2 + motion.stalls.after(stopped_ns)
        motion.stops_within(0.2, stopped_ns, reaction, "stop, arm")
        station.call("/supervisor/release")
        time.sleep(1.0)
        assert motion.speed() < STILL_M_S
        station.call("/arm/home")
        station.call("/supervisor/policy")
        moves(station, motion)

"""The whole graph against the lab: real protocol, librealsense and DDS, separate processes, real faults."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from constant_bundle import write_constant_bundle
from ros_probe import wait_until

from como_ros import bags, wire
from como_ros.graphs import Deployment
from como_ros.lab.client import LabClient
from como_ros.up import graph_up, up

STILL_M_S = 0.03
"""Slower than this is the impedance spring coming to rest over its last 5 mm."""


@pytest.fixture
def deployment(tmp_path):
    bundle = write_constant_bundle(tmp_path / "bundle", (0.008, 0.0, 0.0))
    return Deployment(lab=True, bundle=str(bundle), out=str(tmp_path / "episodes"))


class Motion:
    """How fast the end effector is, from the poses that the arm publishes."""

    def __init__(self, probe) -> None:
        self._kept = probe.listen("/arm/ee_pose")

    def speed(self, window_s: float = 0.05) -> float:
        rows = [(wire.stamp_ns(m), wire.pose7_from_msg(m)[:3]) for _, m in self._kept[-60:]]
        recent = [row for row in rows if row[0] > rows[-1][0] - window_s * 1e9]
        seconds = (recent[-1][0] - recent[0][0]) / 1e9
        return float(np.linalg.norm(recent[-1][1] - recent[0][1])) / seconds if seconds else 0.0

    def seconds_until_still(self, since_ns: int) -> float:
        """From `since_ns` to the last moment at which the arm was faster than still."""
        rows = [(wire.stamp_ns(m), wire.pose7_from_msg(m)[:3]) for _, m in list(self._kept)]
        stamps = np.array([stamp for stamp, _ in rows])
        places = np.array([place for _, place in rows])
        before = np.searchsorted(stamps, stamps - 50_000_000).clip(0, len(stamps) - 1)
        seconds = np.maximum(stamps - stamps[before], 1) / 1e9
        speeds = np.linalg.norm(places - places[before], axis=1) / seconds
        fast = stamps[(speeds > STILL_M_S) & (stamps > since_ns)]
        # a speed over 50 ms belongs to the middle of them
        return (fast[-1] - since_ns) / 1e9 - 0.025 if len(fast) else 0.0


@contextmanager
def moving(deployment, probe) -> Iterator[tuple]:
    """The autonomous graph with its policy driving the arm forward."""
    motion = Motion(probe)
    with graph_up("autonomous", deployment, Path(deployment.out) / "logs") as (running, station):
        for service in ("/supervisor/release", "/arm/home", "/supervisor/policy"):
            station.call(service)
        wait_until(lambda: motion.speed() > 0.04, "the arm to move")
        time.sleep(0.5)
        yield running, station, motion


def test_a_scripted_operator_succeeds_and_leaves_a_whole_episode_and_no_process(own_domain, deployment):
    before = children()
    said: list[str] = []
    result = up("teleop", deployment, episodes=1, seed=3, say=said.append)
    assert (result["episodes"], result["successes"]) == (1, 1), result
    assert children() == before
    folder = bags.episodes(Path(deployment.out))[0]
    meta = bags.read_meta(folder)
    assert meta.closed
    assert meta.instruction == result["per_episode"][0]["instruction"]
    keys = {key for key, _, _ in bags.read_events(folder)}
    assert keys >= {"images/front", "images/wrist", "joints", "ee_pose", "command_pose", "command_width"}


def test_a_killed_policy_leaves_the_arm_holding_within_200_ms(probe, deployment):
    with moving(deployment, probe) as (running, station, motion):
        killed_ns = time.time_ns()
        os.kill(running.pid("policy"), signal.SIGKILL)
        time.sleep(1.0)
        assert motion.seconds_until_still(killed_ns) < 0.2
        assert station.figures("arm")["mode"] == "tracking"


def test_frozen_cameras_stop_the_arm_and_it_goes_on_when_they_see_again(probe, deployment):
    with moving(deployment, probe) as (_, station, motion):
        lab = LabClient(deployment.lab_control)
        frozen_ns = time.time_ns()
        lab.fault("camera_freeze", True)
        wait_until(lambda: station.message("policy").startswith("holding: images/"), "the refusal")
        time.sleep(0.5)
        assert motion.seconds_until_still(frozen_ns) < 0.5 + 0.1 + 0.2  # maximum age, one tick, braking
        lab.fault("camera_freeze", False)
        wait_until(lambda: station.message("policy") == "running", "the policy to go on")
        lab.close()


def test_stop_means_stop_until_released_and_armed_again(probe, deployment):
    with moving(deployment, probe) as (_, station, motion):
        stopped_ns = time.time_ns()
        station.call("/supervisor/stop")
        time.sleep(1.0)
        assert motion.seconds_until_still(stopped_ns) < 0.2
        station.call("/supervisor/release")
        time.sleep(1.0)
        assert motion.speed() < STILL_M_S
        station.call("/arm/home")
        station.call("/supervisor/policy")
        wait_until(lambda: motion.speed() > 0.04, "the arm to move again")


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

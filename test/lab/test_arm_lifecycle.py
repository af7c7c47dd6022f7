"""The arm node's lifecycle, seen from outside: who may have the robot, and when commands count."""

import time

import pytest
from arm_drive import until
from arm_station import Station
from lab_server import running_lab
from ros_probe import wait_until

from como_ros.control.speakers import CHUNKS_ALONE_NS
from como_ros.drivers.arm_loop import ArmLoop, LoopConfig
from como_ros.drivers.errands import TRACKING


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=1) as lab:
        yield lab


def test_a_deactivated_arm_brakes_holds_and_once_active_again_waits_to_be_armed(
    lab, probe, processes, reaction
):
    speak = probe.speak("/arm/command/chunk")
    station = Station(probe, processes, reaction)
    commander = station.commander("chunk")
    probe.call("/supervisor/policy")
    station.moves()
    called_s = time.time()
    assert probe.change("arm", "deactivate")
    station.holds_after("deactivated", called_s, within_s=0.1)
    station.told(
        lambda text: text == "tracking, holding: the arm is inactive; activate its node, then arm again"
    )
    assert station.figures()["lifecycle"] == "inactive"
    refused = (False, "the arm node is inactive; activate it: ros2 lifecycle set /arm activate")
    assert probe.call("/arm/home") == refused
    probe.call("/supervisor/release")
    probe.call("/supervisor/policy")
    station.stands(0.5)
    commander.kill()
    assert probe.change("arm", "activate")
    time.sleep(CHUNKS_ALONE_NS / 1e9)  # until who speaks next is no second publisher
    speak.publish(station.chunk(0.03))
    station.stands(0.5)
    station.told(lambda text: text == "tracking, holding: supervisor is stopped")
    probe.call("/supervisor/release")
    probe.call("/supervisor/policy")
    station.told(lambda text: text == "tracking, holding: no chunk commanded yet")
    begun_s = time.time()
    speak.publish(station.chunk(0.03))
    wait_until(lambda: station.travelled(begun_s) > 0.02, "the chunk to be followed")


def test_a_robot_is_free_for_others_until_the_arm_node_is_configured_and_after_it_was_cleaned_up(
    lab, probe, processes, guest
):
    poses = probe.listen("/arm/ee_pose")
    processes.node("arm", autostart="false")
    assert probe.stage("arm") == "unconfigured"
    for _ in range(2):
        taken = guest(ArmLoop(LoopConfig(), lambda state, width_m: None))
        until(lambda taken=taken: taken.mode == TRACKING)
        taken.close()
        heard = len(poses)
        assert probe.change("arm", "configure")
        wait_until(lambda heard=heard: len(poses) > heard + 20, "the arm's state")
        assert probe.stage("arm") == "inactive"
        assert probe.change("arm", "cleanup")

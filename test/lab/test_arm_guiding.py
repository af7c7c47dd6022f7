"""An arm guided by hand yields to a push, stands without one, and is held without a jerk when let go."""

import sys
import time

import numpy as np
import pytest
from arm_drive import Person, until
from arm_station import STAYS_M, Station
from lab_server import running_lab

from como_ros import wire
from como_ros.drivers.arm_loop import ArmLoop, LoopConfig
from como_ros.drivers.errands import GUIDING, TRACKING
from como_ros.errors import ComoError

LED = """
from como_ros.drivers.teleop import Reading
from como_ros.drivers.teleop_guiding import GuidingHand
from como_ros.drivers.teleop_hand import HandDevice
from como_ros.nodes.process import run_node
from como_ros.nodes.teleop import TeleopNode

class Pedal:
    def read(self):
        return Reading(held=True)
    def close(self):
        "Nothing to put down."

raise SystemExit(run_node(lambda: TeleopNode(HandDevice(lambda: GuidingHand(Pedal())))))
"""
LIGHTLY_N, ROUGHLY_N, FAR_M, DRIFT_M = 10.0, 30.0, 0.05, 0.01


@pytest.fixture
def lab():
    with running_lab(seed=3) as lab:
        yield lab


def place(client) -> np.ndarray:
    return np.array(client.truth()["ee"][:3])


def test_a_hand_leads_the_arm_its_way_is_what_is_commanded_and_letting_go_leaves_it_standing(
    lab, guest, probe, processes, reaction
):
    station, client = Station(probe, processes, reaction), guest(lab.client())
    commands = probe.listen("/arm/command/pose")
    processes.run([sys.executable, "-c", LED])
    station.wait(lambda: probe.node.count_clients("/arm/guide"), "the device")
    time.sleep(1.0)  # and it has found the arm's services itself
    probe.call("/supervisor/release")
    probe.call("/supervisor/teleop")
    station.told(lambda text: text.startswith("guiding"))
    before = place(client)
    time.sleep(3.0)
    assert np.linalg.norm(place(client) - before) < DRIFT_M
    begun = time.monotonic()
    client.push([0, LIGHTLY_N, 0])
    station.wait(lambda: place(client)[1] > before[1] + FAR_M, "the arm to yield")
    print(f"yielded {FAR_M * 100:.0f} cm to {LIGHTLY_N:.0f} N in {time.monotonic() - begun:.2f} s")  # noqa: T201
    client.push([0, 0, 0])
    probe.call("/supervisor/stop")
    station.told(lambda text: text.startswith("tracking, holding: supervisor is stopped"))
    time.sleep(0.5)
    station.stands(1.0)
    led = np.array([wire.pose7_from_msg(message)[:3] for _, message in list(commands)])
    stamps, poses = station.track()
    sent = np.array([wire.stamp_ns(message) for _, message in list(commands)]) / 1e9
    arm = np.stack([np.interp(sent, stamps, poses[:, axis]) for axis in range(3)], axis=1)
    assert np.ptp(led[:, 1]) > FAR_M - 0.01
    assert np.median(np.linalg.norm(led - arm, axis=1)) < 0.01


@pytest.mark.parametrize("push_n", [(0, ROUGHLY_N, 0), (0, 0, ROUGHLY_N)], ids=["sideways", "upwards"])
def test_a_hand_that_pushes_too_fast_finds_the_arm_held_and_somebody_must_look(lab, guest, push_n):
    """Caught with a spring at the hand while it was pushed on, joint 6 was asked for more than it has."""
    states: list = []
    client, loop = guest(lab.client()), guest(ArmLoop(LoopConfig(), lambda state, _: states.append(state)))
    until(lambda: loop.mode == TRACKING)
    with Person(loop, lambda: states[-1].pose7) as person:
        person.says("ready")
        with pytest.raises(
            ComoError, match="guiding refused: the arm is tracking and the supervisor says ready"
        ):
            loop.guide().result(5)
        person.guides()
        assert loop.guide().result(5) == "the arm yields to the hand that guides it"
        until(lambda: loop.mode == GUIDING)
        client.push(push_n)
        until(lambda: loop.mode != GUIDING)
        client.push([0, 0, 0])
        assert loop.servo is not None
        assert loop.servo.mandate.alarm.startswith("guiding ended: ")
        until(lambda: np.abs(states[-1].dq).max() < 0.01)
        stands = place(client)
        time.sleep(0.5)
        assert np.linalg.norm(place(client) - stands) < STAYS_M
        assert (loop.mode, loop.fault) == (TRACKING, "")

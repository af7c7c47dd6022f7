"""Driving by hand starts only from where the arm is now."""

import sys
import threading
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from ros_probe import wait_until

from como_ros import wire

HAND = """
import numpy as np
from como_ros.drivers.teleop import TeleopCommand
from como_ros.nodes.process import run_node
from como_ros.nodes.teleop import TeleopNode

class Hand:
    def engage(self, ee_pose7):
        self.pose7 = np.array(ee_pose7)
    def command(self, elapsed_s, ee_pose7):
        return TeleopCommand(self.pose7, None, held=True)
    def disengage(self):
        "It holds nothing."
    def pressed(self):
        return ()

raise SystemExit(run_node(lambda: TeleopNode(Hand())))
"""
POSE7 = np.array([0.5, 0, 0.3, 1, 0, 0, 0])


class Arm:
    """Says where it is a hundred times a second, so many seconds late."""

    def __init__(self, probe) -> None:
        self.late_s = 0.0
        self._speak = probe.speak("/arm/ee_pose")
        self._end = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._end.wait(0.01):
            stamp_ns = time.time_ns() - round(self.late_s * 1e9)
            self._speak.publish(wire.fill_pose(PoseStamped(), POSE7, stamp_ns))

    def close(self) -> None:
        self._end.set()


@pytest.fixture
def arm(probe, processes, guest):
    arm = guest(Arm(probe))
    states = probe.listen("/supervisor/state")
    processes.node("supervisor")
    processes.run([sys.executable, "-c", HAND])
    wait_until(lambda: states and probe.node.count_publishers("/arm/command/pose"), "the nodes")
    wait_until(lambda: probe.node.count_subscribers("/arm/ee_pose"), "the hand to listen")
    time.sleep(0.5)
    return arm


def starts(probe, states: list) -> None:
    assert probe.call("/supervisor/release")[0]
    assert probe.call("/supervisor/teleop")[0]
    begun = len(states)
    wait_until(lambda: "teleop" in [message.data for _, message in states[begun:]], "the start")


def test_a_pose_that_is_late_for_a_moment_is_waited_for_and_one_that_stays_late_stops(arm, probe):
    commands, states = probe.listen("/arm/command/pose"), probe.listen("/supervisor/state")
    arm.late_s = 1.0
    time.sleep(0.1)
    starts(probe, states)
    wait_until(lambda: states[-1][1].data == "stopped", "the stop of a hand that finds no arm")
    time.sleep(0.3)  # nobody starts again before the hand has seen the stop
    assert not commands
    threading.Timer(0.1, lambda: setattr(arm, "late_s", 0.0)).start()
    starts(probe, states)
    wait_until(lambda: len(commands) > 10, "the hand to drive")
    assert states[-1][1].data == "teleop"

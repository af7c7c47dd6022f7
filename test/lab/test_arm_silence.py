"""The robot falls silent while the arm moves: held back first, an alarm then, a fault in the end."""

import signal
import time
from contextlib import contextmanager

import numpy as np
from arm_drive import Person, until
from lab_server import running_lab
from ros_probe import Stalls

from como_ros.drivers.arm_loop import FAULT, ArmLoop, LoopConfig
from como_ros.drivers.errands import TRACKING


@contextmanager
def moving(guest):
    """A lab, the loop that moves its arm, who drives it, and every state reported."""
    states: list = []
    with running_lab(seed=3) as lab:
        loop = guest(ArmLoop(LoopConfig(), lambda state, width_m: states.append(state)))
        until(lambda: loop.mode == TRACKING)
        with Person(loop, lambda: states[-1].pose7) as person:
            person.drives()
            until(lambda: np.linalg.norm(states[-1].dq) > 0.05)
            yield lab, loop, person, states


def test_a_silent_robot_holds_the_arm_then_raises_an_alarm_and_in_the_end_waits_for_recovery(guest, reaction):
    stalls = Stalls()
    with moving(guest) as (lab, loop, person, _):
        lab.process.send_signal(signal.SIGSTOP)
        begun, begun_ns = time.monotonic(), time.time_ns()
        until(lambda: loop.link.is_late)
        assert loop.link.complaint.startswith("the robot has been silent for 0.1 s")
        until(lambda: loop.servo.reason == "the robot is silent")
        until(lambda: loop.servo.mandate.alarm)
        reaction("robot silent", time.monotonic() - begun, 0.6, stalls.after(begun_ns))
        assert loop.servo.mandate.alarm == "the robot has fallen silent; look at its cable and its controller"
        person.says("stopped")
        lab.process.kill()
        until(lambda: loop.mode == FAULT)
    with running_lab(seed=3) as lab:
        client = guest(lab.client())
        assert loop.recover().result(15).startswith("recovered")
        until(lambda: loop.mode == TRACKING)
        place = client.truth()["ee"][:3]
        time.sleep(0.5)
        np.testing.assert_allclose(client.truth()["ee"][:3], place, atol=0.005)
    stalls.close()


def test_a_robot_that_stalls_for_a_moment_is_waited_for_and_the_arm_goes_on(guest):
    with moving(guest) as (lab, loop, _, states):
        lab.process.send_signal(signal.SIGSTOP)
        until(lambda: loop.link.is_late)
        lab.process.send_signal(signal.SIGCONT)
        until(lambda: not loop.link.is_late)
        before = states[-1].pose7[1]
        until(lambda: states[-1].pose7[1] > before + 0.03)
        assert (loop.link.silences, loop.mode, loop.servo.mandate.alarm) == (1, TRACKING, "")

"""The law of the hand's fingers, on two plain masses with something soft between them or nothing."""

import os
import struct
from dataclasses import dataclass, field

import pytest
from franka_sim.gripper.protocol import GripperCommand

from como_ros.errors import ComoError
from como_ros.lab.arm import LabArm, LabConfig
from como_ros.lab.fingers import MAX_FORCE_N, MAX_SPEED_M_S, FingerServo
from como_ros.lab.hand_server import AbortedError, LabHand

MASS_KG, FRICTION_N_S_M, DT_S = 0.117, 10.0, 0.001


@dataclass
class Fingers:
    """Two sliding masses; an object of some width pushes back where it is touched."""

    object_m: float = 0.0
    q: list[float] = field(default_factory=lambda: [0.04, 0.04])
    dq: list[float] = field(default_factory=lambda: [0.0, 0.0])
    squeezed_n: float = 0.0
    fastest_m_s: float = 0.0

    @property
    def width_m(self) -> float:
        return sum(self.q)

    def run(self, servo: FingerServo, seconds: float) -> None:
        for _ in range(round(seconds / DT_S)):
            self._step(servo.forces(self.q, self.dq, DT_S))

    def _step(self, forces: tuple[float, float]) -> None:
        depth = max(0.0, self.object_m - self.width_m) / 2
        self.squeezed_n = 20_000 * depth
        for i, force in enumerate(forces):
            stopped = 50_000 * max(0.0, -self.q[i])
            total = force + self.squeezed_n + stopped - FRICTION_N_S_M * self.dq[i]
            self.dq[i] += total / MASS_KG * DT_S
            self.q[i] += self.dq[i] * DT_S
        self.fastest_m_s = max(self.fastest_m_s, abs(sum(self.dq)))


def test_a_move_takes_as_long_as_its_speed_asks():
    servo, fingers = FingerServo(), Fingers()
    servo.move(0.02, 0.05)
    fingers.run(servo, 0.6)
    assert fingers.width_m == pytest.approx(0.05, abs=0.002)
    assert not servo.done
    fingers.run(servo, 1.0)
    assert fingers.width_m == pytest.approx(0.02, abs=2e-4)
    assert fingers.fastest_m_s < 0.055
    assert servo.done


def test_no_order_is_faster_than_the_hand():
    servo, fingers = FingerServo(), Fingers()
    servo.move(0.0, 3.0)
    fingers.run(servo, 1.0)
    assert fingers.width_m == pytest.approx(0.0, abs=2e-4)
    assert fingers.fastest_m_s < 1.05 * MAX_SPEED_M_S


@pytest.mark.parametrize(("asked_n", "given_n"), [(10.0, 10.0), (40.0, 40.0), (300.0, MAX_FORCE_N)])
def test_a_grasp_presses_with_its_force_up_to_what_the_hand_can_give(asked_n, given_n):
    servo, fingers = FingerServo(), Fingers(object_m=0.04)
    servo.grasp(0.1, asked_n)
    fingers.run(servo, 1.5)
    assert servo.done
    assert fingers.squeezed_n == pytest.approx(given_n, rel=0.05)


def test_a_stop_keeps_the_width_and_the_grip():
    servo, fingers = FingerServo(), Fingers()
    servo.move(0.0, 0.1)
    fingers.run(servo, 0.4)
    servo.stop()
    fingers.run(servo, 0.5)
    assert fingers.width_m == pytest.approx(0.04, abs=0.003)
    held = Fingers(object_m=0.05)
    servo.grasp(0.1, 30.0)
    held.run(servo, 1.0)
    servo.stop()
    held.run(servo, 1.0)
    assert held.squeezed_n == pytest.approx(30.0, rel=0.1)


def test_both_fingers_stay_at_equal_distance_from_the_middle():
    servo, fingers = FingerServo(), Fingers(q=[0.04, 0.02])
    servo.move(0.05, 0.1)
    fingers.run(servo, 1.0)
    assert fingers.q[0] == pytest.approx(fingers.q[1], abs=1e-4)


def test_jammed_fingers_stay_whatever_is_ordered():
    servo, fingers = FingerServo(), Fingers()
    servo.jam(True)
    servo.move(0.0, 0.1)
    fingers.run(servo, 1.0)
    assert fingers.width_m == pytest.approx(0.08, abs=1e-4)
    servo.jam(False)
    servo.move(0.0, 0.1)
    fingers.run(servo, 1.0)
    assert fingers.width_m == pytest.approx(0.0, abs=2e-4)


def test_a_hand_command_that_comes_late_does_not_undo_a_newer_one():
    world = LabArm(LabConfig(state=f"test_hand_{os.getpid()}"), on_ready=lambda: None)
    world.initialize_simulation()
    hand = LabHand(world)
    late, newest = hand.take_over(), hand.take_over()
    hand.run(newest, GripperCommand.kStop, b"")
    late_orders = {
        GripperCommand.kHoming: b"",
        GripperCommand.kMove: struct.pack("<dd", 0.0, 0.1),
        GripperCommand.kGrasp: struct.pack("<ddddd", 0.0, 0.1, 0.1, 0.1, 40.0),
        GripperCommand.kStop: b"",
    }
    for command, payload in late_orders.items():
        with pytest.raises(AbortedError):
            hand.run(late, command, payload)
    world.step(500)
    assert world.get_finger_state()["q"].sum() == pytest.approx(0.08, abs=1e-3)
    world.shared.close()


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (lambda servo: servo.move(0.09, 0.1), "stroke"),
        (lambda servo: servo.move(float("nan"), 0.1), "stroke"),
        (lambda servo: servo.move(0.01, 0.0), "speed"),
        (lambda servo: servo.grasp(0.1, 0.0), "force"),
        (lambda servo: servo.grasp(float("inf"), 10.0), "speed"),
    ],
)
def test_what_no_hand_can_do_is_refused(order, said):
    with pytest.raises(ComoError, match=said):
        order(FingerServo())

"""What the arm feels and how it stops: wrench, contact levels and collision reflex, in the real protocol."""

import os
import time
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from franka_sim.franka_protocol import SetCollisionBehaviorCommand
from lab_moves import glide, go_home, wait_fault
from lab_server import running_lab

from como_ros.drivers.franka import FrankaArm, FrankaConfig
from como_ros.lab.arm import LabArm, LabConfig
from como_ros.lab.contacts import CollisionReflex

BESIDE_THE_THINGS = (0.45, -0.30)


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=3) as lab:
        yield lab


@pytest.fixture
def connect(lab, guest):
    def at_home(**thresholds: float) -> FrankaArm:
        arm = guest(FrankaArm(replace(FrankaConfig(), **thresholds)))
        go_home(arm)
        return arm

    return at_home


def press(arm: FrankaArm, depth_m: float) -> str:
    """Down beside the things, as if the table were so much lower; what stopped it."""
    assert glide(arm, (*BESIDE_THE_THINGS, 0.02), 1.2) == ""
    return glide(arm, (*BESIDE_THE_THINGS, -depth_m), 1.5)


def test_an_arm_that_touches_nothing_feels_nothing(lab, connect):
    arm, client = connect(), lab.client()
    client.reset(3)
    assert glide(arm, (0.5, 0.2, 0.5), 1.0) == ""
    assert client.status()["peak_force_n"] == 0.0
    assert not arm.read().wrench.any()
    client.close()


def test_pressing_on_the_table_is_felt_as_contact(lab, connect):
    arm = connect()
    assert press(arm, 0.02) == ""
    state = arm._robot.state
    assert state.O_F_ext_hat_K[2] == pytest.approx(-30, abs=6)  # 20 mm at 1500 N/m, robot on table
    assert state.K_F_ext_hat_K[2] == pytest.approx(30, abs=6)  # the hand looks down
    assert np.argmax(np.abs(state.tau_ext_hat_filtered)) in (1, 3)
    assert list(state.cartesian_contact) == [0, 0, 1, 0, 0, 0]
    assert not any(state.cartesian_collision)


def test_pressing_too_hard_ends_in_a_reflex_and_recovery(lab, connect):
    arm = connect()
    assert "cartesian_reflex" in press(arm, 0.04)
    assert arm.read().mode == "Reflex"
    assert arm._robot.state.cartesian_collision[2] == 1
    arm.recover()
    assert not any(arm._robot.state.cartesian_collision)
    arm.track()
    assert glide(arm, (*BESIDE_THE_THINGS, 0.2), 0.8) == ""
    assert not arm.read().wrench.any()


def test_the_clients_thresholds_count_and_a_lasting_force_trips_again(lab, connect):
    arm = connect(contact_force_n=2.0, collision_force_n=5.0)
    assert "cartesian_reflex" in press(arm, 0.02)
    arm._robot.set_collision_behavior(
        lower_torque_threshold=0.1,
        upper_torque_threshold=100.0,
        lower_force_threshold=0.05,
        upper_force_threshold=0.1,
    )
    arm.recover()
    assert abs(arm.read().wrench[2]) > 0.1
    arm.track()
    arm.set_target(arm.read().pose7 + [0, 0, -0.01, 0, 0, 0, 0], np.zeros(6))
    assert "cartesian_reflex" in wait_fault(arm)
    arm.recover()


def behaviour(acceleration: float, nominal: float) -> SetCollisionBehaviorCommand:
    """Upper thresholds for both phases; the lower ones are half of them."""
    levels = [[acceleration / 2] * 7, [acceleration] * 7, [nominal / 2] * 7, [nominal] * 7]
    levels += [[acceleration / 2] * 6, [acceleration] * 6, [nominal / 2] * 6, [nominal] * 6]
    return SetCollisionBehaviorCommand(*levels)


def feel(force_n: float = 0.0, torque_nm: float = 0.0, acceleration: float = 0.0) -> dict[str, np.ndarray]:
    return {
        "ddq": np.full(7, acceleration),
        "tau_ext_hat_filtered": np.array([torque_nm, 1e-3, 0, 0, 0, 0, 0]),
        "O_F_ext_hat_K": np.array([0, force_n, 0, 0, 0, 0]),
    }


def test_an_accelerating_arm_is_judged_by_its_own_thresholds():
    reflex = CollisionReflex()
    reflex.set_thresholds(behaviour(acceleration=50, nominal=10))
    assert reflex.judge(feel(force_n=-12))[1] is not None
    assert reflex.judge(feel(force_n=-12, acceleration=3))[1] is None
    assert reflex.judge(feel(force_n=-52, acceleration=3))[1] is not None


def test_joint_and_cartesian_reflex_are_told_apart():
    reflex = CollisionReflex()
    reflex.set_thresholds(behaviour(10, 10))
    named = [reflex.judge(feel(*pushed))[1].describe() for pushed in ((11, 0), (0, 11), (11, 11))]
    assert [text.partition(":")[0] for text in named] == [
        "cartesian_reflex",
        "joint_reflex",
        "cartesian_reflex+joint_reflex",
    ]


def test_contact_passes_and_collision_stays_until_recovery():
    reflex = CollisionReflex()
    reflex.set_thresholds(behaviour(10, 10))
    reflex.judge(feel(force_n=11, torque_nm=6))
    fields, collision = reflex.judge(feel())
    assert collision is None
    assert not fields["cartesian_contact"].any()
    assert fields["cartesian_collision"].tolist() == [0, 1, 0, 0, 0, 0]
    reflex.recover()
    assert not reflex.judge(feel())[0]["cartesian_collision"].any()


@pytest.fixture
def world():
    world = LabArm(LabConfig(state=f"test_contacts_{os.getpid()}"), on_ready=lambda: None)
    world.initialize_simulation()
    yield world
    world.shared.close()


def hold_cube(world: LabArm, force_n: float) -> None:
    """The cube between the fingers, in the air."""
    body = world.model.body("cube")
    q, v = world.model.jnt_qposadr[body.jntadr[0]], world.model.jnt_dofadr[body.jntadr[0]]
    place = world.data.site("tcp").xpos.copy()
    world.fingers.grasp(0.1, force_n)
    for step in range(1200):
        if step < 500:  # until the fingers are there
            world.data.qpos[q : q + 7] = [*place, 1, 0, 0, 0]
            world.data.qvel[v : v + 6] = 0
        world.step()


def grip_n(world: LabArm) -> float:
    """How hard each finger presses on the cube."""
    cube, wrench, total = world.model.geom("cube").id, np.zeros(6), 0.0
    for i, contact in enumerate(world.data.contact):
        if cube in (contact.geom1, contact.geom2):
            mujoco.mj_contactForce(world.model, world.data, i, wrench)
            total += wrench[0] / 2
    return total


@pytest.mark.parametrize("force_n", [10.0, 40.0])
def test_a_held_cube_weighs_what_it_weighs_and_is_held_as_hard_as_asked(world, force_n):
    hold_cube(world, force_n)
    felt = world.get_robot_state()["O_F_ext_hat_K"]
    np.testing.assert_allclose(felt[:3], [0, 0, 0.05 * 9.81], atol=0.02)
    assert grip_n(world) == pytest.approx(force_n, rel=0.1)


def test_feeling_costs_little_beside_a_step_of_the_world(world):
    hold_cube(world, 30.0)

    def seconds(act) -> float:
        begun = time.thread_time()
        for _ in range(300):
            act()
        return time.thread_time() - begun

    reflex, readings = CollisionReflex(), world._step_ee_readings()

    def share() -> float:
        """Of the same moment: a core may become twice as fast from one to the next."""
        felt = seconds(lambda: world._sensor.read(world.data, *readings))
        judged = seconds(lambda: reflex.judge(world.get_robot_state()))
        return (felt + judged) / seconds(world.step)

    assert min(share() for _ in range(5)) < 0.4

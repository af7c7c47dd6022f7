"""The lab as a Panda and as an FR3: what one may do and the other may not; how a lab starts and ends."""

import os
import signal
import time
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from franka_sim.franka_sim_server import FrankaSimServer
from lab_moves import go_home, paced, wait_fault
from lab_server import RunningLab, running_lab
from ros_probe import Stalls

from como_ros.control.limits import get_limits
from como_ros.drivers.franka import FrankaArm, FrankaConfig
from como_ros.errors import ComoError
from como_ros.graphs import Deployment, graph
from como_ros.lab.arm import LabArm, LabConfig
from como_ros.lab.fci import main
from como_ros.lab.limit_tables import robot_description
from como_ros.lab.shared_state import FOLDER

WRIST_BEND, WRIST_TURN = 5, 6
NOTICED_S = 10.0
"""libfranka notices a robot that is gone by time-outs of a second each: two here, more on a slow machine."""


def drive(arm: FrankaArm, joint: int, goal_rad: float, peak_rad_s: float) -> str:
    """One joint from rest to rest, by joint impedance; the fault that ended it, or nothing."""
    start = arm.read().q
    way = goal_rad - start[joint]
    seconds = 1.5 * abs(way) / peak_rad_s
    arm.track_joints()
    for t in paced(seconds + 0.5):
        share, q, dq = min(1.0, t / seconds), start.copy(), np.zeros(7)
        q[joint] += way * (3 - 2 * share) * share**2
        dq[joint] = way * 6 * share * (1 - share) / seconds
        arm.set_joint_target(q, dq)
        if fault := arm.fault():
            return fault
    assert arm.read().q[joint] == pytest.approx(goal_rad, abs=0.03)
    return ""


@pytest.fixture(scope="module", params=["panda", "fr3"])
def lab(request):
    """Starts with a fault, ends by a signal while the arm moves."""
    with running_lab(seed=3, robot=request.param, fault="fci_packet_loss=0.01") as lab:
        yield lab
        ends_by_signal(lab, signal.SIGTERM if request.param == "fr3" else signal.SIGINT)


@pytest.fixture
def arm(lab):
    client = lab.client()
    robot = client.status()["robot"]
    client.fault("none")
    client.close()
    with closing(FrankaArm(FrankaConfig(robot=robot))) as arm:
        go_home(arm)
        yield arm


def ends_by_signal(lab: RunningLab, number: int) -> None:
    with closing(FrankaArm(FrankaConfig())) as arm:
        arm.track()
        _ends(lab, number)
        assert wait_fault(arm, NOTICED_S)


def _ends(lab: RunningLab, number: int) -> None:
    stalls, begun_ns = Stalls(), time.time_ns()
    lab.process.send_signal(number)
    assert lab.process.wait(10) == 0
    took_s = (time.time_ns() - begun_ns) / 1e9
    stalls.close()
    assert took_s < 2.0 + stalls.after(begun_ns, 10.0)
    assert "Traceback" not in lab.errors.read_text()
    assert lab.process.stdout is not None
    assert lab.process.stdout.read() == ""  # nothing after the one line that it was ready
    assert not lab.control.exists()
    assert not (FOLDER / f"como_{lab.state}").exists()
    assert not Path(f"/proc/{lab.process.pid}").exists()


def test_a_lab_can_start_with_a_fault(lab):
    """First in this file: the others clear it."""
    client = lab.client()
    assert client.status()["faults"] == {"fci_packet_loss": 0.01}
    client.close()


def test_only_the_panda_bends_its_wrist_that_far(arm):
    fault = drive(arm, WRIST_BEND, 0.35, peak_rad_s=1.0)
    if arm.config.robot == "panda":
        assert fault == ""
    else:
        assert "joint_velocity_violation" in fault  # the FR3 must slow down before its stop at 0.54


def test_only_the_fr3_turns_its_wrist_that_fast(arm):
    assert drive(arm, WRIST_TURN, -1.2, peak_rad_s=2.0) == ""
    fault = drive(arm, WRIST_TURN, 1.2, peak_rad_s=3.4)
    if arm.config.robot == "fr3":
        assert fault == ""
    else:
        assert "joint_velocity_violation" in fault


def limits_of(urdf: str) -> list[tuple[float, float, float]]:
    joints = [joint for joint in ET.fromstring(urdf).iter("joint") if joint.get("type") == "revolute"]
    rows = [joint.find("limit") for joint in joints[:7]]
    return [(float(row.get("lower")), float(row.get("upper")), float(row.get("velocity"))) for row in rows]


def test_the_client_is_served_the_limits_of_its_robot():
    fr3 = FrankaSimServer.DEFAULT_ARM_URDF.read_text()
    panda = get_limits("panda")
    served = limits_of(robot_description(fr3, "panda"))
    assert served == list(zip(panda.q_min, panda.q_max, panda.joint_velocity, strict=True))
    assert robot_description(fr3, "fr3") == fr3


@pytest.mark.parametrize("robot", ["panda", "fr3"])
def test_the_scenes_arm_stops_where_the_robots_does(robot):
    world = LabArm(LabConfig(state=f"test_stops_{os.getpid()}", robot=robot), on_ready=lambda: None)
    world.initialize_simulation()
    stops = world.model.jnt_range[[world.model.joint(f"joint{i}").id for i in range(1, 8)]]
    world.shared.close()
    table = get_limits(robot)
    np.testing.assert_allclose(stops.T, [table.q_min, table.q_max], atol=0.01)


def test_the_graph_tells_lab_and_arm_the_same_robot():
    lab, arm, *_ = graph("teleop", Deployment(lab=True, robot="fr3"))
    assert lab.arguments[lab.arguments.index("--robot") + 1] == "fr3"
    assert arm.parameters["robot"] == "fr3"
    with pytest.raises(ComoError, match="'ur5'; known robots: fr3, panda"):
        graph("teleop", Deployment(lab=True, robot="ur5"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--robot", "ur5"], "no robot named 'ur5'; known: fr3, panda"),
        (["--fault", "flood"], "it can with: fci_packet_loss, user_stop"),
        (["--fault", "slow_physics=half"], "is no number"),
        (["--task", "juggle"], "no task named 'juggle'"),
    ],
)
def test_a_lab_that_cannot_be_is_refused_in_one_sentence(capsys, arguments, said):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err

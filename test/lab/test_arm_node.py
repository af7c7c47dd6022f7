"""The arm node among separate processes: what it publishes, and how fast it holds when others fall silent."""

import signal
import time

import numpy as np
import pytest
from arm_station import SETTLED_M, STAYS_M, Station
from lab_server import running_lab
from ros_probe import wait_until
from system_clock import SystemClock

from como_ros import wire
from como_ros.bag_checks import run_check
from como_ros.control.homing import HOME_Q
from como_ros.control.shield import ShieldConfig
from como_ros.control.speakers import CHUNKS_ALONE_NS
from como_ros.episodes import bring_home
from como_ros.nodes.arm import ArmConfig
from como_ros.nodes.station import Station as Operator

HEARD_S = 0.2
"""For so long the recorder may be held up before the state of 200 Hz is lost: 50 messages wait for it."""


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=1) as lab:
        yield lab


@pytest.fixture
def station(lab, probe, processes, reaction):
    return Station(probe, processes, reaction)


@pytest.fixture
def system_clock(lab, monkeypatch, tmp_path):
    return SystemClock(monkeypatch, tmp_path)


def test_state_is_published_and_recorded_at_200_hz_and_home_works_when_ready(
    lab, probe, processes, reaction, tmp_path
):
    processes.node("recorder", out=tmp_path)
    station = Station(probe, processes, reaction, rate_hz=ArmConfig.rate_hz)
    joints = probe.listen("/arm/joint_states")
    wait_until(lambda: joints, "joints")
    q, width_m = wire.joints_from_msg(joints[-1][1])
    np.testing.assert_allclose(q, HOME_Q, atol=0.02)
    assert 0 <= width_m <= 0.081
    assert probe.call("/recorder/start")[0]
    before, begun_ns = int(station.figures()["missed"]), time.time_ns()
    time.sleep(3.0)
    assert probe.call("/recorder/keep_success")[0]
    missed = int(station.figures()["missed"]) - before
    stalled_s = probe.stalls.after(begun_ns, 4.0)
    (episode,) = run_check(tmp_path)["episodes"]
    assert missed <= 6 + 200 * stalled_s
    for key in ("joints", "ee_pose", "wrench"):
        assert episode["rates_hz"][key] == pytest.approx(200, rel=0.05)
        assert episode["drops"][key] <= 6 + 200 * stalled_s
        complaints = [text for text in episode["problems"] if key in text]
        assert not complaints or stalled_s > HEARD_S, complaints
    station.probe.call("/supervisor/stop")
    station.told(lambda text: "supervisor is stopped" in text)
    success, message = station.probe.call("/arm/home")
    assert not success
    assert "the supervisor says stopped" in message
    success, message = station.probe.call("/arm/recover")
    assert (success, message) == (False, "nothing to recover: the arm is tracking")


@pytest.mark.parametrize(
    ("mode", "state", "row"), [("chunk", "policy", "policy killed"), ("pose", "teleop", "silence")]
)
def test_the_arm_holds_within_200_ms_of_its_commanders_death(station, mode, state, row):
    commander = station.commander(mode)
    station.probe.call(f"/supervisor/{state}")
    station.moves()
    commander.send_signal(signal.SIGKILL)
    station.holds_after(row, time.time(), within_s=0.2)
    assert float(station.figures()["success_rate"]) > 0.9


def test_stop_holds_and_nothing_moves_until_released_and_armed_again(station):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    stopped_s = time.time()
    station.probe.call("/supervisor/stop")
    station.holds_after("stop", stopped_s, within_s=0.1)
    station.probe.call("/supervisor/release")
    station.stands(1.0)
    station.told(lambda text: "holding: supervisor is ready" in text)


def test_a_dead_supervisor_holds_the_arm_and_its_heartbeat_alone_moves_nothing(station):
    from std_msgs.msg import String

    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    station.supervisor.send_signal(signal.SIGKILL)
    station.holds_after("supervisor killed", time.time(), within_s=0.2)
    station.told(lambda text: "supervisor silent" in text)
    heartbeat = station.probe.speak("/supervisor/state")
    for _ in range(15):
        heartbeat.publish(String(data="policy"))
        time.sleep(0.1)
    station.told(lambda text: "waiting to be armed again" in text)
    station.stands(0.0)


def test_an_arm_node_restarted_while_armed_holds_until_armed_again(station):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    station.arm.send_signal(signal.SIGTERM)
    station.arm.wait(10)
    station.start_arm()
    station.stopped_for("waiting to be armed again")
    station.stands(1.0)


def test_a_chunk_that_is_not_finite_is_refused_whole_and_counted(station):
    station.probe.call("/supervisor/policy")
    speak = station.probe.speak("/arm/command/chunk")
    time.sleep(1.0)
    broken = station.chunk(0.03)
    broken.points[2].transforms[0].translation.x = float("nan")
    speak.publish(broken)
    station.stands(1.5)
    assert int(station.figures()["refused_malformed"]) == 1
    assert "not finite" in station.figures()["last_malformed"]
    speak.publish(station.chunk(0.5))
    station.wait(lambda: station.figures()["last_refusal"].startswith("jump: 50"), "the newer refusal")
    station.reaction.shown("not finite")
    begun_s = time.time()
    speak.publish(station.chunk(0.03))  # the same, whole, does move it
    wait_until(lambda: station.travelled(begun_s) > 0.02, "the whole chunk to be followed")


def test_a_second_publisher_of_chunks_stops_the_arm_and_is_named(station):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    begun_s = time.time()
    station.commander("chunk", speed_m_s=-0.15)
    station.told(lambda text: "two publishers on /arm/command/chunk" in text)
    time.sleep(0.5)
    station.stands(1.0)
    assert station.speed_before(begun_s) > 0.05
    station.reaction.shown("two publishers")


def test_a_second_supervisor_stops_the_arm_and_is_named(station):
    from std_msgs.msg import String

    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    begun_s = time.time()
    second = station.probe.speak("/supervisor/state")
    for _ in range(15):
        second.publish(String(data="stopped"))
        time.sleep(0.1)
    station.told(lambda text: "two publishers on /supervisor/state" in text)
    station.stands(1.5)  # the first one alone again, and still saying policy
    assert station.speed_before(begun_s) > 0.05


def test_a_system_clock_that_is_set_while_the_arm_moves_holds_it_until_armed_again(
    system_clock, station, lab, guest
):
    """Station and commander live by that clock, the lab and this test by another."""
    client = guest(lab.client())
    for now_s, jump in ((3600.0, "+3600.00 s"), (3599.4, "-0.60 s")):
        commander = station.commander("chunk")
        station.probe.call("/supervisor/policy")
        start = client.truth()["ee"][:3]
        wait_until(
            lambda at=start: np.linalg.norm(np.subtract(client.truth()["ee"][:3], at)) > 0.05, "motion"
        )
        heard, begun, begun_ns = len(station.health), time.monotonic(), time.time_ns()
        system_clock.set(now_s)
        rows = []
        while time.monotonic() < begun + 1.5:
            rows.append((time.monotonic() - begun, *client.truth()["ee"][:3]))
            time.sleep(0.005)
        said = [
            (at, s.message) for at, m in list(station.health)[heard:] for s in m.status if s.name == "arm"
        ]
        told = next(at for at, message in said if f"the system clock jumped by {jump}" in message)
        stamps, places = np.split(np.array(rows), [1], axis=1)
        away = stamps[np.linalg.norm(places - places[-1], axis=1) > SETTLED_M, 0]
        stalled_s = station.probe.stalls.after(begun_ns)
        station.reaction("clock jump", told - begun, 0.2, stalled_s)
        station.reaction("clock jump, arm", away[-1], 0.5, stalled_s)
        station.told(lambda text: "supervisor is stopped" in text)
        station.probe.call("/supervisor/release")
        commander.kill()
        time.sleep(CHUNKS_ALONE_NS / 1e9)  # until its successor is no second publisher


def test_a_reflex_is_said_at_once_and_recovery_needs_arming_again(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client = lab.client()
    begun_s = time.time()
    client.fault("reflex", kind="cartesian_reflex")
    client.close()
    station.tells_after("reflex", begun_s, lambda text: "the arm hit something or somebody" in text)
    assert "motion aborted by reflex" in station.arm_status().message
    assert station.speed_before(begun_s) > 0.05
    success, message = station.probe.call("/arm/recover")
    assert success, message
    station.stands(1.0)
    station.told(lambda text: "supervisor is stopped" in text)  # it heard of the fault


def test_a_harmless_stop_is_cleared_by_itself_and_moves_nothing(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client = lab.client()
    begun_s = time.time()
    client.fault("reflex", kind="controller_torque_discontinuity")
    client.close()
    wait_until(lambda: station.has_said("the commanded torque jumped"), "the fault")
    station.tells_after("harmless", begun_s, lambda text: "supervisor is stopped" in text)
    assert station.figures()["auto_cleared"] == "1"
    station.stands(1.0)
    success, message = station.probe.call("/arm/recover")
    assert (success, message) == (False, "nothing to recover: the arm is tracking")


@pytest.mark.parametrize(
    ("kind", "wait_s"), [("cartesian_reflex", 0.0), ("controller_torque_discontinuity", 0.5)]
)
def test_the_next_episode_begins_at_home_whatever_has_just_stopped_the_arm(station, lab, kind, wait_s):
    """Before the arm has said so, or just when it clears it by itself: a run of episodes goes on."""
    client = lab.client()
    client.fault("reflex", kind=kind)
    client.close()
    time.sleep(wait_s)
    with Operator() as operator:
        bring_home(operator, lambda: None)
    station.told(lambda text: text == "tracking, holding: supervisor is ready")


def test_a_commander_that_leaves_the_workspace_is_braked_before_the_wall(station):
    station.commander("pose", speed_m_s=0.3)
    station.probe.call("/supervisor/teleop")
    station.moves()
    wait_until(lambda: station.track()[1][-1, 1] > ShieldConfig.box_max_m[1] - 0.01, "the wall")
    time.sleep(1.0)
    swing_m = 0.015  # of the body beyond its set-point
    assert station.track()[1][:, 1].max() < ShieldConfig.box_max_m[1] + swing_m
    assert int(station.figures()["outside_the_box"]) > 0
    station.reaction.shown("outside")


def test_lost_packets_stop_the_arm_and_recovery_needs_consent(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client, begun_s = lab.client(), time.time()
    client.fault("fci_packet_loss", value=60)
    station.tells_after("packets", begun_s, lambda text: "commands came too late" in text, within_s=2.0)
    client.fault("fci_packet_loss", on=False)
    client.close()
    station.stands(1.0)
    assert station.figures()["auto_cleared"] == "0"
    success, message = station.probe.call("/arm/recover")
    assert success, message


def test_a_pressed_user_stop_is_said_and_no_recovery_helps_while_it_is_pressed(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client, begun_s = lab.client(), time.time()
    client.fault("user_stop")
    station.tells_after("user stop", begun_s, lambda text: text.startswith("fault:"))
    success, message = station.probe.call("/arm/recover")
    assert not success
    assert "the user stop is pressed" in message
    client.fault("user_stop", on=False)
    client.close()
    success, message = station.probe.call("/arm/recover")
    assert success, message
    station.stands(1.0)


def test_a_killed_arm_node_leaves_a_standing_arm_and_a_new_one_holds_it_without_a_jerk(station, lab):
    station.commander("chunk")
    station.probe.call("/supervisor/policy")
    station.moves()
    client, rows = lab.client(), []
    killed_s = time.time()
    station.arm.send_signal(signal.SIGKILL)
    while time.time() < killed_s + 2.0:
        rows.append((time.time(), client.truth()["ee"][:3]))
        time.sleep(0.01)
    stamps, places = np.array([at for at, _ in rows]), np.array([place for _, place in rows])
    away = stamps[np.linalg.norm(places - places[-1], axis=1) > SETTLED_M]
    stalled_s = station.probe.stalls.after(round(killed_s * 1e9))
    station.reaction("arm killed", away[-1] - killed_s if len(away) else 0.0, 1.0, stalled_s)
    station.start_arm()
    station.stopped_for("waiting to be armed again")
    time.sleep(1.0)
    assert np.linalg.norm(np.array(client.truth()["ee"][:3]) - places[-1]) < STAYS_M
    client.close()

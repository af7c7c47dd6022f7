"""The supervisor as its own process, spoken to over Fast DDS."""

import itertools
import signal
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from ros_probe import wait_until
from std_msgs.msg import Bool


def states(kept) -> list[str]:
    return [key for key, _ in itertools.groupby(message.data for _, message in kept)]


def heard(kept, state: str) -> None:
    wait_until(lambda: states(kept)[-1:] == [state], f"the state {state}")


def listened_to(publisher) -> None:
    """What is said before the supervisor listens is lost."""
    wait_until(publisher.get_subscription_count, "the supervisor to listen")


def test_it_starts_stopped_and_arms_only_after_a_release(probe, processes):
    kept = probe.listen("/supervisor/state")
    processes.node("supervisor")
    refused, reason = probe.call("/supervisor/policy")
    assert not refused
    assert "the state is stopped, it is allowed from ready" in reason
    assert probe.call("/supervisor/release") == (True, "state is ready")
    assert probe.call("/supervisor/policy") == (True, "state is policy")
    assert probe.call("/supervisor/stop") == (True, "state is stopped")
    heard(kept, "stopped")
    assert states(kept) == ["stopped", "ready", "policy", "stopped"]


def test_a_latecomer_hears_the_state_and_25_heartbeats_a_second(probe, processes):
    processes.node("supervisor")
    probe.call("/supervisor/release")
    kept = probe.listen("/supervisor/state")
    begun_ns = time.time_ns()
    wait_until(lambda: len(kept) > 50, "heartbeats")
    assert {message.data for _, message in kept} == {"ready"}
    stalled_s = probe.stalls.after(begun_ns, 5.0)
    assert abs(kept[50][0] - kept[1][0] - 1.96) < 0.3 + stalled_s


def test_its_heart_beats_by_a_clock_that_nobody_sets(probe, processes):
    """On simulated time that never comes, as on a machine whose clock was set back, ROS time stands still."""
    kept = probe.listen("/supervisor/state")
    processes.node("supervisor", use_sim_time="true")
    wait_until(lambda: len(kept) > 5, "heartbeats")


def test_letting_go_of_the_deadman_stops_within_100_ms(probe, processes, reaction):
    kept = probe.listen("/supervisor/state")
    deadman = probe.speak("/teleop/deadman")
    processes.node("supervisor")
    probe.call("/supervisor/release")
    listened_to(deadman)
    probe.call("/supervisor/teleop")
    heard(kept, "teleop")
    deadman.publish(Bool(data=True))
    let_go, let_go_ns = time.monotonic(), time.time_ns()
    deadman.publish(Bool(data=False))
    heard(kept, "stopped")
    stopped = next(at for at, message in kept if at > let_go and message.data == "stopped")
    reaction("deadman", stopped - let_go, 0.1, probe.stalls.after(let_go_ns))


def test_a_fault_of_the_arm_ends_a_run_and_nothing_else_does(probe, processes):
    kept, health = probe.listen("/supervisor/state"), probe.speak("/diagnostics")
    processes.node("supervisor")
    probe.call("/supervisor/release")
    probe.call("/supervisor/policy")
    listened_to(health)
    heard(kept, "policy")

    def say(name: str, message: str, **figures: str) -> None:
        values = [KeyValue(key=key, value=value) for key, value in figures.items()]
        status = DiagnosticStatus(level=b"\x02", name=name, message=message, values=values)
        health.publish(DiagnosticArray(status=[status]))

    say("camera", "front: frozen")
    say("policy", "holding: images/front is 0.61 s old")
    time.sleep(0.5)
    assert states(kept)[-1] == "policy"
    say("arm", "fault: motion aborted by reflex", mode="fault")
    heard(kept, "stopped")
    assert probe.call("/supervisor/policy")[0] is False


def test_a_silent_deadman_stops_driving(probe, processes):
    kept = probe.listen("/supervisor/state")
    processes.node("supervisor", deadman_timeout_s=0.3)
    probe.call("/supervisor/release")
    probe.call("/supervisor/teleop")
    armed_ns = time.time_ns()
    heard(kept, "teleop")
    heard(kept, "stopped")
    stopped_s = time.time() - (time.monotonic() - kept[-1][0]) - armed_ns / 1e9
    assert 0.2 < stopped_s < 0.3 + 0.1 + 0.1 + probe.stalls.after(armed_ns)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("often", "supervisor: parameter heartbeat_hz is 'often', expected a finite number; give it as -p"),
        (
            "[1,a]",
            "the arguments cannot be read: failed to initialize rcl: Couldn't parse parameter",
        ),
    ],
)
def test_a_wrong_parameter_ends_the_process_with_one_sentence(processes, given, said):
    process = processes.node("supervisor", heartbeat_hz=given)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1][: len(said)]) == (2, said)
    assert "Traceback" not in errors


def test_a_heart_that_beats_too_slowly_for_the_arm_is_refused_at_the_start(processes):
    process = processes.node("supervisor", heartbeat_hz=10.0)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.strip() == "the supervisor's heartbeat_hz must lie in 20 to 1000, got 10.0"


def test_sigterm_ends_the_process_quietly(probe, processes):
    process = processes.node("supervisor")
    probe.call("/supervisor/release")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors

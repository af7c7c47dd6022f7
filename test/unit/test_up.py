"""A graph's processes come up together and leave nobody behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from como_ros.episodes import require_run
from como_ros.errors import ComoError
from como_ros.graphs import Deployment, Process, environment, graph
from como_ros.lab.fast import SETPOINT_PERIOD_S
from como_ros.restarts import Restarts
from como_ros.sentry import Sentry
from como_ros.up import Running, stop_signals_interrupt, up

STUBBORN = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(child.pid, flush=True)
    time.sleep(600)
"""

DEAF = """
    import signal, time
    signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
    print("here", flush=True)
    while True:
        time.sleep(600)
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder of modules that children can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "sleeper.py").write_text("import time; time.sleep(600)")
    (tmp_path / "stubborn.py").write_text(textwrap.dedent(STUBBORN))
    (tmp_path / "deaf.py").write_text(textwrap.dedent(DEAF))
    (tmp_path / "loser.py").write_text("import sys; sys.exit('the arm is gone')")
    return tmp_path


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(true, what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_leaving_the_block_ends_every_process_and_its_children(modules):
    processes = [Process("sleeper", "sleeper"), Process("stubborn", "stubborn")]
    with Running(processes, modules / "logs", {}, grace_s=0.5) as running:
        running.start()
        log = running.log("stubborn")
        wait_for(lambda: log.read_text().strip(), "the grandchild never came")
        pids = [running.pid("sleeper"), running.pid("stubborn"), int(log.read_text())]
        assert all(map(alive, pids))
    wait_for(lambda: not any(map(alive, pids)), "somebody survived")


def test_a_process_that_ends_is_named_with_its_last_words(modules):
    with Running([Process("arm", "loser")], modules / "logs", {}) as running:
        running.start()
        with pytest.raises(ComoError, match="arm ended with code 1, saying: the arm is gone"):
            wait_for(running.check, "check never raised")


def test_a_node_that_ends_is_started_again_three_times_a_minute_and_then_named(modules):
    node = Process("arm", "como_ros.nodes.loser")
    with Running([node], modules / "logs", {}) as running:
        told: list[tuple[str, str]] = []
        running.restarts, running.on_restart = Restarts(), lambda *said: told.append(said)
        running.start()
        with pytest.raises(ComoError, match="it was started again 3 times within 60 s: mend it first"):
            wait_for(running.check, "check never raised")
        assert [name for name, _ in told] == ["arm"] * 3
        assert running.log("arm").read_text().count("No module named") == 4


def test_a_process_that_is_no_node_is_not_started_again(modules):
    with Running([Process("lab", "loser")], modules / "logs", {}) as running:
        running.restarts = Restarts()
        running.start()
        with pytest.raises(ComoError, match="lab ended with code 1, saying: the arm is gone"):
            wait_for(running.check, "check never raised")


def test_three_restarts_a_minute_are_allowed_for_each_by_itself():
    restarts = Restarts()
    assert [restarts.allow("arm", at) for at in (0, 1, 2, 3, 59)] == [True, True, True, False, False]
    assert restarts.allow("camera", 3)
    assert restarts.allow("arm", 60.5)


def test_the_end_of_a_process_is_seen_at_once_and_once_and_others_are_watched_on():
    told: list[str] = []
    with Sentry(told.append) as sentry:
        sleepers = {name: subprocess.Popen(["sleep", "600"]) for name in ("arm", "camera")}
        for name, sleeper in sleepers.items():
            sentry.watch(name, sleeper.pid)
        time.sleep(0.05)
        assert not told
        for name, sleeper in sleepers.items():
            sleeper.kill()
            wait_for(lambda name=name: told == [name], "nobody told")
            time.sleep(0.05)
            assert told.pop() == name  # not told twice, although nobody has waited for it
            sleeper.wait()


def test_killing_the_parent_outright_takes_its_processes_along(modules):
    script = """
        import sys, time
        from pathlib import Path
        from como_ros.graphs import Process
        from como_ros.up import Running
        with Running([Process("sleeper", "sleeper")], Path(sys.argv[1]), {}) as running:
            running.start()
            print(running.pid("sleeper"), flush=True)
            time.sleep(600)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(modules / "logs")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_for(lambda: "sleeper" in Path(f"/proc/{pid}/cmdline").read_text(), "the child never began")
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_for(lambda: not alive(pid), "the child outlived its killed parent")


def test_a_second_interrupt_while_processes_end_leaves_nobody_behind(modules):
    running = Running([Process("deaf", "deaf")], modules / "logs", {}, grace_s=600)
    running.__enter__().start()
    log, pid = running.log("deaf"), running.pid("deaf")
    wait_for(lambda: "here" in log.read_text(), "the child never began")

    def interrupt() -> None:
        wait_for(lambda: "told" in log.read_text(), "nobody was asked to end")
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with stop_signals_interrupt(), pytest.raises(KeyboardInterrupt):
        running.stop()
    assert not alive(pid)


def test_the_lab_comes_first_and_only_where_asked_for(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    names = [p.name for p in graph("autonomous", Deployment(lab=True, bundle=str(tmp_path)))]
    assert names == ["lab", "arm", "camera", "supervisor", "policy", "sweeper", "recorder"]
    real = Deployment(bundle=str(tmp_path), serials=("1", "2"))
    assert "lab" not in [p.name for p in graph("autonomous", real)]


def test_cameras_that_others_drive_need_neither_node_nor_serials():
    names = [process.name for process in graph("teleop", Deployment(cameras="others", device="gamepad"))]
    assert names == ["arm", "supervisor", "teleop", "sweeper", "recorder"]


def test_a_device_beside_a_policy_lets_a_person_take_over(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    deployment = Deployment(lab=True, bundle=str(tmp_path), device="scripted")
    names = [process.name for process in graph("autonomous", deployment)]
    assert names == ["lab", "arm", "camera", "supervisor", "policy", "teleop", "sweeper", "recorder"]


def test_an_arm_runs_at_its_own_rate_and_in_the_lab_at_that_of_fast_mode():
    deployments = Deployment(serials=("1", "2"), device="gamepad"), Deployment(lab=True)
    real, lab = [graph("teleop", deployment) for deployment in deployments]
    assert "rate_hz" not in real[0].parameters
    assert 1 / lab[1].parameters["rate_hz"] == SETPOINT_PERIOD_S


def test_arm_policy_and_recorder_are_told_which_robot_it_is(tmp_path):
    """A bag of an FR3 that says panda would teach a policy that the FR3 then refuses."""
    (tmp_path / "manifest.json").write_text("{}")
    deployment = Deployment(bundle=str(tmp_path), serials=("1", "2"), robot="fr3")
    parameters = {process.name: process.parameters for process in graph("autonomous", deployment)}
    assert {parameters[name]["robot"] for name in ("arm", "policy", "recorder")} == {"fr3"}


@pytest.mark.parametrize(
    ("scenario", "deployment", "sentence"),
    [
        ("dance", Deployment(), "no scenario named 'dance'; known scenarios: teleop, autonomous"),
        ("autonomous", Deployment(lab=True), "autonomous needs a policy; give --bundle DIR"),
        ("autonomous", Deployment(lab=True, bundle="/nowhere"), "/nowhere is no bundle: it has no manifest"),
        ("teleop", Deployment(serials=("1", "2")), "the scripted teleop device only drives the lab"),
        ("teleop", Deployment(device="gello", serials=("1",)), "1 camera serials given for 2 cameras"),
        (
            "teleop",
            Deployment(device="gello", cameras="his"),
            "cameras 'his' are not known; known: ours, others",
        ),
        (
            "teleop",
            Deployment(lab=True, device="mouse"),
            "no teleop device named 'mouse'; known devices: scr",
        ),
        ("teleop", Deployment(lab=True, device="gello"), "needs its serial port; give --leader-port /dev"),
        ("teleop", Deployment(lab=True, port=70000), "port 70000 is not between 0 and 65535"),
        ("teleop", Deployment(lab=True, console=True, host="192.0.2.1"), "on 192.0.2.1 needs a token of 12"),
    ],
)
def test_a_choice_that_cannot_work_is_refused_with_the_remedy(scenario, deployment, sentence):
    with pytest.raises(ComoError, match=sentence):
        graph(scenario, deployment)


@pytest.mark.parametrize(
    ("deployment", "episodes", "seed", "sentence"),
    [
        (Deployment(lab=True), -3, 0, "--episodes must be at least 1, or 0 to stay up, got -3"),
        (Deployment(lab=True, task="juggle"), 0, 0, "no task named 'juggle'; known tasks: close_drawer"),
        (Deployment(lab=True), 2, -1, "seed -1 is not between"),
        (Deployment(lab=True, spread="wide"), 2, 0, "no range 'wide'; known ranges: training, held_out"),
        (Deployment(device="gamepad", serials=("1", "2")), 2, 0, "counted episodes need the lab"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_made(
    deployment, episodes, seed, sentence, tmp_path
):
    """Each was said only once the whole graph was up, or not at all: -3 episodes ended with success."""
    with pytest.raises(ComoError, match=sentence):
        up("teleop", replace(deployment, out=str(tmp_path / "out")), episodes, seed)
    assert not (tmp_path / "out").exists()


def test_a_robots_side_without_the_labs_extra_brings_a_graph_up_and_replays():
    program = "import sys, como_ros.up, como_ros.episodes, como_ros.replay; sys.exit('mujoco' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_who_records_where_nothing_may_be_learned_is_told():
    told = require_run("teleop", Deployment(lab=True), 10, 9995)
    assert "seeds from 10000 on are for evaluation only" in told
    assert require_run("teleop", Deployment(lab=True), 5, 9995) == ""
    assert require_run("autonomous", Deployment(lab=True), 5, 20000) == ""


def test_text_parameters_that_look_like_numbers_stay_text():
    command = Process("camera", "como_ros.nodes.camera", {"serials": ["0815"], "rate_hz": 30}).command
    assert command[-3:] == ['serials:=["0815"]', "-p", "rate_hz:=30"]


def test_a_lab_stays_on_this_machine_whatever_the_shell_exports(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    assert environment(Deployment(lab=True))["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in environment(Deployment())

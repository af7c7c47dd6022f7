"""The launch files and `como up` start the same processes: both only read como_ros/graphs.py."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ros_probe import wait_until

from como_ros.errors import ComoError
from como_ros.graphs import Deployment, graph
from como_ros.leash import leashed

pytest.importorskip("launch.actions", reason="ros2/launch is not on PyPI; source a ROS 2 distribution")
import launch

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    return str(tmp_path)


def description(name: str):
    spec = importlib.util.spec_from_file_location(name, LAUNCH / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def visited(name: str, *others: str, **arguments: str):
    """The process actions that `ros2 launch` would execute, with their environment."""
    context = launch.LaunchContext(argv=[*others, *(f"{key}:={value}" for key, value in arguments.items())])
    context.launch_configurations.update(arguments)
    actions = []
    for entity in description(name).entities:
        actions += entity.visit(context) or []
    return [a for a in actions if isinstance(a, launch.actions.ExecuteProcess)], context


def command(action, context) -> list[str]:
    return [launch.utilities.perform_substitutions(context, part) for part in action.cmd]


@pytest.mark.parametrize(
    ("scenario", "lab"), [("teleop", "true"), ("autonomous", "true"), ("autonomous", "false")]
)
def test_launch_starts_the_processes_that_como_up_starts(scenario, lab, bundle):
    arguments = {"lab": lab, "serials": "123,456", "out": "/tmp/somewhere", "console": "true"}
    arguments |= {"bundle": bundle} if scenario == "autonomous" else {}
    arguments |= {"device": "scripted"} if lab == "true" else {}
    actions, context = visited(scenario, **arguments)
    deployment = Deployment.parse(arguments)
    assert [command(a, context) for a in actions] == [leashed(p.command) for p in graph(scenario, deployment)]


def test_defaults_suffice_for_teleop_in_the_lab():
    actions, context = visited("teleop", lab="true")
    bare = len(leashed([sys.executable, "-m"]))
    modules = [command(a, context)[bare].rpartition(".")[2] for a in actions]
    assert modules == ["fci", "arm", "camera", "supervisor", "teleop", "sweeper", "recorder", "console"]


def test_a_node_that_dies_is_started_again_three_times_a_minute_and_the_lab_is_not():
    from como_ros.nodes.launching import MENDABLE, _after_exit
    from como_ros.restarts import Restarts

    lab, arm = graph("teleop", Deployment(lab=True))[:2]
    restarts = Restarts()
    for _ in range(3):
        _after_exit(arm, -9, restarts)
    with pytest.raises(ComoError, match="arm ended although it was started again 3 times"):
        _after_exit(arm, -9, restarts)
    for process, code in ((lab, -9), (arm, MENDABLE)):
        with pytest.raises(ComoError, match=f"{process.name} ended with code {code}"):
            _after_exit(process, code, Restarts())


def test_a_missing_bundle_is_refused_before_anything_starts():
    with pytest.raises(ComoError, match="autonomous needs a policy; give --bundle DIR"):
        visited("autonomous", lab="true")


@pytest.mark.parametrize("given", ["labb:=true", "robot_hots:=10.0.0.2", "serial:=1,2"])
def test_a_misspelt_argument_is_refused_and_told_apart_from_one_of_another_launch_file(given):
    """launch takes any without a word, and the default holds."""
    with pytest.raises(ComoError, match=f"no launch argument '{given.partition(':=')[0]}', did you mean"):
        visited("teleop", given, lab="true")
    assert visited("teleop", "world:=kitchen", lab="true")[0]


SERVICE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [tuple(text.split(":=")) for text in sys.argv[2:]]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


def test_launch_brings_the_real_graph_up_and_takes_it_down(probe, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    health = probe.listen("/diagnostics")
    path = LAUNCH / "teleop.launch.py"
    command = [sys.executable, "-c", SERVICE, str(path), "lab:=true", f"out:={tmp_path / 'episodes'}"]
    service = subprocess.Popen(command, start_new_session=True)
    try:
        wanted = {"arm", "camera", "supervisor", "teleop", "recorder", "console"}
        wait_until(lambda: well(health) >= wanted, "every node to be well", timeout_s=240)
        children = [
            int(pid) for pid in Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        ]
        assert len(children) == 8
        service.send_signal(signal.SIGINT)
        service.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def well(health) -> set[str]:
    """Names of the nodes whose newest word is that all is well."""
    newest = {status.name: status.level for _, message in health for status in message.status}
    return {name for name, level in newest.items() if level == b"\x00"}

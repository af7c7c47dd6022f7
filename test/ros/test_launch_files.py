"""The launch files and `como up` start the same processes: both only read como_ros/graphs.py."""

import asyncio
import importlib.util
import json
from pathlib import Path

import pytest

from como_ros.errors import ComoError
from como_ros.graphs import Deployment, graph

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


def visited(name: str, **arguments: str):
    """The process actions that `ros2 launch` would execute, with their environment."""
    context = launch.LaunchContext(argv=[f"{key}:={value}" for key, value in arguments.items()])
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
    arguments = {"lab": lab, "serials": "123,456", "out": "/tmp/somewhere"}
    arguments |= {"bundle": bundle} if scenario == "autonomous" else {"device": "scripted"}
    actions, context = visited(scenario, **arguments)
    deployment = Deployment.parse(arguments)
    assert [command(a, context) for a in actions] == [p.command for p in graph(scenario, deployment)]


def test_defaults_suffice_for_teleop_in_the_lab():
    actions, context = visited("teleop", lab="true")
    modules = [command(a, context)[2].rpartition(".")[2] for a in actions]
    assert modules == ["fci", "arm", "camera", "supervisor", "teleop", "recorder"]


def test_a_missing_bundle_is_refused_before_anything_starts():
    with pytest.raises(ComoError, match="autonomous needs a policy; give bundle:=DIR"):
        visited("autonomous", lab="true")


def test_the_launch_service_shuts_down_when_a_process_ends(own_domain, tmp_path, monkeypatch):
    """A wrong recorder folder ends the recorder; launch must take the rest with it."""
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    blocked = tmp_path / "file"
    blocked.write_text("")
    loop = asyncio.new_event_loop()
    service = launch.LaunchService(noninteractive=True)
    arguments = launch.LaunchDescription(
        [
            launch.actions.SetLaunchConfiguration("lab", "true"),
            launch.actions.SetLaunchConfiguration("out", str(blocked / "below")),
        ]
    )
    service.include_launch_description(arguments)
    service.include_launch_description(description("teleop"))
    asyncio.set_event_loop(loop)
    loop.run_until_complete(asyncio.wait_for(service.run_async(), timeout=120))
    assert service.context.is_shutdown or service.idle

"""What `ros2 launch` needs to start a scenario; the launch files only name it. Needs a ROS 2 distribution."""

from __future__ import annotations

from dataclasses import fields

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration

from como_ros.graphs import Deployment, environment, graph

ABOUT = {
    "lab": "true runs against the simulated lab",
    "task": "task of the lab",
    "spread": "training or held_out: what the lab draws its layouts from",
    "bundle": "folder of the compiled policy",
    "device": "teleop device; beside a policy, a person can take over with it",
    "out": "folder that takes the episodes",
    "robot_host": "address of the robot's controller",
    "robot": "panda or fr3: whose limits hold",
    "serials": "camera serials FRONT,WRIST",
}
NOT_FOR: dict[str, tuple[str, ...]] = {"teleop": ("bundle",), "autonomous": ()}


def describe(scenario: str) -> LaunchDescription:
    """The scenario's processes, with the deployment's choices as arguments."""
    names = [field.name for field in fields(Deployment) if field.name not in NOT_FOR[scenario]]
    declared = [
        DeclareLaunchArgument(name, default_value=_text(getattr(Deployment, name)), description=ABOUT[name])
        for name in names
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_processes, args=[scenario, names])])


def _processes(context: LaunchContext, scenario: str, names: list[str]) -> list[ExecuteProcess]:
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    deployment = Deployment.parse(given)
    return [
        ExecuteProcess(
            cmd=process.command,
            name=process.name,
            additional_env=environment(deployment),
            output="both",
            on_exit=Shutdown(reason=f"{process.name} ended"),
        )
        for process in graph(scenario, deployment)
    ]


def _text(value: object) -> str:
    """A default as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)

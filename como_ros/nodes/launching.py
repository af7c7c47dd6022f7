"""What `ros2 launch` needs to start a scenario; the launch files only name it. Needs a ROS 2 distribution."""

from __future__ import annotations

import time
from dataclasses import fields
from difflib import get_close_matches

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration

from como_ros.drivers.teleop import IN_CONSOLE, ON_THEIR_OWN
from como_ros.errors import ComoError
from como_ros.graphs import Deployment, Process, environment, graph
from como_ros.leash import leashed
from como_ros.restarts import MOST, Restarts

ABOUT = {
    "lab": "true or false: whether to run against the simulated lab",
    "task": "task of the lab: pick_place, open_drawer, close_drawer or insert_bread",
    "spread": "training or held_out: what the lab draws its layouts from",
    "bundle": "folder of the compiled policy; must be given",
    "device": f"teleop device: {', '.join((*ON_THEIR_OWN, *IN_CONSOLE))}; empty is scripted in the lab; "
    "beside a policy, a person can take over with it",
    "out": "folder that takes the episodes",
    "robot_host": "address of the robot's controller",
    "robot": "panda or fr3: whose limits hold",
    "serials": "camera serials FRONT,WRIST; must be given unless in the lab or with cameras:=others",
    "cameras": "ours, or others: their driver runs already and publishes under the same names",
    "compressed": "true or false: whether to record colour pictures as JPEG",
    "console": "true or false: whether to serve the operator's page",
    "host": "address of the page; beyond this machine it needs a token in COMO_CONSOLE_TOKEN",
    "port": "port of the page",
    "leader_port": "serial port of a leader arm",
    "leader_calibration": "file of its calibration",
}
RESPAWN_DELAY_S = 0.5
MENDABLE = 2
"""Exit code of a node that cannot work as it was configured; its last words say what to mend."""
NOT_FOR: dict[str, tuple[str, ...]] = {"teleop": ("bundle",), "autonomous": ()}


def describe(scenario: str) -> LaunchDescription:
    """The scenario's processes, with the deployment's choices as arguments."""
    names = [field.name for field in fields(Deployment) if field.name not in NOT_FOR[scenario]]
    declared = [
        DeclareLaunchArgument(name, default_value=_default(name), description=ABOUT[name]) for name in names
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_processes, args=[scenario, names])])


def _processes(context: LaunchContext, scenario: str, names: list[str]) -> list[ExecuteProcess]:
    _require_known([text.partition(":=")[0] for text in context.argv if ":=" in text], names)
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    deployment, restarts = Deployment.parse(given), Restarts()
    return [
        ExecuteProcess(
            cmd=leashed(process.command),
            name=process.name,
            additional_env=environment(deployment),
            output="both",
            respawn=process.may_begin_again,
            respawn_delay=RESPAWN_DELAY_S,
            on_exit=lambda event, context, process=process: (
                None if context.is_shutdown else _after_exit(process, event.returncode, restarts)
            ),
        )
        for process in graph(scenario, deployment)
    ]


def _require_known(given: list[str], names: list[str]) -> None:
    """What looks like an argument of ours and is none: launch itself takes it without a word.

    Others are let through: they may belong to a launch file that includes this one.
    """
    for name in given:
        if name not in names and (meant := get_close_matches(name, names, 1, cutoff=0.8)):
            raise ComoError(
                f"no launch argument {name!r}, did you mean {meant[0]!r}? known: {', '.join(names)}"
            )


def _after_exit(process: Process, code: int, restarts: Restarts) -> None:
    """A node is started again, except where it told the user what to mend or ends over and over.

    What is raised ends the launch and is its exit code, which an action to shut down would leave at 0.
    """
    if not process.may_begin_again or code == MENDABLE:
        raise ComoError(f"{process.name} ended with code {code}; its last words are above")
    if not restarts.allow(process.name, time.monotonic()):
        raise ComoError(f"{process.name} ended although it was started again {MOST} times")


def _default(name: str) -> str:
    """Who launches by hand wants to see the page; programs leave it out."""
    return "true" if name == "console" else _text(getattr(Deployment, name))


def _text(value: object) -> str:
    """A default as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Which processes make a scenario, as plain data: the one truth that the launch files and `como up` read."""

from __future__ import annotations

import getpass
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from como_ros.console.gate import TOKEN_VARIABLE, check_token
from como_ros.control.limits import get_limits
from como_ros.drivers.teleop import IN_CONSOLE, ON_THEIR_OWN
from como_ros.drivers.teleop_leader import NO_PORT
from como_ros.errors import ComoError
from policies.spaces import CAMERAS, Contract

SCENARIOS = ("teleop", "autonomous")
LAB_HOST = "127.0.0.1"
LAB_ARM_HZ = 100.0
"""Half the arm node's own: its cores also carry the world, and fast mode sends set-points at this rate."""
OURS, OTHERS = "ours", "others"
LAST_PORT = 65535
LAB, SWEEPER = "como_ros.lab.fci", "como_ros.sweeper"
SILENT = "silent"
"""What is known of a node that has said nothing since it was started."""


@dataclass(frozen=True)
class Deployment:
    """The choices that differ from one station, task or run to the next."""

    lab: bool = False
    """Run against the simulated lab instead of a robot."""
    task: str = "pick_place"
    spread: str = "training"
    """What the lab draws its layouts from: training or held_out."""
    bundle: str = ""
    """Folder of the compiled policy, for `autonomous`."""
    out: str = "out/episodes"
    """Where the recorder writes episodes."""
    robot_host: str = "172.16.0.2"
    robot: str = "panda"
    """Whose limits hold: panda or fr3."""
    device: str = ""
    """Teleop device; without one a lab is driven by the scripted operator, and nobody can take over from a
    policy."""
    serials: tuple[str, ...] = ()
    """Serial numbers of the cameras, in the order front, wrist."""
    cameras: str = OURS
    """Whose driver publishes pictures: ours, or others that run already, under the same names."""
    compressed: bool = False
    """Whether colour pictures are recorded as JPEG."""
    console: bool = False
    """Whether the operator's page is served; a device that is held in the browser brings it along."""
    host: str = "127.0.0.1"
    """Where the page is served; elsewhere than on loopback it needs a token in COMO_CONSOLE_TOKEN."""
    port: int = 8080
    leader_port: str = ""
    """Serial port of a leader arm."""
    leader_calibration: str = "gello.json"

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Deployment:
        """From launch arguments, which are all text."""
        given: dict[str, Any] = dict(texts)
        for name in ("lab", "compressed", "console"):
            text = texts.get(name, "false").lower()
            if text not in ("true", "false"):
                raise ComoError(f"{name}:={text} is neither true nor false")
            given[name] = text == "true"
        port = texts.get("port", str(cls.port))
        if not port.isdecimal():
            raise ComoError(f"port:={port} is no number")
        given["port"] = int(port)
        given["serials"] = tuple(filter(None, texts.get("serials", "").split(",")))
        return cls(**given)

    @property
    def lab_name(self) -> str:
        """Of the lab's shared world state; the arm's fixed ports allow one lab a machine."""
        return f"como_lab_{getpass.getuser()}"

    @property
    def lab_control(self) -> str:
        return str(Path(tempfile.gettempdir()) / f"{self.lab_name}.sock")


@dataclass(frozen=True)
class Process:
    """One process of the graph: a module run by this interpreter."""

    name: str
    module: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """ROS parameters of a node."""
    arguments: tuple[str, ...] = ()
    """Command line of a module that is no node."""

    @property
    def is_node(self) -> bool:
        return self.module.startswith("como_ros.nodes.")

    @property
    def may_begin_again(self) -> bool:
        """Whether the graph outlives its end; a lab's world ends with it."""
        return self.module != LAB

    @property
    def command(self) -> list[str]:
        command = [sys.executable, "-m", self.module, *self.arguments]
        if self.is_node and self.parameters:
            command.append("--ros-args")
            for name, value in self.parameters.items():
                command += ["-p", f"{name}:={json.dumps(value)}"]
        return command


def graph(scenario: str, deployment: Deployment) -> tuple[Process, ...]:
    """The processes of `teleop` or `autonomous`, the lab's robot first."""
    if scenario not in SCENARIOS:
        raise ComoError(f"no scenario named {scenario!r}; known scenarios: {', '.join(SCENARIOS)}")
    get_limits(deployment.robot)
    _require_choices(deployment)
    lab = (_lab(deployment),) if deployment.lab else ()
    station = (_arm(deployment), *_camera(deployment), _node("supervisor"))
    drivers = _drivers(scenario, deployment)
    data = (_recorder(deployment), *_console(scenario, deployment))
    return (*lab, *station, *drivers, Process("sweeper", SWEEPER), *data)


def _require_choices(deployment: Deployment) -> None:
    """What a process would only say once the others are up."""
    devices = (*ON_THEIR_OWN, *IN_CONSOLE)
    if deployment.device not in ("", *devices):
        raise ComoError(f"no teleop device named {deployment.device!r}; known devices: {', '.join(devices)}")
    if not 0 <= deployment.port <= LAST_PORT:
        raise ComoError(f"port {deployment.port} is not between 0 and {LAST_PORT}; 0 takes any that is free")


def _drivers(scenario: str, deployment: Deployment) -> tuple[Process, ...]:
    """Whoever may move the arm; beside a policy a person can take over where there is a device."""
    device = deployment.device or ("scripted" if scenario == "teleop" else "")
    person = (_teleop(deployment, device),) if device and device not in IN_CONSOLE else ()
    return person if scenario == "teleop" else (_policy(deployment), *person)


def _console(scenario: str, deployment: Deployment) -> tuple[Process, ...]:
    """The operator's page; beside a policy it lets a person take over, unless another device does."""
    device = deployment.device or ("gizmo" if scenario == "autonomous" else "")
    driven = device if device in IN_CONSOLE else ""
    if not deployment.console and deployment.device not in IN_CONSOLE:
        return ()
    if driven == "gello" and not deployment.leader_port:
        raise ComoError(NO_PORT)
    check_token(deployment.host, os.environ.get(TOKEN_VARIABLE, ""))
    leader = {"leader_port": deployment.leader_port, "leader_calibration": deployment.leader_calibration}
    given = {"host": deployment.host, "port": deployment.port, "out": deployment.out, "device": driven}
    return (_node("console", **given, **(leader if driven == "gello" else {})),)


def environment(deployment: Deployment) -> dict[str, str]:
    """Variables of the processes: the user's, else our choice; a lab stays on this machine, always."""
    ours = {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", "PYTHONUNBUFFERED": "1"}
    chosen = {name: os.environ.get(name, value) for name, value in ours.items()}
    return chosen | ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"} if deployment.lab else {})


def _node(name: str, **parameters: Any) -> Process:
    given = {key: value for key, value in parameters.items() if value not in ("", (), [])}
    return Process(name, f"como_ros.nodes.{name}", given)


def _lab(deployment: Deployment) -> Process:
    arguments = (
        "--control",
        deployment.lab_control,
        "--state",
        deployment.lab_name,
        "--task",
        deployment.task,
        "--robot",
        deployment.robot,
        "--spread",
        deployment.spread,
    )
    return Process("lab", LAB, arguments=arguments)


def _arm(deployment: Deployment) -> Process:
    if deployment.lab:
        return _node("arm", host=LAB_HOST, robot=deployment.robot, realtime=False, rate_hz=LAB_ARM_HZ)
    return _node("arm", host=deployment.robot_host, robot=deployment.robot, realtime=True)


def _camera(deployment: Deployment) -> tuple[Process, ...]:
    if deployment.cameras not in (OURS, OTHERS):
        raise ComoError(f"cameras {deployment.cameras!r} are not known; known: {OURS}, {OTHERS}")
    if deployment.cameras == OTHERS:
        return ()
    if deployment.lab:
        return (_node("camera", lab_state=deployment.lab_name, task=deployment.task),)
    if len(deployment.serials) != len(CAMERAS):
        raise ComoError(
            f"{len(deployment.serials)} camera serials given for {len(CAMERAS)} cameras {list(CAMERAS)}; "
            "give --serials FRONT WRIST, or --cameras others if their driver runs already "
            "(ros2 launch: serials:=FRONT,WRIST, cameras:=others)"
        )
    size = list(Contract().image_hw)
    chosen = {"serials": list(deployment.serials), "rate_hz": 30, "width": 640, "height": 480}
    return (_node("camera", **chosen, image_hw=size),)


def _policy(deployment: Deployment) -> Process:
    if not deployment.bundle:
        raise ComoError(
            "autonomous needs a policy; give --bundle DIR, like bundles/lab (ros2 launch: bundle:=DIR)"
        )
    if not (Path(deployment.bundle) / "manifest.json").is_file():
        raise ComoError(
            f"{deployment.bundle} is no bundle: it has no manifest.json; make one with `como export`"
        )
    return _node("policy", bundle=deployment.bundle, robot=deployment.robot)


def _teleop(deployment: Deployment, device: str) -> Process:
    if device == "scripted" and not deployment.lab:
        raise ComoError("the scripted teleop device only drives the lab; give lab:=true or another device")
    return _node("teleop", device=device, control=deployment.lab_control if deployment.lab else "")


def _recorder(deployment: Deployment) -> Process:
    lab = {"spread": deployment.spread, "lab_control": deployment.lab_control} if deployment.lab else {}
    given = {"out": deployment.out, "task": deployment.task, "robot": deployment.robot, **lab}
    return _node("recorder", **given, **({"compressed": True} if deployment.compressed else {}))

"""Who may import whom: the arrows of the house, lazy imports included, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("calibration", "como_ros", "policies", "training")
ROS = (
    "rclpy",
    "rcl_interfaces",
    "builtin_interfaces",
    "std_srvs",
    "rosidl_runtime_py",
    "launch",
    "launch_ros",
)


@dataclass(frozen=True)
class Layer:
    """What the modules of one layer may import of ours, and which of the restricted outside packages."""

    may: tuple[str, ...]
    never: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


OFF_THE_ROBOT = ("policies.nets", "policies.export")
LAYERS = {
    "policies": Layer(("policies",), OFF_THE_ROBOT),
    "policies.nets": Layer(("policies",), ("policies.export",), ("torch",)),
    "policies.export": Layer(("policies",), (), ("torch",)),
    "calibration": Layer(("calibration",)),
    "training": Layer(
        ("training", "policies", "como_ros.wire", "como_ros.bags", "como_ros.errors", "como_ros.runs"),
        (),
        ("torch",),
    ),
    "como_ros": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.nodes", "como_ros.cli")),
    "como_ros.nodes": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli"), ("ros",)),
    # starts the nodes, then talks to them through one of its own
    "como_ros.up": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.demo": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_agreement": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_recorder": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_camera": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_recorder_kills": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.replay": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_lab": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_kills": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_station": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.bench_servo": Layer(("como_ros", "policies"), (*OFF_THE_ROBOT, "como_ros.cli")),
    "como_ros.cli": Layer(OURS),
    "como_ros.cli_learning": Layer(OURS),
    "como_ros.cli_bags": Layer(OURS),
    "como_ros.cli_bench": Layer(OURS),
}
# inside como_ros imports go downwards only
HEIGHTS = {
    "como_ros": 1,
    "como_ros.errors": 0,
    "como_ros.control": 2,
    "como_ros.bench_pace": 4,
    "como_ros.drivers": 3,
    "como_ros.recording": 3,
    "como_ros.sentry": 4,
    "como_ros.lab": 4,
    "como_ros.console": 5,
    "como_ros.graphs": 5,
    "como_ros.episodes": 5,
    "como_ros.nodes": 6,
    "como_ros.up": 7,
    "como_ros.demo": 8,
    "como_ros.bench_agreement": 8,
    "como_ros.bench_recorder": 8,
    "como_ros.bench_camera": 8,
    "como_ros.bench_recorder_kills": 8,
    "como_ros.replay": 8,
    "como_ros.bench_lab": 8,
    "como_ros.bench_kills": 8,
    "como_ros.bench_station": 8,
    "como_ros.bench_servo": 8,
    "como_ros.cli_learning": 8,
    "como_ros.cli_bags": 8,
    "como_ros.cli_bench": 8,
    "como_ros.cli": 9,
}


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def nearest(module: str, table: dict) -> object:
    """The entry of the longest name in `table` that contains `module`."""
    return table[max((name for name in table if inside(module, name)), key=len)]


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """Every name that `source` imports anywhere, as `package.module` or `package.module.name`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{stem}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                found.add(str(node.args[0].value))
    return found


def restricted_group(name: str) -> str | None:
    """ "ros" or "torch" for the outside packages that only some layers may import."""
    top = name.partition(".")[0]
    if top in ROS or top.endswith(("_msgs", "_srvs")):
        return "ros"
    return "torch" if top in ("torch", "torchvision") else None


def faults(module: str, source: str, is_package: bool = False) -> list[str]:
    """Every import of `source` that the layers forbid, as sentences."""
    layer = nearest(module, LAYERS)
    found = []
    for name in sorted(imports_of(source, module, is_package)):
        group = restricted_group(name)
        ours = name.partition(".")[0] in OURS
        if group and group not in layer.outside:
            found.append(f"{module} imports {name}: {group} is not for this layer")
        if ours and not any(inside(name, package) for package in layer.may):
            found.append(f"{module} imports {name}: this layer may import {', '.join(layer.may)}")
        if ours and any(inside(name, package) for package in layer.never):
            found.append(f"{module} imports {name}: this layer never imports it")
        within = inside(module, "como_ros") and inside(name, "como_ros")
        if within and nearest(name, HEIGHTS) > nearest(module, HEIGHTS):
            found.append(f"{module} imports {name}: imports go downwards")
    return found


def modules() -> list[Path]:
    return [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_module_keeps_to_its_layer():
    assert len(modules()) > 20
    found = [
        fault
        for path in modules()
        for fault in faults(module_name(path), path.read_text(), path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("training.episodes", "import rclpy"),
        ("training.episodes", "from como_ros.lab.fast import FastLab"),
        ("training.episodes", "from como_ros import lab"),
        ("policies.timeline", "def late():\n    import rclpy.node"),
        ("policies.timeline", "def late():\n    from sensor_msgs.msg import Image"),
        ("policies.timeline", "from como_ros import wire"),
        ("policies.runtime", "def late():\n    import torch"),
        ("policies.runtime", "from policies import nets"),
        ("policies.runtime", "from .nets import expert"),
        ("policies.runtime", "import importlib\nimportlib.import_module('policies.nets.expert')"),
        ("policies.nets.expert", "from como_ros.errors import ComoError"),
        ("calibration.hand_eye", "from policies.spaces import Contract"),
        ("como_ros.bags", "from rclpy.serialization import deserialize_message"),
        ("como_ros.bags", "from como_ros.lab import scene"),
        ("como_ros.control.shield", "from como_ros.drivers import franka"),
        ("como_ros.lab.demos", "class A:\n    def late(self):\n        import training.metrics"),
        ("como_ros.lab.demos", "from como_ros.nodes import wiring"),
        ("como_ros.nodes.policy", "from policies.nets.expert import Expert"),
        ("como_ros.nodes.policy", "from como_ros.cli import main"),
        ("como_ros.nodes.policy", "import torch"),
    ],
)
def test_a_forbidden_import_is_found(module, source):
    assert faults(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "training.episodes",
            "import torch\nfrom como_ros import bags, wire\nfrom policies.nets import expert",
        ),
        ("policies.export", "import torch\nfrom policies.nets.expert import Expert"),
        ("policies.nets.expert", "import torch\nfrom policies.spaces import ACTION_DIM"),
        ("como_ros.lab.evaluate", "from como_ros.control import interpolation\nfrom policies import runtime"),
        ("como_ros.nodes.camera", "import rclpy\ndef late():\n    from como_ros.lab.feed import Feed"),
        ("como_ros.cli", "def late():\n    from training.label import label\n    import como_ros.nodes.demo"),
    ],
)
def test_an_allowed_import_is_let_through(module, source):
    assert faults(module, source) == []


def test_the_policy_on_the_robot_loads_no_torch():
    """What the policy node imports, ROS aside; its own module is held to it in test/ros."""
    program = (
        "import sys, policies.chunks, policies.runtime, policies.timeline, como_ros.wire\n"
        "found = sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'onnx', 'training'})\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr

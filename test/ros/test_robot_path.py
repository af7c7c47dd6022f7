"""The robot's side runs where PyTorch is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODES = sorted(path.stem for path in (ROOT / "como_ros" / "nodes").glob("[a-z]*.py"))


@pytest.mark.parametrize("node", NODES)
def test_a_node_imports_neither_torch_nor_training(node):
    if node == "launching":
        pytest.importorskip(
            "launch.actions", reason="ros2/launch is not on PyPI; source a ROS 2 distribution"
        )
    program = (
        f"import sys, como_ros.nodes.{node}\n"
        "found = sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'onnx', 'training'})\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr

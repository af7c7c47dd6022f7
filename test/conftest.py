"""For tests that need ROS: a domain of their own on this machine, a probe on the wire, real processes."""

import itertools
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is first imported, which a test may do before us
sys.path.insert(0, str(Path(__file__).parent))  # makes ros_probe importable

_count = itertools.count()


@pytest.fixture
def own_domain(monkeypatch):
    """A ROS domain no other test uses."""
    pytest.importorskip("rclpy")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + (os.getpid() + next(_count)) % 100))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")


@pytest.fixture
def probe(own_domain):
    from ros_probe import Probe

    probe = Probe()
    yield probe
    probe.close()


@pytest.fixture
def processes(own_domain):
    from ros_probe import Processes

    processes = Processes()
    yield processes
    processes.end()

"""For tests that need ROS: a domain of their own on this machine, a probe on the wire, real processes."""

import itertools
import os
import sys
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is first imported, which a test may do before us
sys.path.insert(0, str(Path(__file__).parent))  # makes ros_probe importable

from reactions import ROWS, Reactions
from ros_domain import domain

hypothesis.settings.register_profile("patient", deadline=None)  # a stalled machine is not a failure
hypothesis.settings.load_profile("patient")

_count = itertools.count(os.getpid())
_reactions = Reactions()


def pytest_addoption(parser):
    parser.addoption("--safety", metavar="FILE", type=Path, help="write the page of measured reactions there")


def pytest_sessionfinish(session, exitstatus):
    """Only a run that was green and showed every row may write the page."""
    page = session.config.getoption("--safety")
    if page is None:
        return
    missing = ROWS.keys() - _reactions.seconds.keys()
    if exitstatus or missing:
        sys.exit(f"{page} is not written: exit status {exitstatus}, rows not shown: {sorted(missing)}")
    page.write_text(_reactions.page())


@pytest.fixture
def reaction():
    """Say how long an answer took; see docs/safety.md."""
    return _reactions


@pytest.fixture
def own_domain(monkeypatch):
    """A ROS domain no other test uses, of this run or another."""
    pytest.importorskip("rclpy")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    with domain(next(_count)) as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        yield


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

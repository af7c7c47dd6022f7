"""For tests that need ROS: a domain of their own on this machine, a probe on the wire, real processes."""

import itertools
import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is first imported, which a test may do before us
sys.path.insert(0, str(Path(__file__).parent))  # makes ros_probe importable

from reactions import ROWS, Reactions
from ros_domain import domain

from como_ros.drivers.priority import run_like_others

hypothesis.settings.register_profile("patient", deadline=None)  # a stalled machine is not a failure
hypothesis.settings.load_profile("patient")

_count = itertools.count(os.getpid())
_reactions = Reactions()
_ended: list[int] = []
"""The exit status, once it is known."""


def pytest_addoption(parser):
    parser.addoption("--safety", metavar="FILE", type=Path, help="write the page of measured reactions there")


def pytest_collection_modifyitems(config, items):
    """A test that judges a machine's time may fail for the machine's sake: once more, and that is said.

    Whatever fails twice has failed. The run that writes the page of reactions gets no second try.
    """
    _reactions.strict = config.getoption("--safety") is not None
    if _reactions.strict:
        return
    for item in items:
        if item.path.parent.name in ("lab", "ros"):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))


def pytest_sessionfinish(session, exitstatus):
    """Only a run that was green and showed every row may write the page."""
    _ended.append(int(exitstatus))
    page = session.config.getoption("--safety")
    if page is None:
        return
    missing = ROWS.keys() - _reactions.seconds.keys()
    if exitstatus or missing:
        sys.stderr.write(f"{page} is not written: status {exitstatus}, rows not shown: {sorted(missing)}\n")
        _ended[0] = _ended[0] or 1
    else:
        page.write_text(_reactions.page())


def pytest_unconfigure(config):
    """Everything has been told. What native libraries do while Python takes itself apart is not tested here.

    With the arm's client, the camera library and a graphics context in one process it ended, now and then,
    with a segmentation fault after the last line.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if _ended:
        os._exit(_ended[0])


@pytest.fixture(autouse=True)
def like_others():
    """libfranka puts the thread that connects an arm, and all it starts later, before everything else.

    A browser started so spun for minutes, and the whole machine stood still.
    """
    run_like_others()
    yield
    run_like_others()


@pytest.fixture
def reaction():
    """Say how long an answer took; see docs/safety.md."""
    return _reactions


@pytest.fixture
def guest():
    """Clients that leave the lab however a test ends; one forgotten would keep others out."""
    with ExitStack() as clients:
        yield lambda client: clients.enter_context(closing(client))


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

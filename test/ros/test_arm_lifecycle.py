"""The arm node's lifecycle where there is no robot."""

import pytest
from ros_probe import wait_until


@pytest.fixture
def said(probe):
    """What the arm node has said of itself so far."""
    health = probe.listen("/diagnostics")
    return lambda: [s.message for _, m in list(health) for s in m.status if s.name == "arm"]


def heard(said, *words: str) -> None:
    wait_until(lambda: said() and all(word in said()[-1] for word in words), f"the arm to say {words}")


def test_an_arm_that_does_not_answer_is_looked_for_from_configure_to_cleanup(probe, processes, said):
    arm = processes.node("arm", autostart="false")
    heard(said, "the arm node is unconfigured; configure it: ros2 lifecycle set /arm configure")
    success, message = probe.call("/arm/recover")
    assert (success, message) == (False, said()[-1])
    assert probe.change("arm", "configure")
    heard(said, "connecting: no arm answers at 127.0.0.1", "the arm is inactive; activate its node")
    assert probe.change("arm", "activate")
    wait_until(lambda: said()[-1].endswith("FCI activated?"), "the arm to be active")
    assert probe.change("arm", "shutdown")
    heard(said, "the arm node is finalized; start it again")
    assert arm.poll() is None


def test_what_cannot_be_configured_stays_unconfigured_and_says_why(probe, processes, said):
    processes.node("arm", autostart="false", rate_hz="5.0")
    assert not probe.change("arm", "configure")
    assert probe.stage("arm") == "unconfigured"
    heard(said, "the arm node is unconfigured", "the arm's rate_hz must lie in 50 to 1000, got 5.0")


@pytest.mark.parametrize(
    ("parameter", "given", "said"),
    [
        ("rate_hz", "5.0", "the arm's rate_hz must lie in 50 to 1000, got 5.0"),
        ("host", "5", "arm: parameter host is 5, expected a text; give it as -p host:=VALUE"),
    ],
)
def test_a_node_that_brings_itself_up_ends_where_it_cannot_be_configured(processes, parameter, given, said):
    arm = processes.node("arm", **{parameter: given})
    _, errors = arm.communicate(timeout=15)
    assert (arm.returncode, errors.splitlines()[-1]) == (2, said)

"""What a program outside the graph knows of its nodes."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_probe import wait_until

from como_ros.graphs import SILENT
from como_ros.nodes.station import Station


@pytest.fixture
def station(own_domain):
    with Station() as station:
        yield station


def said(text: str, stamp_ns: int) -> DiagnosticArray:
    message = DiagnosticArray(status=[DiagnosticStatus(name="camera", message=text)])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def test_the_last_words_of_a_node_that_ended_are_not_taken_for_its_successors(probe, station):
    """A killed camera once counted as back after 1.5 s, by words that were still under way."""
    speak = probe.speak("/diagnostics")
    wait_until(lambda: speak.get_subscription_count(), "the station")
    before_ns = time.time_ns()
    speak.publish(said("ok", before_ns))
    wait_until(lambda: station.message("camera") == "ok", "the first words")
    station.forget("camera")
    speak.publish(said("late", before_ns))
    speak.publish(said("new", time.time_ns()))
    heard = []
    wait_until(lambda: heard.append(station.message("camera")) or heard[-1] == "new", "the successor's words")
    assert set(heard) <= {SILENT, "new"}

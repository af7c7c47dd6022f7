"""Nodes find each other at once, and forget who was killed, not when Fast DDS gets round to it."""

import threading
import time

from ros_probe import wait_until

from como_ros.nodes.spinning import Spinning
from como_ros.nodes.wiring import subscription

NEWCOMERS = 8
SOON_S = 1.5
"""Half of the 3 s between two words by default, which every second newcomer waited for on a busy machine."""


class Newcomer(Spinning):
    def heard_after_s(self, topic: str) -> float:
        heard, begun_s = threading.Event(), time.monotonic()
        subscription(self._node, topic, lambda message, info: heard.set())
        with self:
            assert heard.wait(10.0), f"never heard {topic}"
        return time.monotonic() - begun_s


def test_a_newcomer_hears_the_supervisor_at_once(probe, processes):
    kept = probe.listen("/supervisor/state")
    processes.node("supervisor")
    wait_until(lambda: kept, "the supervisor")
    waited_s = [Newcomer(f"newcomer_{k}").heard_after_s("/supervisor/state") for k in range(NEWCOMERS)]
    assert sorted(waited_s)[-2] < SOON_S, waited_s  # one may have met a stall


def test_a_killed_node_is_forgotten_within_seconds(probe, processes):
    """By default after 20 s, in which whoever shares memory with it may stand still."""
    node, topic = processes.node("supervisor"), "/supervisor/state"
    wait_until(lambda: probe.node.count_publishers(topic), "the supervisor")
    node.kill()
    wait_until(lambda: not probe.node.count_publishers(topic), "its end", timeout_s=8.0)

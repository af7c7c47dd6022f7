"""Who records or shows wakes seldom, and misses nothing by it."""

import threading
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.task import Future
from ros_probe import wait_until
from std_msgs.msg import String

from como_ros.nodes.lean_executor import LeanExecutor
from como_ros.nodes.pacing import ROUND_S, PacedExecutor
from como_ros.nodes.process import spin
from como_ros.nodes.wiring import Newest


@pytest.fixture
def listener(probe):
    node = Node("listener", context=probe.context)
    yield node
    node.destroy_node()


def tell_all(probe, topics: list[str], period_s: float, times: int) -> None:
    """On each topic so often, one after the other."""
    speakers = [probe.node.create_publisher(String, topic, 10) for topic in topics]
    wait_until(lambda: all(speaker.get_subscription_count() for speaker in speakers), "the listener")
    for turn in range(times):
        for speaker in speakers:
            speaker.publish(String(data=str(turn)))
            time.sleep(period_s / len(topics))


def test_the_newest_message_is_heard_when_asked_for_and_wakes_nobody(probe, listener):
    heard = []
    newest = Newest(listener, "/arm/ee_pose", lambda message: heard.append(message.pose.position.x))
    executor = LeanExecutor(context=probe.context)
    executor.add_node(listener)
    speaker = probe.speak("/arm/ee_pose")
    wait_until(speaker.get_subscription_count, "the listener")
    for i in range(20):
        message = PoseStamped()
        message.pose.position.x = float(i)
        speaker.publish(message)
    begun_s = time.thread_time()
    executor.spin_once(0.3)
    assert (heard, time.thread_time() - begun_s < 0.1) == ([], True)
    newest.hear()
    newest.hear()
    assert heard == [19.0]
    executor.shutdown()


def test_a_paced_executor_does_in_one_round_what_came_since_the_last(probe, listener):
    """Eight topics at 30 Hz, out of step: 240 wakes a second would be rclpy's own way."""
    topics, heard = [f"/paced{i}" for i in range(8)], []
    for topic in topics:
        listener.create_subscription(String, topic, lambda _: heard.append(time.monotonic()), 10)
    executor = PacedExecutor(context=probe.context)
    executor.add_node(listener)
    stopping = Future()
    thread = threading.Thread(target=spin, args=(executor, stopping), daemon=True)
    thread.start()
    tell_all(probe, topics, 1 / 30, 30)
    wait_until(lambda: len(heard) == 30 * len(topics), "every message")
    stopping.set_result(None)
    thread.join()
    rounds = 1 + np.count_nonzero(np.diff(heard) > ROUND_S / 4)
    assert rounds < len(heard) / 2
    assert rounds < 1.2 * (heard[-1] - heard[0]) / ROUND_S + 1

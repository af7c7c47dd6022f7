"""rclpy's messages and those made without ROS read each other's bytes and give the same values."""

import importlib
import time
from functools import partial

import numpy as np
import pytest
from bag_messages import POSE7, START_NS
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from como_ros import wire
from como_ros.nodes.wiring import publisher, subscription
from como_ros.typestore import deserialize, message, serialize
from policies.spaces import ActionChunk

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
DEPTH = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000


def generated(type_name: str, **fields):
    package, _, name = type_name.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), name)(**fields)


def chunk(new):
    return wire.fill_chunk(
        new("trajectory_msgs/msg/MultiDOFJointTrajectory"),
        ActionChunk(START_NS, np.tile(POSE7, (3, 1)), np.zeros(3)),
        lambda: new("trajectory_msgs/msg/MultiDOFJointTrajectoryPoint"),
        lambda: new("geometry_msgs/msg/Transform"),
        lambda **parts: new("builtin_interfaces/msg/Duration", **parts),
    )


def widths(new):
    return wire.fill_widths(
        new("trajectory_msgs/msg/JointTrajectory"),
        [0.08, 0.04],
        START_NS,
        lambda: new("trajectory_msgs/msg/JointTrajectoryPoint"),
        lambda **parts: new("builtin_interfaces/msg/Duration", **parts),
    )


def camera_info(new):
    msg, matrix = new("sensor_msgs/msg/CameraInfo"), np.array([[120.0, 0, 64], [0, 121, 63], [0, 0, 1]])
    return wire.fill_camera_info(msg, matrix, [0.1] * 5, (6, 8), START_NS, "camera")


FILLED = {
    "/front/color/image_raw": lambda new: wire.fill_image(
        new("sensor_msgs/msg/Image"), RGB, START_NS, "camera"
    ),
    "/front/aligned_depth_to_color/image_raw": lambda new: wire.fill_depth(
        new("sensor_msgs/msg/Image"), DEPTH, START_NS, "camera"
    ),
    "/front/color/camera_info": camera_info,
    "/arm/joint_states": lambda new: wire.fill_joint_states(
        new("sensor_msgs/msg/JointState"), np.arange(7.0), np.ones(7), 0.04, START_NS
    ),
    "/arm/ee_pose": lambda new: wire.fill_pose(new("geometry_msgs/msg/PoseStamped"), POSE7, START_NS),
    "/arm/external_wrench": lambda new: wire.fill_wrench(
        new("geometry_msgs/msg/WrenchStamped"), np.arange(6.0), START_NS
    ),
    "/arm/command/chunk": chunk,
    "/gripper/command": widths,
    "/policy/instruction": lambda new: new("std_msgs/msg/String", data="pick up the cube"),
    "/teleop/deadman": lambda new: new("std_msgs/msg/Bool", data=True),
    "/diagnostics": lambda new: new("diagnostic_msgs/msg/DiagnosticArray"),
}


def test_every_type_of_the_wire_is_filled_below():
    assert {wire.topic(name).type for name in FILLED} == {topic.type for topic in wire.TOPICS.values()}


@pytest.mark.parametrize("topic", FILLED)
def test_rclpy_reads_what_was_serialised_without_ros_with_the_same_value(topic):
    offline = FILLED[topic](message)
    ours = wire.decode(topic, deserialize(serialize(offline), wire.topic(topic).type), START_NS)
    live = deserialize_message(serialize(offline), type(FILLED[topic](generated)))
    assert_same(ours, wire.decode(topic, live, START_NS))
    assert_same(ours, wire.decode(topic, FILLED[topic](generated), START_NS))


def test_what_rclpy_sends_is_read_without_ros_and_says_the_same(own_domain):
    """Off the wire: `serialize_message` hands out more bytes than are sent."""
    received = off_the_wire()
    for topic, cdr in received.items():
        assert serialize(deserialize(cdr, wire.topic(topic).type)) == serialize(FILLED[topic](message)), topic


def off_the_wire() -> dict[str, bytes]:
    """Topic -> raw bytes of its message, as the recorder gets them."""
    received: dict[str, bytes] = {}
    context = Context()
    context.init()
    node = Node("wire_messages", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    speakers = {topic: publisher(node, topic) for topic in FILLED}
    for topic in FILLED:
        subscription(node, topic, partial(received.__setitem__, topic), raw=True)
    until = time.monotonic() + 20
    while len(received) < len(FILLED) and time.monotonic() < until:
        for topic in set(FILLED) - set(received):
            speakers[topic].publish(FILLED[topic](generated))
        executor.spin_once(timeout_sec=0.05)
    node.destroy_node()
    context.shutdown()
    assert len(received) == len(FILLED), sorted(set(FILLED) - set(received))
    return received


def assert_same(ours, theirs) -> None:
    assert ours[:2] == theirs[:2]
    assert np.asarray(ours[2]).dtype == np.asarray(theirs[2]).dtype
    np.testing.assert_array_equal(ours[2], theirs[2])


def test_a_busy_listener_misses_no_change_of_state(own_domain):
    """Stop and release in one breath must not look like no stop at all."""
    context = Context()
    context.init()
    speaker, listener = Node("speaker", context=context), Node("listener", context=context)
    heard: list[str] = []
    subscription(listener, "/supervisor/state", lambda message: heard.append(message.data))
    said = publisher(speaker, "/supervisor/state")
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    deadline = time.monotonic() + 10
    while not said.get_subscription_count() and time.monotonic() < deadline:
        time.sleep(0.01)
    for state in ("teleop", "stopped", "ready"):
        said.publish(generated("std_msgs/msg/String", data=state))
    time.sleep(0.3)
    while heard[-1:] != ["ready"] and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    speaker.destroy_node()
    listener.destroy_node()
    context.try_shutdown()
    assert heard == ["teleop", "stopped", "ready"]

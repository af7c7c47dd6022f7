"""Timed commands cross the wire with every due time, or are refused whole."""

import numpy as np
import pytest
from bag_messages import POSE7, START_NS

from como_ros import wire
from como_ros.typestore import deserialize, message, serialize
from policies.spaces import ActionChunk


def new_duration(**parts: int) -> object:
    return message("builtin_interfaces/msg/Duration", **parts)


def new_transform() -> object:
    return message("geometry_msgs/msg/Transform")


def new_pose_point() -> object:
    return message("trajectory_msgs/msg/MultiDOFJointTrajectoryPoint")


def new_width_point() -> object:
    return message("trajectory_msgs/msg/JointTrajectoryPoint")


def chunk_message(chunk: ActionChunk) -> object:
    empty = message("trajectory_msgs/msg/MultiDOFJointTrajectory")
    return wire.fill_chunk(empty, chunk, new_pose_point, new_transform, new_duration)


def test_a_chunk_survives_the_wire_with_every_due_time():
    chunk = ActionChunk(START_NS, np.tile(POSE7, (16, 1)), np.full(16, 0.04))
    cdr = serialize(chunk_message(chunk))
    stamp_ns, offsets_ns, poses7 = wire.chunk_from_msgs(
        deserialize(cdr, "trajectory_msgs/msg/MultiDOFJointTrajectory")
    )
    np.testing.assert_array_equal(stamp_ns + offsets_ns, chunk.due_ns)
    np.testing.assert_array_equal(poses7, chunk.poses)


def test_a_chunk_with_a_value_that_is_not_finite_is_refused():
    poses = np.tile(POSE7, (3, 1))
    poses[1, 0] = np.inf
    with pytest.raises(wire.WireError, match="not finite"):
        wire.decode("/arm/command/chunk", chunk_message(ActionChunk(START_NS, poses, np.zeros(3))))


def test_a_chunk_whose_points_do_not_follow_each_other_is_refused():
    msg = chunk_message(ActionChunk(START_NS, np.tile(POSE7, (3, 1)), np.zeros(3)))
    msg.points.reverse()
    with pytest.raises(wire.WireError, match="must increase"):
        wire.chunk_from_msgs(msg)


def test_gripper_widths_survive_the_wire():
    empty = message("trajectory_msgs/msg/JointTrajectory")
    msg = wire.fill_widths(empty, [0.08, 0.04, 0.0], START_NS, new_width_point, new_duration)
    again = deserialize(serialize(msg), "trajectory_msgs/msg/JointTrajectory")
    stamp_ns, offsets_ns, widths = wire.widths_from_msg(again)
    assert stamp_ns == START_NS
    np.testing.assert_array_equal(offsets_ns, [0, 100_000_000, 200_000_000])
    np.testing.assert_array_equal(widths, [0.08, 0.04, 0.0])
    assert wire.decode("/gripper/command", again) == ("command_width", START_NS, 0.08)

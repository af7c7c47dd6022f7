"""Every topic, its type, quality of service, rate and key in one table; messages to (key, stamp, value).

Nodes take types and QoS from `TOPICS`, bags take connections from it, and `decode` is the only way from a
message to an observation, live or recorded. The functions that fill and read messages are reachable here.
Imports no ROS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from como_ros.messages import (
    ARM_JOINTS,
    BASE_FRAME,
    FINGER_JOINTS,
    WireError,
    camera_matrix_from_msg,
    depth_from_msg,
    fill_camera_info,
    fill_depth,
    fill_image,
    fill_joint_states,
    fill_pose,
    fill_wrench,
    image_from_msg,
    joints8_from_msg,
    joints_from_msg,
    pose7_from_msg,
    set_stamp,
    stamp_ns,
    wrench_from_msg,
)
from como_ros.trajectories import chunk_from_msgs, fill_chunk, fill_widths, widths_from_msg
from policies.spaces import CAMERAS, INSTRUCTION, image_key
from policies.timeline import EE_POSE, JOINTS

__all__ = [
    "ARM_JOINTS",
    "BASE_FRAME",
    "FINGER_JOINTS",
    "TOPICS",
    "Topic",
    "WireError",
    "camera_matrix_from_msg",
    "chunk_from_msgs",
    "decode",
    "depth_from_msg",
    "fill_camera_info",
    "fill_chunk",
    "fill_depth",
    "fill_image",
    "fill_joint_states",
    "fill_pose",
    "fill_widths",
    "fill_wrench",
    "image_from_msg",
    "joints_from_msg",
    "pose7_from_msg",
    "set_stamp",
    "stamp_ns",
    "widths_from_msg",
    "wrench_from_msg",
]

Qos = Literal["sensor", "state", "command", "stream"]


@dataclass(frozen=True)
class Topic:
    """One row of the wire."""

    name: str
    type: str
    qos: Qos
    """sensor: best effort, depth 5; state: reliable, transient local, depth 1 where it is spoken and 10 where
    it is heard; command: reliable, depth 1; stream: reliable, depth 50."""
    rate_hz: float
    """Nominal rate; 0 where it is published on change."""
    key: str


def _camera_topics(camera: str) -> list[Topic]:
    color, depth = f"/{camera}/color", f"/{camera}/aligned_depth_to_color"
    return [
        Topic(f"{color}/image_raw", "sensor_msgs/msg/Image", "sensor", 15, image_key(camera)),
        Topic(f"{color}/camera_info", "sensor_msgs/msg/CameraInfo", "sensor", 15, f"camera_info/{camera}"),
        Topic(f"{depth}/image_raw", "sensor_msgs/msg/Image", "sensor", 15, f"depth/{camera}"),
    ]


_ROWS = [
    *(topic for camera in CAMERAS for topic in _camera_topics(camera)),
    Topic("/arm/joint_states", "sensor_msgs/msg/JointState", "stream", 100, JOINTS),
    Topic("/arm/ee_pose", "geometry_msgs/msg/PoseStamped", "stream", 100, EE_POSE),
    Topic("/arm/external_wrench", "geometry_msgs/msg/WrenchStamped", "stream", 100, "wrench"),
    Topic("/arm/command/pose", "geometry_msgs/msg/PoseStamped", "command", 50, "command_pose"),
    Topic("/arm/command/chunk", "trajectory_msgs/msg/MultiDOFJointTrajectory", "command", 0, "command_chunk"),
    Topic("/gripper/command", "trajectory_msgs/msg/JointTrajectory", "command", 0, "command_width"),
    Topic("/policy/instruction", "std_msgs/msg/String", "state", 0, INSTRUCTION),
    Topic("/supervisor/state", "std_msgs/msg/String", "state", 25, "supervisor_state"),
    Topic("/teleop/deadman", "std_msgs/msg/Bool", "stream", 50, "deadman"),
    Topic("/recorder/state", "std_msgs/msg/String", "state", 1, "recorder_state"),
    Topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "stream", 0, "diagnostics"),
]
TOPICS: dict[str, Topic] = {row.name: row for row in _ROWS}
COMPRESSED = "/compressed"
"""Behind a colour topic's name, as image_transport has it: the same pictures as JPEG, while somebody asks."""
_JPEGS = [
    replace(row, name=row.name + COMPRESSED, type="sensor_msgs/msg/CompressedImage")
    for row in _ROWS
    if row.key.startswith("images/")
]
KNOWN: dict[str, Topic] = TOPICS | {row.name: row for row in _JPEGS}
"""Every topic that a bag may hold; a compressed one has the key of the one that it stands for."""


def _chunk_rows(msg: Any) -> np.ndarray:
    _, offsets_ns, poses7 = chunk_from_msgs(msg)
    return np.column_stack([offsets_ns / 1e9, poses7])


def _colour(msg: Any) -> np.ndarray:
    """Only who meets compressed pictures loads what unpacks them."""
    if not hasattr(msg, "format"):
        return image_from_msg(msg)
    from como_ros.jpeg import compressed_from_msg

    return compressed_from_msg(msg)


def _text(msg: Any) -> str:
    if not isinstance(msg.data, str):
        raise WireError(f"data is {type(msg.data).__name__}, not text; send std_msgs/msg/String")
    return msg.data


def _worst_level(msg: Any) -> int:
    return max((_level(status.level) for status in msg.status), default=0)


def _level(raw: Any) -> int:
    """rclpy hands an octet over as one byte, rosbags as an int."""
    return raw[0] if isinstance(raw, bytes) else int(raw)


READERS: dict[str, Callable[[Any], Any]] = {
    "images": _colour,
    "camera_info": camera_matrix_from_msg,
    "depth": depth_from_msg,
    JOINTS: joints8_from_msg,
    EE_POSE: pose7_from_msg,
    "wrench": wrench_from_msg,
    "command_pose": pose7_from_msg,
    "command_chunk": _chunk_rows,
    "command_width": lambda msg: float(widths_from_msg(msg)[2][0]),
    INSTRUCTION: _text,
    "supervisor_state": _text,
    "deadman": lambda msg: bool(msg.data),
    "recorder_state": _text,
    "diagnostics": _worst_level,
}


def topic(name: str) -> Topic:
    if name not in KNOWN:
        raise WireError(f"topic {name!r} is not on the wire; known topics: {sorted(KNOWN)}")
    return KNOWN[name]


def decode(topic_name: str, msg: Any, received_ns: int = 0) -> tuple[str, int, Any]:
    """-> key, capture stamp, value; messages without a header take `received_ns` as their stamp."""
    key, stamp = topic(topic_name).key, received_ns
    try:
        stamp = stamp_ns(msg) if hasattr(msg, "header") else received_ns
        return key, stamp, READERS[key.partition("/")[0]](msg)
    except WireError as error:
        raise WireError(f"{topic_name}, message stamped {stamp} ns: {error}") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        what = f"{type(msg).__name__} is no {topic(topic_name).type} ({error}); mend the publisher"
        raise WireError(f"{topic_name}, message stamped {stamp} ns: {what}") from error

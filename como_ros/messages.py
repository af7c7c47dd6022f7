"""ROS messages to numpy and back, by attribute name only.

Works on rclpy messages, on messages decoded from bags and on plain namespaces, so that live and recorded data
take the same path. Imports no ROS. Values that a message cannot honestly hold are refused, never repaired.
Reading an image gives a view of the message's own bytes.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from como_ros.errors import ComoError

BASE_FRAME = "panda_link0"
ARM_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
COLOUR = ("rgb8", "bgr8")
UINT8 = np.dtype(np.uint8)


class WireError(ComoError):
    """A message does not hold what its topic promises."""


# Stamps and sequence fields ----------------------------------------------------------------------


def stamp_ns(msg: Any) -> int:
    """Capture time in nanoseconds of system time."""
    stamp = msg.header.stamp
    if not 0 <= stamp.nanosec < 1_000_000_000:
        raise WireError(f"stamp of {stamp.sec} s and {stamp.nanosec} ns is no time; mend the publisher")
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def set_stamp(msg: Any, ns: int) -> None:
    stamp = msg.header.stamp
    stamp.sec, stamp.nanosec = divmod(int(ns), 1_000_000_000)


def set_header(msg: Any, ns: int, frame_id: str) -> None:
    set_stamp(msg, ns)
    msg.header.frame_id = frame_id


def set_floats(msg: Any, name: str, values: Any) -> None:
    """Fill a float64 sequence in the container the message already uses: rclpy wants array, rosbags numpy."""
    row = np.array(values, float).reshape(-1)
    kind = type(getattr(msg, name, None))
    setattr(msg, name, row if kind is np.ndarray else array.array("d", row.tobytes()))


def set_bytes(msg: Any, name: str, pixels: np.ndarray) -> None:
    """Fill a uint8 sequence with one copy.

    An rclpy field copies the array it is given, so it is given an empty one and filled in place; assigning
    anything that is no array costs 30 ms a VGA frame.
    """
    flat = pixels.reshape(-1).view(np.uint8)
    if type(getattr(msg, name, None)) is np.ndarray:
        setattr(msg, name, flat.copy())
        return
    setattr(msg, name, array.array("B"))
    getattr(msg, name).frombytes(flat.data)


def finite(values: Any, what: str) -> np.ndarray:
    row = np.array(values, float)
    # one sum is enough where it is finite, which is nearly always
    if not math.isfinite(sum(row.tolist())) and not np.isfinite(row).all():
        raise WireError(f"{what} holds a value that is not finite: {row.tolist()}; mend the publisher")
    return row


# Images ------------------------------------------------------------------------------------------


def image_from_msg(msg: Any) -> np.ndarray:
    """(h, w, 3) uint8 RGB view; rows may be padded, bgr8 comes back in RGB order."""
    if msg.encoding not in COLOUR:
        raise WireError(f"encoding {msg.encoding!r} is no colour image; publish one of {list(COLOUR)}")
    pixels = _pixels(msg, UINT8, 3)
    return pixels if msg.encoding == "rgb8" else pixels[:, :, ::-1]


def depth_from_msg(msg: Any) -> np.ndarray:
    """(h, w) uint16 millimetres, a view."""
    if msg.encoding not in ("16UC1", "mono16"):
        raise WireError(f"encoding {msg.encoding!r} is no depth image; publish 16UC1")
    return _pixels(msg, np.dtype(">u2" if msg.is_bigendian else "<u2"), 1)[:, :, 0]


def _pixels(msg: Any, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    item = dtype.itemsize
    data = np.frombuffer(msg.data, UINT8)
    if not 0 < width * channels * item <= step or data.size != height * step or not height:
        raise WireError(
            f"{width}x{height} {msg.encoding} needs step >= {width * channels * item} and "
            f"height x step bytes, got step {step} and {data.size} bytes; mend the publisher"
        )
    return np.ndarray((height, width, channels), dtype, data, 0, (step, channels * item, item))


def fill_image(msg: Any, rgb: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """Write (h, w, 3) uint8 RGB into a sensor_msgs/Image."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise WireError(f"a colour image is (h, w, 3) uint8, got {rgb.shape} {rgb.dtype}")
    return _fill_pixels(msg, rgb, "rgb8", stamp_ns, frame_id)


def fill_depth(msg: Any, depth_mm: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """Write (h, w) uint16 millimetres into a sensor_msgs/Image."""
    if depth_mm.dtype != np.uint16 or depth_mm.ndim != 2:
        raise WireError(f"a depth image is (h, w) uint16, got {depth_mm.shape} {depth_mm.dtype}")
    return _fill_pixels(msg, depth_mm, "16UC1", stamp_ns, frame_id)


def _fill_pixels(msg: Any, pixels: np.ndarray, encoding: str, stamp_ns: int, frame_id: str) -> Any:
    set_header(msg, stamp_ns, frame_id)
    pixels = np.ascontiguousarray(pixels)
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding, msg.is_bigendian, msg.step = encoding, 0, pixels.strides[0]
    set_bytes(msg, "data", pixels)
    return msg


def camera_matrix_from_msg(msg: Any) -> np.ndarray:
    """(3, 3) pinhole matrix in pixels."""
    return finite(msg.k, "camera matrix").reshape(3, 3)


def fill_camera_info(
    msg: Any,
    matrix: np.ndarray,
    distortion: Sequence[float],
    hw: tuple[int, int],
    stamp_ns: int,
    frame_id: str,
) -> Any:
    """Write a pinhole camera with plumb_bob distortion into a sensor_msgs/CameraInfo."""
    set_header(msg, stamp_ns, frame_id)
    msg.height, msg.width = hw
    msg.distortion_model = "plumb_bob"
    set_floats(msg, "d", distortion)
    msg.k = np.array(matrix, float).reshape(-1)
    msg.r = np.eye(3).reshape(-1)
    msg.p = np.column_stack([np.array(matrix, float), np.zeros(3)]).reshape(-1)
    return msg


# Poses, joints, wrench ---------------------------------------------------------------------------


def pose7_from_parts(position: Any, rotation: Any) -> np.ndarray:
    x, y, z, w = rotation.x, rotation.y, rotation.z, rotation.w
    pose7 = finite((position.x, position.y, position.z, x, y, z, w), "pose")
    if abs(math.hypot(x, y, z, w) - 1) > 1e-2:
        raise WireError(f"quaternion {[x, y, z, w]} is not of unit length; send xyzw, normalised")
    return pose7


def set_pose7(position: Any, rotation: Any, pose7: np.ndarray) -> None:
    position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w = np.asarray(
        pose7, float
    ).tolist()


def in_base_frame(msg: Any) -> None:
    if msg.header.frame_id != BASE_FRAME:
        raise WireError(f"frame {msg.header.frame_id!r} is not the base; transform it to {BASE_FRAME!r}")


def pose7_from_msg(msg: Any) -> np.ndarray:
    """PoseStamped -> (7,) position and quaternion xyzw, in the base frame."""
    in_base_frame(msg)
    return pose7_from_parts(msg.pose.position, msg.pose.orientation)


def fill_pose(msg: Any, pose7: np.ndarray, stamp_ns: int, frame_id: str = BASE_FRAME) -> Any:
    set_header(msg, stamp_ns, frame_id)
    set_pose7(msg.pose.position, msg.pose.orientation, pose7)
    return msg


@lru_cache(maxsize=64)
def _joint_order(names: tuple[str, ...]) -> list[int]:
    wanted = ARM_JOINTS + FINGER_JOINTS
    if missing := [name for name in wanted if name not in names]:
        raise WireError(f"joint state lacks {missing}; it has {list(names)}")
    return [names.index(name) for name in wanted]


def joints8_from_msg(msg: Any) -> np.ndarray:
    """JointState, in any order -> (8,) seven joint angles and the gripper's width."""
    order = _joint_order(tuple(msg.name))
    if len(msg.position) != len(msg.name):
        counts = f"{len(msg.name)} names and {len(msg.position)} positions"
        raise WireError(f"joint state has {counts}; send one position a name")
    row = finite(msg.position, "joint state")[order]
    row[7] += row[8]
    return row[:8]


def joints_from_msg(msg: Any) -> tuple[np.ndarray, float]:
    """JointState, in any order -> (7,) joint angles and the gripper's width."""
    row = joints8_from_msg(msg)
    return row[:7], float(row[7])


def fill_joint_states(msg: Any, q: np.ndarray, dq: np.ndarray, width: float, stamp_ns: int) -> Any:
    """Write arm joints and two equal fingers; the fingers' velocity is unknown, hence NaN."""
    set_header(msg, stamp_ns, BASE_FRAME)
    msg.name = [*ARM_JOINTS, *FINGER_JOINTS]
    set_floats(msg, "position", [*q, width / 2, width / 2])
    set_floats(msg, "velocity", [*dq, np.nan, np.nan])
    return msg


def wrench_from_msg(msg: Any) -> np.ndarray:
    """WrenchStamped -> (6,) force in newtons, then torque in newton metres."""
    in_base_frame(msg)
    force, torque = msg.wrench.force, msg.wrench.torque
    return finite((force.x, force.y, force.z, torque.x, torque.y, torque.z), "wrench")


def fill_wrench(msg: Any, wrench: np.ndarray, stamp_ns: int, frame_id: str = BASE_FRAME) -> Any:
    set_header(msg, stamp_ns, frame_id)
    force, torque = msg.wrench.force, msg.wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = np.asarray(wrench, float).tolist()
    return msg

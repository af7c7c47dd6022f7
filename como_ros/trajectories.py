"""Timed commands to numpy and back: pose chunks for the arm, widths for the gripper.

Duck-typed like `como_ros.messages`. Offsets are integer nanoseconds after the message's stamp, which says
when the first point is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from como_ros.messages import (
    BASE_FRAME,
    WireError,
    finite,
    in_base_frame,
    pose7_from_parts,
    set_floats,
    set_header,
    set_pose7,
    stamp_ns,
)
from policies.spaces import ActionChunk


def _offsets_ns(points: Sequence[Any]) -> np.ndarray:
    if not len(points):
        raise WireError("a timed command without points; send at least one")
    durations = [p.time_from_start for p in points]
    offsets = np.array([d.sec * 1_000_000_000 + d.nanosec for d in durations], np.int64)
    if (np.diff(offsets) <= 0).any():
        raise WireError(f"time_from_start must increase from point to point, got {offsets.tolist()} ns")
    return offsets


def chunk_from_msgs(traj: Any) -> tuple[int, np.ndarray, np.ndarray]:
    """MultiDOFJointTrajectory -> stamp, (H,) offsets in ns, (H, 7) end-effector poses in the base frame."""
    in_base_frame(traj)
    offsets = _offsets_ns(traj.points)
    if any(len(p.transforms) != 1 for p in traj.points):
        raise WireError("every point of a chunk holds exactly one transform, the end effector's pose")
    transforms = [p.transforms[0] for p in traj.points]
    poses7 = np.stack([pose7_from_parts(t.translation, t.rotation) for t in transforms])
    return stamp_ns(traj), offsets, poses7


def fill_chunk(
    msg: Any,
    chunk: ActionChunk,
    new_point: Callable[[], Any],
    new_transform: Callable[[], Any],
    new_duration: Callable[..., Any],
) -> Any:
    """Write the chunk's poses; the factories are the classes of a point, a transform and a duration."""
    set_header(msg, chunk.stamp_ns, BASE_FRAME)
    msg.joint_names = ["end_effector"]
    msg.points = [_timed(new_point(), i * chunk.period_ns, new_duration) for i in range(len(chunk.poses))]
    for point, pose7 in zip(msg.points, chunk.poses, strict=True):
        transform = new_transform()
        set_pose7(transform.translation, transform.rotation, pose7)
        point.transforms = [transform]
    return msg


def _timed(point: Any, offset_ns: int, new_duration: Callable[..., Any]) -> Any:
    sec, nanosec = divmod(int(offset_ns), 1_000_000_000)
    point.time_from_start = new_duration(sec=sec, nanosec=nanosec)
    return point


def widths_from_msg(msg: Any) -> tuple[int, np.ndarray, np.ndarray]:
    """JointTrajectory of the joint `width` -> stamp, (H,) offsets in ns, (H,) widths."""
    if list(msg.joint_names) != ["width"]:
        raise WireError(f"the gripper takes joint_names ['width'], got {list(msg.joint_names)}")
    offsets = _offsets_ns(msg.points)
    if any(len(p.positions) != 1 for p in msg.points):
        raise WireError("every point of a gripper command holds exactly one position, the width")
    return stamp_ns(msg), offsets, finite([p.positions[0] for p in msg.points], "gripper width")


def fill_widths(
    msg: Any,
    widths: Sequence[float] | np.ndarray,
    stamp_ns: int,
    new_point: Callable[[], Any],
    new_duration: Callable[..., Any],
    period_ns: int = 100_000_000,
) -> Any:
    """Write gripper widths due at `stamp_ns`, then every `period_ns`."""
    set_header(msg, stamp_ns, BASE_FRAME)
    msg.joint_names = ["width"]
    msg.points = [_timed(new_point(), i * period_ns, new_duration) for i in range(len(widths))]
    for point, width in zip(msg.points, widths, strict=True):
        set_floats(point, "positions", [width])
    return msg

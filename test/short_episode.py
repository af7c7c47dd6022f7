"""A bag of one second, small enough for any test."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from como_ros import wire
from como_ros.bags import EpisodeWriter, message
from policies.spaces import Contract

CONTRACT = Contract(image_hw=(16, 16))
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
POINT = partial(message, "trajectory_msgs/msg/JointTrajectoryPoint")
DURATION = partial(message, "builtin_interfaces/msg/Duration")


def pose_at(x: float) -> np.ndarray:
    return np.array([x, 0, 0.3, 0, 0, 0, 1.0])


def empty(topic: str):
    return message(wire.topic(topic).type)


def write_episode(
    folder: Path,
    outcome: str = "success",
    close_at_ms: int = 500,
    blind_ms: tuple[int, int] = (0, 0),
    seed: int = 3,
    flags: tuple[str, ...] = (),
    image_hw: tuple[int, int] = (16, 16),
    pictures_hw: tuple[int, int] | None = None,
    ends_ms: int = 1000,
    without: tuple[str, ...] = (),
    first_command_ns: int = START_NS,
) -> None:
    """One second: everything at 50 Hz, cameras at 10 Hz, the command 1 cm ahead, the gripper closing once."""
    writer = EpisodeWriter(folder, replace(CONTRACT, image_hw=image_hw), "pick", seed=seed)
    for ms in range(0, ends_ms + 1, 20):
        now, x = START_NS + ms * MS, ms / 1000
        sent = {
            "/arm/joint_states": wire.fill_joint_states(
                empty("/arm/joint_states"), np.zeros(7), np.zeros(7), 0.08, now
            ),
            "/arm/ee_pose": wire.fill_pose(empty("/arm/ee_pose"), pose_at(x), now),
            "/arm/command/pose": wire.fill_pose(empty("/arm/command/pose"), pose_at(x + 0.01), now),
        }
        if blind_ms[0] < ms < blind_ms[1]:
            del sent["/arm/joint_states"], sent["/arm/ee_pose"]
        if ms % 100 == 0:
            rgb = np.full((*(pictures_hw or image_hw), 3), ms // 10, np.uint8)
            for camera in CONTRACT.cameras:
                name = f"/{camera}/color/image_raw"
                sent[name] = wire.fill_image(empty(name), rgb, now, "camera")
        if ms == close_at_ms:
            name = "/gripper/command"
            sent[name] = wire.fill_widths(empty(name), [0.0], now, POINT, DURATION)
        if ms == 0:
            wire.set_stamp(sent["/arm/command/pose"], first_command_ns)
        for topic, msg in sent.items():
            if topic not in without:
                writer.write_message(topic, msg, now)
    writer.close(outcome, flags=json.dumps(flags))

"""`como bench wire`: what images cost on the wire and episodes cost to read, against named baselines.

Every contest first shows that both sides give the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

from como_ros import bags, wire
from como_ros.bag_meta import parse_metadata
from como_ros.errors import ComoError
from como_ros.paired import Contest, judge, machine
from como_ros.typestore import TYPES, message
from policies.spaces import CAMERAS, Contract, Observation
from policies.timeline import Timeline, observation_streams, replay

CONTRACT = Contract(image_hw=(480, 640))
SECONDS = 2
IMAGE_HZ, STATE_HZ, TICK_HZ = 30, 100, 10
START_NS = 1_700_000_000_000_000_000
BLOCK_BYTES = 1 << 20
FRAMES = 8
"""Frames that take turns, so that none stays in the processor's cache."""


def run_bench(new_image: Callable[[], Any], pairs: int = 15) -> dict[str, Any]:
    """Result of `como bench wire`; `new_image` is the class that rclpy publishes."""
    if pairs < 2:
        raise ComoError(f"--pairs {pairs} is too few for a median; give 15 or more")
    rows = [judge(contest, pairs) for contest in _image_contests(new_image)]
    with tempfile.TemporaryDirectory(prefix="como_bench_") as folder:
        rows += [judge(contest, pairs) for contest in _bag_contests(Path(folder))]
    return {"rows": rows, "machine": machine()}


def _same(what: str, ours: Any, other: Any) -> None:
    if not np.array_equal(ours, other):
        raise ComoError(f"bench {what}: the two sides differ, their times mean nothing; report this")


# Images ------------------------------------------------------------------------------------------


def _image_contests(new_image: Callable[[], Any]) -> list[Contest]:
    frames = _frames(FRAMES)
    turn = cycle(frames)

    kept, plain = new_image(), new_image()  # one message for all frames, as in the camera node

    def fill(rgb: np.ndarray, msg: Any = kept) -> Any:
        return wire.fill_image(msg, rgb, START_NS, "front_color_optical_frame")

    def naive(rgb: np.ndarray) -> Any:
        plain.height, plain.width, plain.encoding, plain.step = *rgb.shape[:2], "rgb8", rgb.strides[0]
        plain.data = rgb.reshape(-1)
        return plain

    def decode(msg: Any) -> np.ndarray:
        return wire.decode("/front/color/image_raw", msg)[2]

    filled = [fill(frame, new_image()) for frame in frames]
    received = cycle(filled)
    _same("R1", decode(filled[0]), wire.image_from_msg(naive(frames[0])))
    for frame, msg in zip(frames, filled, strict=True):
        _same("R3", decode(msg), frame)
    ours, copied = (lambda: fill(next(turn))), (lambda: next(turn).copy())
    assigned, decoded = (lambda: naive(next(turn))), (lambda: decode(next(received)))
    return [
        Contest("R1", "fill an Image to publish / assign the array", ours, assigned, 1 / 50, (20, 1)),
        Contest("R2", "fill an Image to publish / memcpy", ours, copied, 1.5, (100, 100)),
        Contest("R3", "decode a received Image / memcpy", decoded, copied, 0.2, (500, 100)),
    ]


def _frames(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*CONTRACT.image_hw, 3), np.uint8) for _ in range(count)]


# Bags --------------------------------------------------------------------------------------------


def _bag_contests(folder: Path) -> list[Contest]:
    packed, plain = folder / "packed", folder / "plain"
    _write_episode(packed)
    _copy_uncompressed(packed, plain)
    recording = next(plain.glob("*.mcap"))
    ticks = range(START_NS + 10**8, START_NS + SECONDS * 10**9, 10**9 // TICK_HZ)

    def observations() -> int:
        parse_metadata.cache_clear()  # every run pays for it, as the other side does
        seen = replay(Timeline(observation_streams(CONTRACT)), bags.read_arrivals(packed), ticks)
        return sum(isinstance(found, Observation) for found in seen)

    def deserialize_each() -> int:
        with AnyReader([packed]) as reader:
            return sum(1 for row in reader.messages() if reader.deserialize(row[2], row[0].msgtype))

    def read_bag() -> int:
        return sum(len(bytes(raw.cdr)) for _, raw in bags.read_raw(plain))

    def read_file() -> int:
        with recording.open("rb") as file:
            return sum(map(len, iter(lambda: file.read(BLOCK_BYTES), b"")))

    _same("R7", observations(), len(ticks))
    _same("R7", deserialize_each(), sum(1 for _ in bags.read_raw(packed)))
    _same("R7", *_first_images(packed))
    return [
        Contest("R7", "bag to observations / deserialise each message", observations, deserialize_each, 0.6),
        Contest("R8", "read a bag, uncompressed / read the file", read_bag, read_file, 4.0),
    ]


def _first_images(episode: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first image of the episode, through our reader and through the generic one."""
    ours = next(row.value for row in bags.read_arrivals(episode, ["images/front"]))
    with AnyReader([episode]) as reader:
        front = [c for c in reader.connections if c.topic == "/front/color/image_raw"]
        connection, _, cdr = next(reader.messages(front))
        msg: Any = reader.deserialize(cdr, connection.msgtype)
    return ours, msg.data.reshape(ours.shape)


def _write_episode(folder: Path) -> None:
    writer = bags.EpisodeWriter(folder, CONTRACT, "benchmark")
    for stamp_ns, topic, msg in sorted(_messages(), key=lambda row: row[0]):
        writer.write_message(topic, msg, stamp_ns)
    writer.close("kept")


def _messages() -> Iterator[tuple[int, str, Any]]:
    frames = _frames(FRAMES)
    for i in range(SECONDS * IMAGE_HZ):
        stamp_ns = START_NS + i * 10**9 // IMAGE_HZ
        for camera in CAMERAS:
            image = wire.fill_image(message("sensor_msgs/msg/Image"), frames[i % FRAMES], stamp_ns, camera)
            yield stamp_ns, f"/{camera}/color/image_raw", image
    pose7 = np.array([0.4, 0, 0.3, 1, 0, 0, 0])
    for i in range(SECONDS * STATE_HZ):
        stamp_ns = START_NS + i * 10**9 // STATE_HZ
        joints = message("sensor_msgs/msg/JointState")
        yield (
            stamp_ns,
            "/arm/joint_states",
            wire.fill_joint_states(joints, np.ones(7), np.ones(7), 0.04, stamp_ns),
        )
        pose = wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), pose7, stamp_ns)
        yield stamp_ns, "/arm/ee_pose", pose


def _copy_uncompressed(episode: Path, folder: Path) -> None:
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for _, raw in bags.read_raw(episode):
            topic, kind = raw.channel.topic, raw.channel.type
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(connections[topic], raw.log_ns, raw.cdr)

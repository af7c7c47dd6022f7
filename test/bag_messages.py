"""Messages and small episodes for the tests of wire and bags, made without ROS."""

from pathlib import Path

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from como_ros import bags, wire
from como_ros.bag_meta import custom_data
from como_ros.typestore import TYPES, message
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
CONTRACT = Contract(image_hw=(16, 16))
POSE7 = np.array([0.4, 0, 0.3, 1, 0, 0, 0])


def image(index: int, stamp_ns: int, size: int = 16):
    rgb = np.random.default_rng(index).integers(0, 255, (size, size, 3), np.uint8)
    return wire.fill_image(message("sensor_msgs/msg/Image"), rgb, stamp_ns, "camera")


def joints(stamp_ns: int):
    msg = message("sensor_msgs/msg/JointState")
    return wire.fill_joint_states(msg, np.full(7, stamp_ns % 1000), np.zeros(7), 0.04, stamp_ns)


def ee_pose(stamp_ns: int):
    return wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), POSE7, stamp_ns)


def messages(seconds: float = 1.0) -> list[tuple[int, str, object]]:
    """(arrival, topic, message): cameras at 10 Hz, 30 ms late, and the arm at 100 Hz, 1 ms late."""
    rows: list[tuple[int, str, object]] = []
    for i in range(int(10 * seconds)):
        stamp_ns = START_NS + i * 100 * MS
        for camera in ("front", "wrist"):
            rows.append((stamp_ns + 30 * MS, f"/{camera}/color/image_raw", image(i, stamp_ns)))
    for i in range(int(100 * seconds)):
        stamp_ns = START_NS + i * 10 * MS
        rows.append((stamp_ns + MS, "/arm/joint_states", joints(stamp_ns)))
        rows.append((stamp_ns + MS, "/arm/ee_pose", ee_pose(stamp_ns)))
    return sorted(rows, key=lambda row: row[0])


def write_episode(folder: Path, contract: Contract = CONTRACT, seconds: float = 1.0) -> Path:
    writer = bags.EpisodeWriter(folder, contract, "pick up the cube", seed=7, calibration="{}")
    for arrived_ns, topic, msg in messages(seconds):
        writer.write_message(topic, msg, arrived_ns)
    writer.close("success")
    return folder


def recording(episode: Path) -> Path:
    return next(episode.glob("*.mcap"))


def as_sqlite(
    episode: Path, folder: Path, packed: bool = False, plugin: StoragePlugin = StoragePlugin.SQLITE3
) -> Path:
    """The same episode as `ros2 bag convert` would leave it, each message a zstd frame where `packed`."""
    writer = Writer(folder, version=9, storage_plugin=plugin)
    if packed:
        writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        for key, value in custom_data(episode)[0].items():
            writer.set_custom_data(key, value)
        connections = {}
        for _, raw in bags.read_raw(episode):
            topic, kind = raw.channel.topic, raw.channel.type
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(connections[topic], raw.log_ns, bytes(raw.cdr))
    return folder

"""Bags that others wrote: SQLite, split files, other versions of a message type."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bag_messages import CONTRACT, START_NS, as_sqlite, image, joints, messages, recording, write_episode
from mcap.writer import Writer as McapWriter
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

from como_ros import bags, typestore
from como_ros.errors import ComoError
from como_ros.typestore import TYPES, message, serialize


def seen(path: Path) -> list[tuple[int, str, int, object]]:
    """Everything in an episode, in a form that can be compared."""
    rows = bags.read_arrivals(path)
    return [
        (r.arrived_ns, r.key, r.stamp_ns, getattr(r.value, "tobytes", lambda r=r: r.value)()) for r in rows
    ]


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return write_episode(tmp_path / "episode_000000", seconds=0.5)


def split(episode: Path, folder: Path, parts: int) -> Path:
    """As rosbag2 splits: name_0, name_1, ... each with the messages that followed."""
    rows = messages(0.5)
    share = -(-len(rows) // parts)
    folder.mkdir()
    for i in range(parts):
        part = bags.EpisodeWriter(folder / f"part_{i}", CONTRACT)
        for arrived_ns, topic, msg in rows[i * share : (i + 1) * share]:
            part.write_message(topic, msg, arrived_ns)
        part.close("kept")
        recording(part.path).rename(folder / f"bag_{i}.mcap")
    text = (episode / "metadata.yaml").read_text()
    names = "".join(f"\n  - bag_{i}.mcap" for i in range(parts))
    listed = f"  relative_file_paths:\n  - {recording(episode).name}"
    assert listed in text
    (folder / "metadata.yaml").write_text(text.replace(listed, f"  relative_file_paths:{names}"))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_sqlite_bag_reads_as_the_mcap_it_was_made_from(tmp_path, episode, packed):
    converted = as_sqlite(episode, tmp_path / "sqlite", packed)
    assert bags.episodes(tmp_path) == [episode, converted]
    assert seen(converted) == seen(episode)
    assert bags.read_meta(converted).contract == CONTRACT


def test_an_mcap_bag_whose_messages_are_packed_one_by_one_reads_as_others_do(tmp_path, episode):
    packed = as_sqlite(episode, tmp_path / "packed", packed=True, plugin=StoragePlugin.MCAP)
    assert "compression_mode: message" in (packed / "metadata.yaml").read_text()
    assert seen(packed) == seen(episode)


def test_a_packed_message_that_is_damaged_is_refused_by_topic_and_time(tmp_path, episode):
    database = next(as_sqlite(episode, tmp_path / "packed", packed=True).glob("*.db3"))
    with closing(sqlite3.connect(database)) as rows:
        rows.execute("UPDATE messages SET data = substr(data, 1, 20) WHERE id = 3")
        rows.commit()
    with pytest.raises(bags.BagError, match=r"/arm/\w+ at \d+ ns cannot be decompressed"):
        seen(tmp_path / "packed")


def test_a_bag_without_chunks_that_was_cut_inside_a_large_picture_reads_up_to_it(tmp_path):
    """Any other recorder may write so: `ros2 bag record --storage-preset-profile fastwrite`."""
    with (tmp_path / "e.mcap").open("wb") as file:
        writer = McapWriter(file, use_chunking=False)
        writer.start("ros2")
        kind = "sensor_msgs/msg/Image"
        definition = TYPES.generate_msgdef(kind, ros_version=2)[0].encode()
        topic = "/front/color/image_raw"
        channel = writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", definition))
        for stamp_ns in (START_NS, START_NS + 1):
            writer.add_message(channel, stamp_ns, bytes(serialize(image(0, stamp_ns, 640))), stamp_ns)
        writer.finish()
    whole = recording(tmp_path).read_bytes()
    recording(tmp_path).write_bytes(whole[: len(whole) * 3 // 4])
    assert [row[0] for row in seen(tmp_path)] == [START_NS]


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_a_sqlite_bag_that_was_cut_is_named(tmp_path, episode, kept):
    database = next(as_sqlite(episode, tmp_path / "sqlite").glob("*.db3"))
    whole = database.read_bytes()
    database.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ComoError, match=r"sqlite\.db3 is damaged|sqlite holds other messages"):
        seen(tmp_path / "sqlite")


def test_a_split_bag_reads_in_the_order_of_writing(tmp_path, episode):
    assert seen(split(episode, tmp_path / "bag", 12)) == seen(episode)


def test_a_split_bag_without_metadata_is_put_in_order_by_number(tmp_path, episode):
    folder = split(episode, tmp_path / "bag", 12)
    (folder / "metadata.yaml").unlink()
    assert seen(folder) == seen(episode)


def test_a_split_bag_that_lacks_a_part_is_refused_by_its_name(tmp_path, episode):
    folder = split(episode, tmp_path / "bag", 3)
    (folder / "bag_1.mcap").unlink()
    with pytest.raises(bags.BagError, match=r"bag_1\.mcap is missing"):
        seen(folder)


def test_only_the_keys_asked_for_are_decoded(episode):
    assert {row.key for row in bags.read_arrivals(episode, keys=("joints", "images/wrist"))} == {
        "joints",
        "images/wrist",
    }


def test_a_packed_file_is_refused_with_the_way_to_unpack_it_and_read_once_that_was_done(episode):
    file, whole = recording(episode), seen(episode)
    metadata, packed = episode / "metadata.yaml", file.with_name(f"{file.name}.zstd")
    metadata.write_text(metadata.read_text().replace(f"- {file.name}", f"- {packed.name}", 1))
    file.rename(packed)
    with pytest.raises(bags.BagError, match=r"zstd -d"):
        seen(episode)
    packed.rename(file)
    assert seen(episode) == whole


def test_another_hash_of_a_type_is_refused_before_anything_is_decoded(episode):
    metadata = episode / "metadata.yaml"
    ours = TYPES.hash_rihs01("sensor_msgs/msg/JointState")
    assert ours in metadata.read_text()
    metadata.write_text(metadata.read_text().replace(ours, f"{ours[:-4]}dead"))
    with pytest.raises(bags.BagError, match=r"episode_000000\.mcap: /arm/joint_states holds another version"):
        seen(episode)


def test_another_definition_of_a_type_is_refused_where_no_hash_was_kept(tmp_path):
    definition = TYPES.generate_msgdef("sensor_msgs/msg/JointState", ros_version=2)[0]
    other = definition.replace("float64[] velocity", "float32[] velocity")
    assert other != definition
    with Writer(tmp_path / "e", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            "/arm/joint_states", "sensor_msgs/msg/JointState", msgdef=other, rihs01=" "
        )
        writer.write(connection, START_NS, serialize(joints(START_NS)))
    metadata = tmp_path / "e" / "metadata.yaml"
    metadata.write_text(
        metadata.read_text().replace("type_description_hash: ' '", "type_description_hash: ''")
    )
    with pytest.raises(bags.BagError, match="defines another version of sensor_msgs/msg/JointState"):
        seen(tmp_path / "e")


def test_comments_and_constants_do_not_make_another_version():
    definition = TYPES.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)[0]
    assert typestore.type_fault("sensor_msgs/msg/Image", f"# how pixels travel\n{definition}", "") == ""


def test_a_topic_that_holds_another_type_is_refused(tmp_path):
    with Writer(tmp_path / "e", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/arm/ee_pose", "sensor_msgs/msg/Image", typestore=TYPES)
        writer.write(connection, START_NS, serialize(image(0, START_NS)))
    with pytest.raises(bags.BagError, match=r"/arm/ee_pose holds sensor_msgs/msg/Image, not geometry_msgs"):
        seen(tmp_path / "e")


def test_topics_that_are_not_on_the_wire_do_not_hinder_reading(tmp_path):
    with Writer(tmp_path / "e", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        other = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=TYPES)
        known = writer.add_connection("/arm/joint_states", "sensor_msgs/msg/JointState", typestore=TYPES)
        writer.write(other, START_NS, serialize(message("std_msgs/msg/String", data="hello")))
        writer.write(known, START_NS, serialize(joints(START_NS)))
    assert [row[1] for row in seen(tmp_path / "e")] == ["joints"]


def test_the_sqlite_bag_is_one_that_other_readers_open(tmp_path, episode):
    with AnyReader([as_sqlite(episode, tmp_path / "sqlite")]) as reader:
        assert reader.message_count == len(messages(0.5))

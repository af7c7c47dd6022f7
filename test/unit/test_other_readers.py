"""Bags written here open in readers that share no code with ours, with the same messages and stamps."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from bag_messages import messages, recording, write_episode
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from como_ros import bags, wire
from como_ros.typestore import TYPES

Stamps = list[tuple[str, int, int]]


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return write_episode(tmp_path / "episode_000000")


def ours() -> Stamps:
    """(topic, arrival, capture) of what was written."""
    return [(topic, arrived_ns, wire.stamp_ns(msg)) for arrived_ns, topic, msg in messages()]


def test_rosbags_finds_every_message_with_both_stamps_and_the_types_hashes(episode):
    with AnyReader([episode]) as reader:
        found = [
            (c.topic, arrived_ns, wire.stamp_ns(reader.deserialize(raw, c.msgtype)))
            for c, arrived_ns, raw in reader.messages()
        ]
        counts = {c.topic: c.msgcount for c in reader.connections}
        hashes = {c.msgtype: c.digest for c in reader.connections if c.digest}
    assert sorted(found) == sorted(ours())
    assert counts == Counter(topic for topic, _, _ in ours())
    assert all(TYPES.hash_rihs01(name) == digest for name, digest in hashes.items())


def test_mcap_ros2_finds_every_message_with_both_stamps_by_the_definitions_in_the_file(episode):
    with recording(episode).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        found = [
            (channel.topic, raw.log_time, wire.stamp_ns(decoded))
            for _, channel, raw, decoded in reader.iter_decoded_messages()
        ]
        statistics = reader.get_summary().statistics
    assert sorted(found) == sorted(ours())
    assert statistics.message_count == len(ours())
    assert (statistics.message_start_time, statistics.message_end_time) == (
        min(arrived_ns for _, arrived_ns, _ in ours()),
        max(arrived_ns for _, arrived_ns, _ in ours()),
    )


def test_our_own_reader_finds_what_the_others_find(episode):
    topics = {row.key: name for name, row in wire.TOPICS.items()}
    found = [(topics[row.key], row.arrived_ns, row.stamp_ns) for row in bags.read_arrivals(episode)]
    assert found == ours()


def test_mcap_ros2_decodes_the_values_that_were_written(episode):
    with recording(episode).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        decoded = reader.iter_decoded_messages(topics=["/arm/joint_states"])
        first = next(iter(decoded))[3]
    assert wire.decode("/arm/joint_states", first)[2].shape == (8,)


@pytest.mark.skipif(shutil.which("ros2") is None, reason="ros2 bag is not installed here")
def test_ros2_bag_info_reads_the_metadata(episode):
    done = subprocess.run(["ros2", "bag", "info", episode], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"Messages:          {len(ours())}" in done.stdout
    assert all(topic in done.stdout for topic, _, _ in ours())

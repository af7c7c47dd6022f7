"""Pictures recorded as JPEG are read as the pictures that they stand for, by everybody."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from short_episode import CONTRACT, write_episode

from como_ros import bags, wire
from como_ros.bag_checks import check_episode
from como_ros.bag_repair import repair
from como_ros.graphs import Deployment, graph
from como_ros.jpeg import fill_compressed
from como_ros.recording import Recording
from como_ros.typestore import deserialize, message, serialize
from policies.spaces import Contract
from training.episodes import load_episodes

STAMP_NS = 1_700_000_000_123_456_789
FRONT = "/front/color/image_raw"
blank = partial(message, "sensor_msgs/msg/CompressedImage")


def stripes() -> np.ndarray:
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :32, 0], rgb[:, 32:, 2] = 200, 150
    return rgb


def test_a_compressed_picture_is_read_under_the_key_of_the_picture_it_stands_for():
    packed = fill_compressed(blank(), stripes(), STAMP_NS, "front")
    assert packed.data.size < stripes().size / 8
    key, stamp_ns, value = wire.decode(FRONT + wire.COMPRESSED, packed)
    assert (key, stamp_ns) == ("images/front", STAMP_NS)
    assert np.abs(value.astype(int) - stripes()).mean() < 2


def test_what_is_no_picture_is_refused():
    with pytest.raises(wire.WireError, match="9 bytes of format 'jpeg' are no picture"):
        wire.decode(FRONT + wire.COMPRESSED, blank(data=np.zeros(9, np.uint8), format="jpeg"))


def packed_copy(episode: Path, target: Path, *, both: bool = False) -> Path:
    """The episode with its pictures compressed."""
    meta = bags.read_meta(episode)
    writer = bags.EpisodeWriter(target, meta.contract, meta.instruction, **meta.provenance)
    for _, raw in bags.read_raw(episode):
        topic = raw.channel.topic
        picture = wire.topic(topic).key.startswith("images/")
        if picture:
            _, stamp_ns, rgb = wire.decode(topic, deserialize(raw.cdr, raw.channel.type))
            packed = serialize(fill_compressed(blank(), rgb, stamp_ns, "front"))
            writer.write(topic + wire.COMPRESSED, raw.log_ns, packed)
        if both or not picture:
            writer.write(topic, raw.log_ns, raw.cdr)
    writer.close(meta.outcome)
    return target


def test_an_episode_of_compressed_pictures_is_healthy_and_learned_from(tmp_path):
    write_episode(tmp_path / "plain" / "e")
    episode = packed_copy(tmp_path / "plain" / "e", tmp_path / "packed" / "e")
    row, plain = check_episode(episode), check_episode(tmp_path / "plain" / "e")
    assert (row["ok"], row["rates_hz"]) == (plain["ok"], plain["rates_hz"])
    contract, (learned,) = load_episodes(tmp_path / "packed")
    assert contract == CONTRACT
    levels = learned.images["wrist"][:, 0, 0, 0].astype(int)
    assert np.abs(levels - np.arange(0, 101, 10)).max() <= 2


def test_pictures_that_a_closed_bag_holds_twice_are_read_once_and_whole(tmp_path):
    write_episode(tmp_path / "e")
    both = packed_copy(tmp_path / "e", tmp_path / "both", both=True)
    plain, twice = (list(bags.read_events(path, {"images/front"})) for path in (tmp_path / "e", both))
    assert [stamp_ns for _, stamp_ns, _ in plain] == [stamp_ns for _, stamp_ns, _ in twice]
    assert all(np.array_equal(one[2], other[2]) for one, other in zip(plain, twice, strict=True))


def test_a_recorder_learns_the_size_from_a_compressed_picture_and_a_repair_keeps_them(tmp_path):
    recording = Recording(tmp_path / "e", Contract(), 10**8)
    for number in range(3):
        packed = serialize(fill_compressed(blank(), stripes(), STAMP_NS + number, "front"))
        recording.put(FRONT + wire.COMPRESSED, STAMP_NS + number, packed)
    recording.close("kept")
    assert bags.read_meta(tmp_path / "e").contract.image_hw == (48, 64)
    file = tmp_path / "e" / "e.mcap"
    file.write_bytes(file.read_bytes()[:-10])
    assert repair(tmp_path / "e", settled_s=0).startswith("3 of 3 messages kept")


def test_the_deployment_says_whether_pictures_are_recorded_compressed():
    given = {"lab": "true", "device": "scripted"}
    for text, parameters in (("true", {"compressed": True}), ("false", {})):
        deployment = Deployment.parse(given | {"compressed": text})
        recorder = next(one for one in graph("teleop", deployment) if one.name == "recorder")
        assert {k: v for k, v in recorder.parameters.items() if k == "compressed"} == parameters

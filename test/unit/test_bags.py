"""Episodes come back from disk as they were written, and damage is named rather than read over."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from bag_messages import CONTRACT, MS, START_NS, image, joints, messages, recording, write_episode
from rosbags.highlevel import AnyReader

from como_ros import bags, wire
from como_ros.bag_writer import UNFINISHED
from como_ros.errors import ComoError
from como_ros.typestore import message, serialize
from policies.spaces import Contract, ContractError, Observation
from policies.timeline import Gap, Timeline, observation_streams, replay


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return write_episode(tmp_path / "episode_000000")


def keys_or_error(episode: Path) -> list[tuple[str, int]] | str:
    try:
        return [(key, stamp_ns) for key, stamp_ns, _ in bags.read_events(episode)]
    except ComoError as error:
        return str(error)


# Round trip


def test_an_episode_says_what_it_was_recorded_for(episode):
    meta = bags.read_meta(episode)
    assert meta.contract == CONTRACT
    assert (meta.instruction, meta.outcome, meta.closed) == ("pick up the cube", "success", True)
    assert meta.provenance == {"seed": "7", "calibration": "{}"}
    assert meta.git_hash == bags.git_hash() != ""


def test_events_come_back_in_capture_order_with_their_values(episode):
    events = list(bags.read_events(episode))
    stamps = [stamp_ns for _, stamp_ns, _ in events]
    assert stamps == sorted(stamps)
    assert len(events) == len(messages())
    front = [value for key, _, value in events if key == "images/front"]
    np.testing.assert_array_equal(front[3], wire.image_from_msg(image(3, 0)))


def test_arrivals_come_back_in_the_order_of_arrival(episode):
    arrived = [(a.arrived_ns, a.stamp_ns) for a in bags.read_arrivals(episode)]
    assert arrived == [(arrived_ns, wire.stamp_ns(msg)) for arrived_ns, _, msg in messages()]


def test_a_bag_gives_the_observations_that_a_live_loop_would_have_had(episode):
    ticks = [START_NS + i * 50 * MS for i in range(22)]
    live = [(arrived_ns, *wire.decode(topic, msg, arrived_ns)) for arrived_ns, topic, msg in messages()]
    seen_live = list(replay(Timeline(observation_streams(CONTRACT)), live, ticks))
    seen_in_bag = list(replay(Timeline(observation_streams(CONTRACT)), bags.read_arrivals(episode), ticks))
    assert isinstance(seen_live[0], Gap)
    assert sum(isinstance(seen, Observation) for seen in seen_live) == 21
    for one, other in zip(seen_live, seen_in_bag, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Observation) and isinstance(other, Observation):
            assert one.stamps_ns == other.stamps_ns
            assert one.state.tobytes() == other.state.tobytes()
            assert one.images["wrist"].tobytes() == other.images["wrist"].tobytes()


def test_raw_bytes_reach_the_file_unchanged(tmp_path):
    cdr = serialize(joints(START_NS))
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    writer.write("/arm/joint_states", START_NS + 5, cdr)
    writer.close("kept")
    with AnyReader([tmp_path / "e"]) as reader:
        assert [(stamp_ns, raw) for _, stamp_ns, raw in reader.messages()] == [(START_NS + 5, cdr)]


def test_text_is_stamped_with_its_arrival(tmp_path):
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    writer.write_message("/policy/instruction", message("std_msgs/msg/String", data="stack"), 99)
    writer.close("kept")
    assert list(bags.read_events(tmp_path / "e")) == [("instruction", 99, "stack")]


def test_episodes_are_listed_by_name_and_one_episode_is_a_list_of_itself(tmp_path):
    paths = [write_episode(tmp_path / f"episode_{i:06d}", seconds=0.1) for i in (1, 0)]
    (tmp_path / "notes").mkdir()
    assert bags.episodes(tmp_path) == sorted(paths)
    assert bags.episodes(paths[0]) == [paths[0]]


def test_writing_is_much_faster_than_real_time(tmp_path):
    big = [image(i, START_NS, 128) for i in range(10)]
    writer = bags.EpisodeWriter(tmp_path / "e", Contract())
    began = time.perf_counter()
    for i in range(100):
        for camera in ("front", "wrist"):
            writer.write_message(f"/{camera}/color/image_raw", big[i % 10], START_NS + i * 100 * MS)
        for k in range(10):
            writer.write_message("/arm/joint_states", joints(START_NS + (10 * i + k) * 10 * MS), START_NS)
    writer.close("success")
    assert time.perf_counter() - began < 10.0 / 4


# Interrupted and damaged episodes


def test_an_episode_whose_writer_died_reads_up_to_its_last_flush(tmp_path):
    folder = tmp_path / "e"
    writer = bags.EpisodeWriter(folder, CONTRACT, "pick up the cube")
    for arrived_ns, topic, msg in messages():
        writer.write_message(topic, msg, arrived_ns)
    writer.flush()
    writer.write_message("/arm/joint_states", joints(START_NS), START_NS)  # never flushed
    meta = bags.read_meta(folder)
    assert (meta.outcome, meta.instruction, meta.closed) == (bags.INTERRUPTED, "pick up the cube", False)
    assert len(list(bags.read_events(folder))) == len(messages())


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_an_unfinished_recording_cut_anywhere_reads_up_to_the_cut(tmp_path, kept):
    folder = tmp_path / "e"
    writer = bags.EpisodeWriter(folder, CONTRACT)
    for i, (arrived_ns, topic, msg) in enumerate(messages()):
        writer.write_message(topic, msg, arrived_ns)
        if i % 20 == 19:
            writer.flush()
    writer.flush()
    whole = recording(folder).read_bytes()
    recording(folder).write_bytes(whole[: int(kept * len(whole))])
    found = list(bags.read_events(folder))
    assert 0 < len(found) < len(messages())
    assert len(found) % 20 == 0


def test_a_closed_recording_that_was_cut_short_is_refused_before_anything_is_read(episode):
    whole = recording(episode).read_bytes()
    recording(episode).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(bags.BagError, match=r"episode_000000\.mcap is cut short"):
        next(bags.read_events(episode))


def test_flipped_bits_are_found_and_the_file_is_named(episode):
    whole = bytearray(recording(episode).read_bytes())
    whole[len(whole) // 2] ^= 0x10
    recording(episode).write_bytes(whole)
    with pytest.raises(ComoError, match=r"episode_000000\.mcap, byte \d+: the chunk is damaged"):
        list(bags.read_events(episode))


def test_no_flipped_bit_is_read_over(tmp_path):
    folder = write_episode(tmp_path / "e")
    whole, good = recording(folder).read_bytes(), keys_or_error(folder)
    for at in np.random.default_rng(1).integers(0, len(whole) - 5000, 60):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(at) % 8
        recording(folder).write_bytes(broken)
        found = keys_or_error(folder)
        assert found == good or str(folder) in found, f"byte {at}"


def test_a_message_that_breaks_its_promise_is_named_by_file_topic_and_stamp(tmp_path):
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    broken = joints(START_NS)
    broken.position[2] = np.nan
    writer.write_message("/arm/joint_states", broken, START_NS)
    writer.close("kept")
    with pytest.raises(bags.BagError, match=rf"e\.mcap: /arm/joint_states at {START_NS} ns.*not finite"):
        list(bags.read_events(tmp_path / "e"))


def test_another_contract_is_refused_with_every_difference(episode):
    other = Contract(robot="fr3", action_rate_hz=20)
    with pytest.raises(ContractError, match=r"bag .*robot: 'fr3' != 'panda'.*action_rate_hz: 20 != 10\.0"):
        bags.read_meta(episode, expected=other)


def test_a_contract_of_another_version_is_refused_by_the_bags_name(episode):
    metadata = episode / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace('"robot"', '"rabbit"'))
    with pytest.raises(bags.BagError, match=r"episode_000000: contract has unknown keys \['rabbit'\]"):
        bags.read_meta(episode)


def test_damaged_metadata_is_named(episode):
    (episode / "metadata.yaml").write_text("{")
    with pytest.raises(bags.BagError, match="damaged metadata"):
        bags.read_meta(episode)


def test_files_that_metadata_lists_in_no_list_are_damage(episode):
    metadata = episode / "metadata.yaml"
    listed, text = f"relative_file_paths:\n  - {recording(episode).name}", metadata.read_text()
    assert listed in text
    metadata.write_text(text.replace(listed, "relative_file_paths: 7"))
    with pytest.raises(bags.BagError, match="damaged metadata"):
        list(bags.read_events(episode))


@pytest.mark.parametrize(("key", "noted"), [("flags", "{"), ("flags", "5"), ("drops", "[1]"), ("drops", "x")])
def test_what_the_recorder_noted_is_never_guessed_at(tmp_path, key, noted):
    bags.EpisodeWriter(tmp_path / "e", CONTRACT).close("kept", **{key: noted})
    with pytest.raises(bags.BagError, match=rf"/e: its {key} are"):
        bags.read_meta(tmp_path / "e")


def test_a_time_that_nobody_can_count_to_is_damage(tmp_path):
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    writer.write_message("/arm/joint_states", joints(START_NS), 2**63 + 5)
    writer.close("kept")
    with pytest.raises(ComoError, match=r"e\.mcap, byte \d+: .*logged at 9223372036854775813 ns"):
        list(bags.read_events(tmp_path / "e"))


def test_a_bag_without_a_contract_is_refused(tmp_path):
    folder = write_episode(tmp_path / "e", seconds=0.1)
    (folder / "metadata.yaml").unlink()
    (folder / UNFINISHED).write_text(json.dumps({"outcome": "kept"}))
    with pytest.raises(bags.BagError, match="embeds no contract"):
        bags.read_meta(folder)


def test_an_existing_folder_is_never_overwritten(episode):
    with pytest.raises(bags.BagError, match="exists already"):
        bags.EpisodeWriter(episode, CONTRACT)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(bags.BagError, match=r"cannot write .*file/e \(Not a directory\)"):
        bags.EpisodeWriter(tmp_path / "file" / "e", CONTRACT)
    (tmp_path / "link").symlink_to("nowhere/at/all")
    with pytest.raises(bags.BagError, match=r"cannot write .*link/e \(.*exists already"):
        bags.EpisodeWriter(tmp_path / "link" / "e", CONTRACT)


def test_only_topics_on_the_wire_are_written(tmp_path):
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    with pytest.raises(wire.WireError, match="/arm/joint_state' is not on the wire"):
        writer.write("/arm/joint_state", START_NS, b"")


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(bags.BagError, match="is no folder"):
        bags.episodes(tmp_path / "nowhere")
    with pytest.raises(bags.BagError, match="is no episode"):
        bags.read_meta(tmp_path)

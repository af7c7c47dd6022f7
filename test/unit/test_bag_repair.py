"""What a killed recorder or a cut file left behind becomes a bag that every reader opens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bag_messages import CONTRACT, START_NS, as_sqlite, joints, messages, recording, write_episode
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from como_ros import bags
from como_ros.bag_checks import run_check
from como_ros.bag_meta import custom_data
from como_ros.bag_repair import ASIDE, needs_repair, repair

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""Every chunk's records begin with it."""
KILLED = """
import sys, time
sys.path[:0] = {path!r}
from bag_messages import CONTRACT, joints
from como_ros import bags
writer = bags.EpisodeWriter({folder!r}, CONTRACT, "pick up the cube", task="pick_place")
for i in range(100_000):
    stamp_ns = time.time_ns()
    writer.write_message("/arm/joint_states", joints(stamp_ns), stamp_ns)
    print(stamp_ns, flush=True)
    time.sleep(0.005)
"""


def stamps(episode: Path) -> list[int]:
    return [row.stamp_ns for row in bags.read_arrivals(episode)]


def old(episode: Path) -> Path:
    """As if nobody had written to it for a minute."""
    for file in episode.iterdir():
        os.utime(file, (time.time() - 60,) * 2)
    return episode


def unfinished(folder: Path) -> Path:
    writer = bags.EpisodeWriter(folder, CONTRACT, "pick up the cube", seed=7)
    for i, (arrived_ns, topic, msg) in enumerate(messages()):
        writer.write_message(topic, msg, arrived_ns)
        if i % 20 == 19:
            writer.flush()
    return old(folder)


def test_a_killed_recording_loses_less_than_a_second_and_is_repaired(tmp_path):
    episode = tmp_path / "episode_000000"
    program = KILLED.format(path=[str(Path(__file__).parents[1]), os.getcwd()], folder=str(episode))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        written = [int(child.stdout.readline()) for _ in range(120)]
        child.send_signal(signal.SIGKILL)
        written += [int(line) for line in child.stdout if line.strip()]
    found = stamps(episode)
    assert found == written[: len(found)]
    assert written[-1] - found[-1] < 1_000_000_000
    repair(old(episode))
    assert stamps(episode) == found
    meta = bags.read_meta(episode)
    assert (meta.closed, meta.outcome, meta.instruction) == (True, bags.INTERRUPTED, "pick up the cube")


def test_a_repaired_bag_opens_in_other_readers_with_the_same_messages(tmp_path):
    episode = unfinished(tmp_path / "e")
    found = [row.arrived_ns for row in bags.read_arrivals(episode)]
    repair(episode)
    with AnyReader([episode]) as reader:
        assert [stamp_ns for _, stamp_ns, _ in reader.messages()] == found
    with recording(episode).open("rb") as file:
        assert make_reader(file).get_summary().statistics.message_count == len(found)


def test_a_closed_recording_that_was_cut_keeps_what_is_whole_and_says_so(tmp_path):
    episode = write_episode(tmp_path / "e")
    whole = stamps(episode)
    cut = tmp_path / "other"
    unfinished(cut)
    raw = recording(cut).read_bytes()
    recording(episode).write_bytes(raw[: len(raw) // 2])
    said = repair(old(episode))
    assert 0 < len(stamps(episode)) < len(whole)
    assert said.startswith(f"{len(stamps(episode))} of {len(whole)} messages kept")
    assert bags.read_meta(episode).outcome == "success"
    assert bags.read_meta(episode).provenance["repaired"].startswith(f"{len(stamps(episode))} of")


def test_damage_in_the_middle_keeps_what_comes_before_and_names_it(tmp_path):
    episode = unfinished(tmp_path / "e")
    raw = bytearray(recording(episode).read_bytes())
    raw[raw.index(ZSTD_MAGIC, len(raw) // 2) + 40] ^= 4
    recording(episode).write_bytes(raw)
    assert needs_repair(episode)
    assert "the chunk is damaged" in repair(old(episode))
    assert 0 < len(stamps(episode)) < len(messages())


def test_a_killed_sqlite_recording_is_mended_as_well(tmp_path):
    """`como bags check` sends everybody to --repair, which did nothing with it."""
    episode = as_sqlite(write_episode(tmp_path / "whole", seconds=0.2), tmp_path / "in" / "e", packed=True)
    (episode / "unfinished.json").write_text(json.dumps(custom_data(episode)[0]))
    (episode / "metadata.yaml").unlink()
    found = stamps(old(episode))
    assert "--repair" in run_check(tmp_path / "in")["episodes"][0]["problems"][0]
    (row,) = run_check(tmp_path / "in", repair=True)["episodes"]
    assert (row["ok"], row["repaired"].partition(" messages")[0]) == (True, str(len(found)))
    assert stamps(episode) == found


def test_the_original_is_moved_aside_unchanged(tmp_path):
    episode = unfinished(tmp_path / "e")
    before = recording(episode).read_bytes()
    repair(episode)
    assert recording(tmp_path / ASIDE / "e").read_bytes() == before
    assert bags.episodes(tmp_path) == [episode]


def test_a_repair_that_was_killed_between_its_two_moves_is_told_and_brought_to_its_end(tmp_path):
    """The episode was nowhere to be seen, and the next repair deleted the whole one."""
    episode = unfinished(tmp_path / "e")
    found = stamps(episode)
    repair(episode)
    (tmp_path / f".{ASIDE}").mkdir()
    episode.rename(tmp_path / f".{ASIDE}" / "e")
    (row,) = run_check(tmp_path)["episodes"]
    assert (row["path"], row["ok"]) == (str(episode), False)
    assert "--repair" in row["problems"][0]
    (row,) = run_check(tmp_path, repair=True)["episodes"]
    assert row["repaired"].endswith(f"the original is in {tmp_path / ASIDE / 'e'}")
    assert stamps(episode) == found
    assert len(run_check(tmp_path)["episodes"]) == 1


def test_a_whole_episode_is_left_alone(tmp_path):
    assert not needs_repair(write_episode(tmp_path / "e", seconds=0.1))


def test_a_recording_that_may_still_be_open_is_not_touched(tmp_path):
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    writer.write_message("/arm/joint_states", joints(START_NS), START_NS)
    writer.flush()
    with pytest.raises(bags.BagError, match="may still be recorded"):
        repair(tmp_path / "e")


def test_an_episode_that_is_still_being_recorded_is_not_sent_to_be_repaired(tmp_path):
    """Which would have refused it."""
    writer = bags.EpisodeWriter(tmp_path / "e", CONTRACT)
    writer.write_message("/arm/joint_states", joints(START_NS), START_NS)
    writer.flush()
    assert run_check(tmp_path)["episodes"][0]["problems"][0].startswith("it is still being recorded")


def test_checking_with_repair_mends_what_it_can_and_names_what_it_cannot(tmp_path):
    write_episode(tmp_path / "episode_000000")
    unfinished(tmp_path / "episode_000001")
    empty = bags.EpisodeWriter(tmp_path / "episode_000002", CONTRACT)
    empty.flush()
    old(empty.path)
    before = run_check(tmp_path)["episodes"]
    assert [row["ok"] for row in before] == [True, False, False]
    assert "--repair" in before[1]["problems"][0]
    after = run_check(tmp_path, repair=True)["episodes"]
    assert [row["ok"] for row in after] == [True, True, False]
    assert after[0]["repaired"] == ""
    assert f"{len(messages())} messages kept" in after[1]["repaired"]
    assert "no whole message" in after[2]["repaired"]


def test_nothing_is_repaired_over_an_earlier_original(tmp_path):
    (tmp_path / ASIDE / "e").mkdir(parents=True)
    with pytest.raises(bags.BagError, match="never overwritten"):
        repair(unfinished(tmp_path / "e"))

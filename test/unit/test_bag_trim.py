"""Idle ends are found and said; only copies are cut, and they keep what holds from before the cut."""

from pathlib import Path

import numpy as np
import pytest

from como_ros import bags, wire
from como_ros.bag_trim import find_idle, run_trim
from como_ros.bags import BagError, message
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000


def write(folder: Path, moves_s: tuple[float, float], seconds: float = 6.0, grips_s: float = -1.0) -> Path:
    """The arm at 50 Hz, along x at 0.1 m/s from one moment to another; the hand closes at `grips_s`."""
    writer = bags.EpisodeWriter(folder, Contract(), "pick", seed=4)
    writer.write_message("/policy/instruction", message("std_msgs/msg/String", data="pick"), START_NS)
    for number in range(round(seconds * 50)):
        at_s, now = number / 50, START_NS + number * 20_000_000
        pose7 = np.array([0.1 * np.clip(at_s - moves_s[0], 0, moves_s[1] - moves_s[0]), 0, 0.3, 1, 0, 0, 0])
        width = 0.0 if 0 <= grips_s <= at_s else 0.08
        pose, joints = message("geometry_msgs/msg/PoseStamped"), message("sensor_msgs/msg/JointState")
        writer.write_message("/arm/ee_pose", wire.fill_pose(pose, pose7, now), now)
        writer.write_message(
            "/arm/joint_states", wire.fill_joint_states(joints, np.zeros(7), np.zeros(7), width, now), now
        )
    writer.close("success")
    return folder


def test_idle_time_at_both_ends_is_found_but_for_a_moment_to_begin_and_to_stop(tmp_path):
    idle = find_idle(write(tmp_path / "e", moves_s=(2.0, 4.0)))
    assert idle.lead_s == pytest.approx(2.0 - 0.3, abs=0.06)
    assert idle.tail_s == pytest.approx(2.0 - 0.5, abs=0.06)


def test_a_hand_that_works_while_the_arm_stands_is_not_idle(tmp_path):
    idle = find_idle(write(tmp_path / "e", moves_s=(2.0, 4.0), grips_s=5.4))
    assert idle.tail_s == 0.0


def test_nothing_is_written_unless_asked_for(tmp_path):
    episode = write(tmp_path / "in" / "e", moves_s=(2.0, 4.0))
    before = sorted(path.read_bytes() for path in episode.iterdir())
    result = run_trim(tmp_path / "in")
    assert result["idle_s"] == pytest.approx(3.2, abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert sorted(path.read_bytes() for path in episode.iterdir()) == before


def test_a_trimmed_copy_says_so_and_keeps_the_instruction(tmp_path):
    write(tmp_path / "in" / "e", moves_s=(2.0, 4.0))
    run_trim(tmp_path / "in", tmp_path / "out")
    events = list(bags.read_events(tmp_path / "out" / "e"))
    stamps = [stamp for key, stamp, _ in events if key == "ee_pose"]
    assert (stamps[-1] - stamps[0]) / 1e9 == pytest.approx(2.8, abs=0.1)
    assert [value for key, _, value in events if key == "instruction"] == ["pick"]
    meta = bags.read_meta(tmp_path / "out" / "e")
    assert (meta.outcome, meta.instruction, meta.provenance["seed"]) == ("success", "pick", "4")
    assert meta.provenance["trimmed"].startswith("1.7")


def test_an_episode_that_cannot_be_trimmed_keeps_no_other_from_it(tmp_path):
    write(tmp_path / "in" / "a", moves_s=(9.0, 9.0))
    write(tmp_path / "in" / "b", moves_s=(2.0, 4.0))
    standing, moving = run_trim(tmp_path / "in", tmp_path / "out")["rows"]
    assert "nothing moves in it" in standing["problem"]
    assert (moving["problem"], moving["lead_s"]) == ("", pytest.approx(1.7, abs=0.06))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]


def test_an_episode_whose_clock_was_set_back_is_not_cut_by_it(tmp_path):
    writer = bags.EpisodeWriter(tmp_path / "e", Contract(), "pick")
    for now in (START_NS, START_NS + 20_000_000, START_NS - 20_000_000_000):
        pose, joints = message("geometry_msgs/msg/PoseStamped"), message("sensor_msgs/msg/JointState")
        pose7 = np.array([(now - START_NS) / 1e9, 0, 0.3, 1, 0, 0, 0])
        writer.write_message("/arm/ee_pose", wire.fill_pose(pose, pose7, now), now)
        writer.write_message(
            "/arm/joint_states", wire.fill_joint_states(joints, np.zeros(7), np.zeros(7), 0.08, now), now
        )
    writer.close("success")
    with pytest.raises(BagError, match="clock was set back"):
        find_idle(tmp_path / "e")


def test_an_episode_in_which_nothing_moves_is_refused(tmp_path):
    with pytest.raises(BagError, match="nothing moves in it"):
        find_idle(write(tmp_path / "e", moves_s=(9.0, 9.0)))

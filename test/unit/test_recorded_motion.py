"""What an operator commanded comes back in time, and what cannot be driven again is refused by name."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from como_ros import wire
from como_ros.bags import BagError, EpisodeWriter, message
from como_ros.recorded_motion import Track, errors_mm, read_motion
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000
POINT = partial(message, "trajectory_msgs/msg/JointTrajectoryPoint")
DURATION = partial(message, "builtin_interfaces/msg/Duration")


def pose(x: float) -> np.ndarray:
    return np.array([x, 0, 0.3, 1, 0, 0, 0])


def write(folder: Path, commands: int = 50, measured: bool = True, silent: range = range(0)) -> Path:
    """The arm stands for 0.2 s, then is commanded along x at 0.5 m/s, 1 cm ahead of where it is.

    Without the set-points of the numbers in `silent`.
    """
    writer = EpisodeWriter(folder, Contract(), "pick", seed=3, task="pick_place")
    for number in range(70):
        now, metres = START_NS + number * 20_000_000, max(0, number - 10) * 0.01
        if measured:
            blank = message("geometry_msgs/msg/PoseStamped")
            writer.write_message("/arm/ee_pose", wire.fill_pose(blank, pose(metres), now), now)
        if 10 <= number < 10 + commands and number not in silent:
            blank = message("geometry_msgs/msg/PoseStamped")
            writer.write_message("/arm/command/pose", wire.fill_pose(blank, pose(metres + 0.01), now), now)
        if number == 30:
            width = message("trajectory_msgs/msg/JointTrajectory")
            wire.fill_widths(width, [0.0], now, POINT, DURATION)
            writer.write_message("/gripper/command", width, now)
    writer.close("success")
    return folder


def test_commands_and_widths_are_timed_from_the_first_set_point(tmp_path):
    motion = read_motion(write(tmp_path / "e"))
    assert motion.duration_s == pytest.approx(0.98)
    assert motion.commanded.at(0.0)[0] == pytest.approx(0.01)
    assert motion.commanded.at(0.51)[0] == pytest.approx(0.265)
    assert motion.commanded.at(-1.0)[0] == pytest.approx(0.01)
    assert motion.commanded.at(9.0)[0] == pytest.approx(0.5)
    assert (motion.width_at(0.39), motion.width_at(0.41)) == (None, 0.0)


def test_two_runs_are_compared_where_both_were_at_the_same_time(tmp_path):
    measured = read_motion(write(tmp_path / "e")).measured
    late = Track(measured.times_s + 0.02, measured.poses7)
    assert errors_mm(measured, measured, 1.0).max() == 0
    assert errors_mm(measured, late, 0.9)[5:] == pytest.approx(10, abs=1e-6)


def test_a_motion_with_a_hole_is_refused_with_the_gap_and_an_operators_pause_is_not(tmp_path):
    with pytest.raises(BagError, match=r"lacks set-points from 0.18 to 0.50 s, 160 mm and 0 degrees apart: "):
        read_motion(write(tmp_path / "holed", silent=range(20, 35)))
    assert read_motion(write(tmp_path / "e", silent=range(20, 29))).duration_s == pytest.approx(0.98)
    times_s = np.array([0.0, 0.02, 3.0, 3.02])
    paused = Track(times_s, np.array([pose(0.1), pose(0.1), pose(0.109), pose(0.11)]))
    assert paused.holes() == []


def test_what_the_arm_did_while_nothing_was_heard_is_compared_with_nothing():
    times_s = np.arange(0, 1, 0.02)
    driven = Track(times_s, np.array([pose(time) for time in times_s]))
    silent = (times_s > 0.3) & (times_s < 0.7)
    heard = Track(times_s[~silent], driven.poses7[~silent] + 0.01 * np.eye(7)[1])
    errors = errors_mm(driven, heard, 1.0)
    assert len(errors) == (~silent).sum() - 1
    assert errors == pytest.approx(10, abs=1e-6)
    with pytest.raises(BagError, match="said nothing"):
        errors_mm(driven, Track(times_s + 9, driven.poses7), 1.0)


def test_a_motion_whose_clock_was_set_back_is_refused_and_not_put_in_order_by_its_stamps(tmp_path):
    """Half a second back, the set-points of two places alternated."""
    writer = EpisodeWriter(tmp_path / "e", Contract(), "pick")
    for number in range(50):
        now = START_NS + number * 20_000_000
        stamp_ns = now - (500_000_000 if number > 30 else 0)
        for topic in ("/arm/ee_pose", "/arm/command/pose"):
            told = wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), pose(number * 0.01), stamp_ns)
            writer.write_message(topic, told, now)
    writer.close("success")
    with pytest.raises(BagError, match=r"the clock of command_pose was set back by 0\.48 s"):
        read_motion(tmp_path / "e")


def test_an_episode_that_no_operator_drove_is_refused(tmp_path):
    with pytest.raises(BagError, match=r"holds 0 set-points of an operator, 10 needed; give an episode that"):
        read_motion(write(tmp_path / "e", commands=0))


def test_an_episode_without_the_arms_poses_is_refused(tmp_path):
    with pytest.raises(BagError, match="does not say where the arm was"):
        read_motion(write(tmp_path / "e", measured=False))

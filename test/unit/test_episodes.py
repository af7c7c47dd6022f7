"""Bags and clips as arrays: ticks, held commands, what is left out and why."""

import json
import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_messages import MS, START_NS, ee_pose, image, joints
from clips import write_clip
from short_episode import CONTRACT, write_episode

from como_ros.bag_writer import EpisodeWriter
from policies.spaces import GRIPPER, Contract
from training.episodes import load_episode, load_episodes
from training.frames import store_of
from training.videos import read_clip, read_clips

UNTURNED = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
TURNED_RIGHT = (0, 0x10000, 0, -0x10000, 0, 0, 32 << 16, 0, 0x40000000)
"""The matrix in an mp4 file by which a player turns the picture."""


def test_an_episode_is_sampled_on_its_ticks(tmp_path):
    write_episode(tmp_path / "a")
    contract, (episode,) = load_episodes(tmp_path)
    assert contract == CONTRACT
    assert len(episode) == 11
    assert episode.images["wrist"][:, 0, 0, 0].tolist() == list(range(0, 101, 10))
    assert np.allclose(episode.states[:, 0], np.arange(11) / 10, atol=1e-6)
    assert np.allclose(episode.command_poses[:, 0], np.arange(11) / 10 + 0.01)


def test_before_the_first_gripper_command_the_measured_width_holds(tmp_path):
    write_episode(tmp_path / "a")
    (episode,) = load_episodes(tmp_path)[1]
    assert episode.command_widths[:5].tolist() == pytest.approx([0.08] * 5)
    assert episode.command_widths[5:].tolist() == [0.0] * 6
    assert episode.states[:, GRIPPER].tolist() == pytest.approx([0.08] * 11)


def test_pictures_that_nobody_framed_are_learned_from_at_the_usual_size(tmp_path):
    write_episode(tmp_path / "a", image_hw=(240, 320))
    contract, (episode,) = load_episodes(tmp_path)
    assert contract.image_hw == (128, 128)
    assert episode.images["front"].shape == (11, 128, 128, 3)
    assert episode.images["wrist"][:, 5, 7, 0].tolist() == list(range(0, 101, 10))


def test_episodes_that_ended_badly_are_left_out(tmp_path, capsys):
    write_episode(tmp_path / "a", "failure: dropped")
    with pytest.raises(ValueError, match="no good episodes"):
        load_episodes(tmp_path)
    write_episode(tmp_path / "b", "kept")
    assert len(load_episodes(tmp_path)[1]) == 1
    assert "1 of 2 episodes" in capsys.readouterr().err


def test_an_episode_that_was_flagged_while_recorded_is_left_out_by_name_unless_asked_for(tmp_path, capsys):
    write_episode(tmp_path / "a", flags=("images/front silent for 2.1 s, first at 3.0 s",))
    write_episode(tmp_path / "b")
    assert [e.path.name for e in load_episodes(tmp_path)[1]] == ["b"]
    said = capsys.readouterr().err
    assert f"{tmp_path / 'a'} was flagged while it was recorded (images/front silent for 2.1 s" in said
    assert "--include-flagged" in said
    assert [e.path.name for e in load_episodes(tmp_path, include_flagged=True)[1]] == ["a", "b"]


def test_an_operator_who_never_worked_the_gripper_left_it_as_it_was_measured(tmp_path):
    write_episode(tmp_path / "a", close_at_ms=-1)
    (episode,) = load_episodes(tmp_path)[1]
    assert episode.command_widths.tolist() == pytest.approx([0.08] * 11)
    assert np.allclose(episode.command_poses[:, 0], np.arange(11) / 10 + 0.01)


def test_an_episode_without_commands_cannot_be_learned_from(tmp_path, capsys):
    write_episode(tmp_path / "a", without=("/arm/command/pose",))
    with pytest.raises(ValueError, match="no good episodes"):
        load_episodes(tmp_path)
    assert "holds no operator's commands" in capsys.readouterr().err
    write_episode(tmp_path / "b")
    assert [e.path.name for e in load_episodes(tmp_path)[1]] == ["b"]


@pytest.mark.parametrize(
    ("spoiled", "why"),
    [
        ({"ends_ms": 60}, "no two usable ticks in a row (it is too short)"),
        ({"without": ("/wrist/color/image_raw",)}, "(images/wrist: nothing received yet)"),
        ({"pictures_hw": (8, 8)}, "front is (8, 8), its contract says (16, 16)"),
        ({"first_command_ns": 0}, "/a has commands stamped from 0 to 1700000001000000000 ns"),
    ],
)
def test_an_unusable_episode_is_left_out_with_the_reason_and_the_rest_still_reads(
    tmp_path, capsys, spoiled, why
):
    write_episode(tmp_path / "a", **spoiled)
    write_episode(tmp_path / "b")
    assert [e.path.name for e in load_episodes(tmp_path)[1]] == ["b"]
    assert "left out:" in (said := capsys.readouterr().err)
    assert why in said


def test_actions_never_reach_across_a_hole_in_the_recording(tmp_path):
    write_episode(tmp_path / "a", blind_ms=(200, 700))
    parts = load_episodes(tmp_path)[1]
    assert [part.path.name for part in parts] == ["a", "a.1"]
    for part in parts:
        assert np.allclose(np.diff(part.command_poses[:, 0]), 0.1)


def test_evaluation_seeds_are_refused_for_training_and_read_for_measuring(tmp_path):
    write_episode(tmp_path / "a", seed=10_000)
    with pytest.raises(ValueError, match="comes from seed 10000"):
        load_episodes(tmp_path)
    assert len(load_episodes(tmp_path, measuring=True)[1]) == 1


def cut_short(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-200])


def flip_a_bit(recording: Path) -> None:
    raw = bytearray(recording.read_bytes())
    raw[raw.index(b"\x28\xb5\x2f\xfd") + 100] ^= 1
    recording.write_bytes(raw)


def hide(recording: Path) -> None:
    recording.unlink()
    recording.mkdir()


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, hide])
def test_a_damaged_bag_is_left_out_by_name_and_the_rest_still_reads(tmp_path, capsys, damage):
    for name in ("a", "b"):
        write_episode(tmp_path / name)
    (recording,) = (tmp_path / "a").glob("*.mcap")
    damage(recording)
    assert [e.path.name for e in load_episodes(tmp_path)[1]] == ["b"]
    assert "left out:" in (said := capsys.readouterr().err)
    assert recording.name in said


def test_a_clip_is_resampled_cropped_and_resized(tmp_path):
    write_clip(tmp_path / "hand.mp4")
    clip = read_clip(tmp_path / "hand.mp4", 10.0, (16, 16))
    assert clip.frames.shape == (6, 16, 16, 3)
    assert np.allclose(clip.frames[:, 8, 8, 0], np.arange(6) * 40, atol=12)


def test_a_clip_that_was_filmed_upright_is_turned_as_a_player_turns_it(tmp_path):
    clip = tmp_path / "hand.mp4"
    write_clip(clip, left_is_white=True)
    lying = read_clip(clip, 10.0, (32, 48)).frames[0]
    assert lying[:, :20].mean() > 200 > 50 > lying[:, 28:].mean()
    raw = bytearray(clip.read_bytes())
    at = raw.index(struct.pack(">9i", *UNTURNED), raw.index(b"tkhd"))
    raw[at : at + 36] = struct.pack(">9i", *TURNED_RIGHT)
    clip.write_bytes(raw)
    upright = read_clip(clip, 10.0, (48, 32)).frames[0]
    assert upright[:20].mean() > 200 > 50 > upright[28:].mean()


@pytest.mark.parametrize(
    ("times_ms", "levels"),
    [
        (range(0, 1000, 200), [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        ([0, 50, 100, 150, 600, 650, 700, 750], [0, 2, 3, 3, 3, 3, 4, 6]),
        (range(0, 500, 50), [0, 2, 4, 6, 8]),
    ],
)
def test_time_passes_in_a_clip_as_it_did_before_the_camera(tmp_path, times_ms, levels):
    """Slow clips and those with a hole keep the picture that was shown meanwhile."""
    write_clip(tmp_path / "hand.mp4", times_ms=list(times_ms))
    frames = read_clip(tmp_path / "hand.mp4", 10.0, (16, 16)).frames
    assert np.round(frames[:, 8, 8, 0] / 20).tolist() == levels


def test_a_clip_with_damaged_times_is_refused_before_it_fills_the_memory(tmp_path):
    write_clip(tmp_path / "hand.mp4", times_ms=[0, 100, 90_000])
    with pytest.raises(ValueError, match=r"hand\.mp4 shows one picture from 0\.2 to 90\.0 s"):
        read_clip(tmp_path / "hand.mp4", 10.0, (16, 16))


def write_pictures(folder: Path, count: int = 12, height: int = 32) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(
            str(folder / f"frame_{index}.png"), np.full((height, 48, 3), (0, 0, 20 * index), np.uint8)
        )


def test_a_folder_of_pictures_is_a_clip_at_the_rate_that_it_states(tmp_path):
    write_pictures(tmp_path / "kitchen")
    (tmp_path / "kitchen" / "index.json").write_text('{"fps": 20}')
    (tmp_path / "index.json").write_text('{"instructions": {"kitchen": "wipe"}}')
    ((clip,), skipped) = read_clips(tmp_path, 10.0, (16, 16))
    assert (skipped, clip.instruction, clip.name.partition("-")[0]) == ([], "wipe", "kitchen")
    assert clip.frames[:, 8, 8, 0].tolist() == [0, 40, 80, 120, 160, 200]
    assert not clip.frames[..., 1:].any()


def test_pictures_without_a_rate_or_of_several_sizes_are_left_out_with_the_reason(tmp_path):
    write_pictures(tmp_path / "a")
    write_pictures(tmp_path / "b")
    write_pictures(tmp_path / "b", count=3, height=24)
    (tmp_path / "b" / "index.json").write_text('{"fps": 10}')
    write_clip(tmp_path / "hand.mp4")
    (clip,), skipped = read_clips(tmp_path, 10.0, (16, 16))
    assert clip.path.name == "hand.mp4"
    assert 'write {"fps": 15} into' in skipped[0]
    assert "frame_3.png is (32, 48), the first picture of its folder is (24, 48)" in skipped[1]


def test_a_damaged_index_is_one_sentence(tmp_path):
    write_clip(tmp_path / "hand.mp4")
    (tmp_path / "index.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"index\.json is damaged"):
        read_clip(tmp_path / "hand.mp4", 10.0, (16, 16))


def test_broken_clips_are_listed_and_skipped(tmp_path, capsys):
    write_clip(tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    (tmp_path / "index.json").write_text(json.dumps({"instructions": {"good.mp4": "pick"}}))
    clips, skipped = read_clips(tmp_path, 10.0, (16, 16))
    assert [clip.instruction for clip in clips] == ["pick"]
    assert len(skipped) == 1
    assert "bad.mp4" in skipped[0]
    assert capsys.readouterr().err == f"left out: {skipped[0]}\n"
    (tmp_path / "good.mp4").unlink()
    with pytest.raises(ValueError, match="no readable video clips"):
        read_clips(tmp_path, 10.0, (16, 16))


def test_frames_know_their_cameras_background(tmp_path):
    write_episode(tmp_path / "a")
    (episode,) = load_episodes(tmp_path)[1]
    store = store_of([episode], [])
    assert store.images.shape == (22, 16, 16, 3)
    assert store.background_index[:11].tolist() == [0] * 11
    assert store.background_index[11:].tolist() == [-1] * 11
    assert store.backgrounds[0, 0, 0, 0] == 50
    assert not store.backgrounds[-1].any()


def test_pictures_between_the_ticks_take_no_memory(tmp_path):
    """A minute of two cameras at 30 Hz took gigabytes, and twice what its ticks see after that."""
    contract, size = Contract(cameras=("front",), image_hw=(64, 64)), 64 * 64 * 3
    writer = EpisodeWriter(tmp_path / "a", contract, "pick")
    for number in range(1200):
        now = START_NS + number * 10 * MS
        pose = ee_pose(now)
        for topic, msg in (
            ("/arm/ee_pose", pose),
            ("/arm/command/pose", pose),
            ("/arm/joint_states", joints(now)),
        ):
            writer.write_message(topic, msg, now)
        writer.write_message("/front/color/image_raw", image(number, now, 64), now)
    writer.close("success")
    tracemalloc.start()
    (episode,) = load_episode(tmp_path / "a", contract)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(episode) == 120
    assert taken < 0.8 * 1200 * size

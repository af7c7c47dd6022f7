"""Hand clips: no robot in them, whole or not there, the same from all workers, truth out of reach."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import mujoco
import numpy as np
import pytest

from como_ros.errors import ComoError
from como_ros.lab.demos import make_demos
from como_ros.lab.hand_scene import PARTS, HandScene
from como_ros.lab.hands import VideoConfig, make_videos
from como_ros.lab.tasks import TASKS, get_task
from como_ros.lab.tasks.base import LARGEST_SEED
from como_ros.runs import alone_in
from training.videos import clip_paths, read_clip

SMALL = VideoConfig(size_px=96)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three clips, by one worker and by two."""
    root = tmp_path_factory.mktemp("hands")
    results = [make_videos("pick_place", 3, 0, root / f"by_{n}", SMALL, workers=n) for n in (1, 2)]
    return root, results


def test_the_same_bytes_come_from_one_worker_and_from_two(made):
    root, results = made
    assert results[0] == results[1]
    for folder, count in (("by_{}", 4), ("by_{}.truth", 3)):
        one, two = (sorted((root / folder.format(n)).iterdir()) for n in (1, 2))
        assert len(one) == count
        assert [path.name for path in one] == [path.name for path in two]
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"seed": LARGEST_SEED}])
def test_what_cannot_be_drawn_leaves_no_folder_that_a_second_try_would_stumble_over(tmp_path, wrong):
    with pytest.raises(ComoError):
        make_videos("pick_place", **{"clips": 2, "seed": 0, "out": tmp_path / "out", **wrong})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [make_videos, make_demos])
def test_two_runs_do_not_draw_into_one_folder(tmp_path, make):
    with alone_in(tmp_path / "out"), pytest.raises(ComoError, match="another run works in"):
        make("pick_place", 1, 0, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").iterdir())


def test_clips_differ_from_each_other_and_training_reads_them_with_their_words(made):
    clips = [read_clip(path, 15.0, (96, 96)) for path in clip_paths(made[0] / "by_1")]
    assert len({clip.frames[0].tobytes() for clip in clips}) == 3
    assert all("cube" in clip.instruction or "block" in clip.instruction for clip in clips)
    assert sum(len(clip.frames) for clip in clips) == made[1][0]["frames"]


def test_truth_tells_hand_and_things_of_every_frame_and_training_cannot_have_it(made):
    root = made[0]
    truth = np.load(root / "by_1.truth/pick_place_000000.truth.npz")
    with av.open(str(root / "by_1/pick_place_000000.mp4")) as container:
        frames = container.streams.video[0].frames
    assert {len(truth[key]) for key in ("time_s", "hand_pose7", "aperture_m", "contact", "things_pose7")} == {
        frames
    }
    cube = truth["things_pose7"][:, list(truth["things"]).index("cube"), :3]
    held = truth["contact"].astype(bool)
    assert np.ptp(cube[~held & (truth["time_s"] < 1)], axis=0).max() == 0
    steps = np.linalg.norm(np.diff(cube, axis=0) - np.diff(truth["hand_pose7"][:, :3], axis=0), axis=1)
    assert steps[held[1:] & held[:-1]].max() < 1e-9
    with pytest.raises(ComoError, match="must never see"):
        clip_paths(root / "by_1.truth")


@pytest.mark.parametrize("task", TASKS)
def test_no_robot_is_in_the_scene_and_the_hand_is_in_the_picture(task):
    hand = HandScene(get_task(task), 64)
    things = {hand.model.body(i).name for i in range(1, hand.model.nbody)}
    assert not [name for name in things if "link" in name or "finger" in name or "gripper" in name]
    assert not [
        hand.model.geom(i).name
        for i in range(hand.model.ngeom)
        if hand.model.geom_type[i] == mujoco.mjtGeom.mjGEOM_MESH
    ]
    hand.dress(3)
    how = hand.task.hand_plan(hand.task.sample(3), 3)
    moments = (how.contact_s[0], sum(how.contact_s) / 2)
    for time_s in moments:
        pose7 = how.plan.at(time_s)[0]
        hand.move_things(*how.things_at(time_s, pose7))
        seen = hand.draw(pose7, 0.05, pose7[:3] + [-0.4, 0, 0.5], time_s, 0.0)
        for part in PARTS:
            hand.model.geom_rgba[hand.model.geom(f"hand_{part}").id, 3] = 0
        without = hand.draw(pose7, 0.05, pose7[:3] + [-0.4, 0, 0.5], time_s, 0.0)
        for part in PARTS:
            hand.model.geom_rgba[hand.model.geom(f"hand_{part}").id, 3] = 1
        assert (seen != without).any(-1).mean() > 0.02
    hand.close()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (VideoConfig(fps=9), "--fps must be 10 to 30, got 9"),
        (VideoConfig(fps=31), "--fps must be 10 to 30, got 31"),
        (VideoConfig(size_px=1000), "--size-px must be 32 to 480, got 1000"),
        (VideoConfig(size_px=99), "must be even"),
        (VideoConfig(spread="wide"), "no range 'wide'; known ranges: training, held_out"),
    ],
)
def test_what_cannot_be_filmed_is_refused_before_anything_is_made(config, said, tmp_path):
    with pytest.raises(ComoError, match=said):
        make_videos("pick_place", 1, 0, tmp_path / "videos", config)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_has_clips_gets_no_others(tmp_path):
    (tmp_path / "old.mp4").write_bytes(b"")
    with pytest.raises(ComoError, match="is not empty"):
        make_videos("pick_place", 1, 0, tmp_path)


def test_a_killed_run_leaves_whole_clips_only(tmp_path):
    out, como = tmp_path / "videos", Path(sys.executable).with_name("como")
    command = [como, "videos", "--clips", "99", "--size-px", "32", "--workers", "1", "--out", out]
    run = subprocess.Popen(command, start_new_session=True)
    while run.poll() is None and len(clip_paths(out) if out.exists() else []) < 2:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    clips = clip_paths(out)
    assert 2 <= len(clips) < 99
    for path in clips:
        assert read_clip(path, 15.0, (32, 32)).instruction

"""Fine-tuning on synthetic episodes: alignment of targets, debug training, resume, refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import write_clip
from short_episode import write_episode

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.encoder import LabEncoder
from policies.spaces import Contract, pack_state
from training import finetune
from training.episodes import Episode, action_targets, gripper_events, next_gripper_points
from training.features import Augmentation
from training.label import Labels
from training.mixture import ahead, fit_actions, robot_set, video_set
from training.motion_data import FrozenEncoder
from training.objectives import FinetuneConfig, Material
from training.optimize import Schedule
from training.probe_encoder import require_useful
from training.videos import Clip

CONTRACT = Contract(horizon=4)
COPIES = Augmentation(copies=2)


def small_episode(ticks: int = 8, name: str = "episode_0") -> Episode:
    """Moves along x by 1 cm a tick with the set-point one tick ahead; closes at tick 4."""
    rng = np.random.default_rng(0)
    poses = np.zeros((ticks + 1, 7))
    poses[:, 0], poses[:, 6] = 0.01 * np.arange(ticks + 1), 1
    widths = np.where(np.arange(ticks) < 4, 0.08, 0.0)
    images = {c: rng.integers(0, 255, (ticks, 128, 128, 3), dtype=np.uint8) for c in CONTRACT.cameras}
    states = pack_state(poses[:ticks], widths, np.zeros((ticks, 7)))
    return Episode(Path(name), "pick", images, states, poses[1:], widths)


def small_material(folder: Path) -> Material:
    encoder = FrozenEncoder(LabEncoder(1).eval(), "sha", CONTRACT, folder)
    episodes = [small_episode(), small_episode(9, "episode_1")]
    z = np.random.default_rng(1).standard_normal((5, 128)).astype(np.float32)
    labels = {"episode_0": Labels(z, np.ones(5, bool))}
    clip = Clip(Path(__file__), small_episode().images["front"], 10.0, "pick")
    some = {clip.name: Labels(z, np.array([True, True, False, True, True]))}
    video = video_set([clip], encoder, some, COPIES)
    return Material.of(robot_set(episodes, encoder, labels, CONTRACT, COPIES), video)


def debug(steps: int) -> FinetuneConfig:
    schedule = Schedule(steps=steps, batch=4)
    return FinetuneConfig(width=20, blocks=1, intent_blocks=1, intent_schedule=schedule, schedule=schedule)


def test_targets_are_the_set_points_due_ahead_relative_to_the_measured_pose():
    targets = action_targets(small_episode(), 4)
    assert targets.shape == (8, 4, 10)
    assert np.allclose(targets[0, :, 0], [0.02, 0.03, 0.04, 0.05], atol=1e-6)
    assert np.allclose(targets[2, :, 9], [0.08, 0.0, 0.0, 0.0], atol=1e-6)


def test_after_the_end_the_last_command_is_repeated():
    targets = action_targets(small_episode(), 4)
    assert np.allclose(targets[7, :, 0], 0.01, atol=1e-6)
    assert np.allclose(targets[6, :, 0], 0.02, atol=1e-6)


def test_hindsight_points_lead_to_the_next_gripper_event():
    episode = small_episode()
    points = next_gripper_points(episode)
    assert gripper_events(episode).tolist() == [4]
    assert np.allclose(points[1], [0.03, 0, 0, 0.04, 0, 0], atol=1e-6)
    assert np.isnan(points[4:]).all()


def test_rows_ahead_stay_within_their_clip():
    assert ahead(np.array([0, 0, 0, 1, 1]), np.array([1, 3]), 3).tolist() == [[1, 2, 2], [3, 4, 4]]


def test_every_place_in_the_chunk_is_normalised_by_itself():
    actions = np.random.default_rng(0).standard_normal((50, 4, 10)) * np.arange(1, 5)[:, None]
    normal = fit_actions(actions)
    assert np.allclose(normal.normalize(actions).std(0), 1, atol=1e-4)
    assert np.allclose(normal.unnormalize(normal.normalize(actions)), actions, atol=1e-4)


def test_debug_training_runs_and_resumes(tmp_path):
    material = small_material(tmp_path)
    finetune.train_on(material, tmp_path / "run", debug(2), CONTRACT, 0.5, {})
    result = finetune.train_on(material, tmp_path / "run", debug(4), CONTRACT, 0.5, {})
    assert result["steps"] == 4
    assert math.isfinite(result["final_loss"])
    found = artefact.load(tmp_path / "run", "policy", CONTRACT)
    assert found.extra["uses_intent"]
    assert set(found.extra["normalizers"]) >= {"state", "actions"}


def test_clips_without_labels_and_labels_without_their_clips_are_never_left_out_in_silence(tmp_path):
    artefact.save(tmp_path / "encoder", "encoder", LabEncoder(1).state_dict(), {"blocks": 1}, Contract())
    write_episode(tmp_path / "bags" / "a", image_hw=(128, 128))
    write_clip(tmp_path / "videos" / "hand.mp4")
    digest = artefact.load(tmp_path / "encoder", "encoder").sha256
    z, kept = np.zeros((3, 128), np.float32), np.ones(3, bool)
    for folder, name in (("others", "another-clip"), ("robots", None)):
        (tmp_path / folder / "video").mkdir(parents=True)
        (tmp_path / folder / "labels.json").write_text(json.dumps({"encoder": digest}))
        if name:
            np.savez(tmp_path / folder / "video" / f"{name}.npz", z=z, keep=kept)

    def refused(labels: str | None, videos: str | None) -> str:
        given = [tmp_path / name if name else None for name in (labels, videos)]
        with pytest.raises(ComoError) as error:
            finetune.finetune(
                tmp_path / "bags", *given, tmp_path / "encoder", 0.5, debug(1), tmp_path / "run", force=True
            )
        return str(error.value)

    assert "holds labels of 1 clips; give these with --videos" in refused("others", None)
    assert "videos are given; make them with `como label`" in refused(None, "videos")
    assert "videos are given; make them with `como label`" in refused("robots", "videos")
    assert "others holds no label of any clip in" in refused("others", "videos")


def test_without_labels_it_is_plain_imitation(tmp_path):
    material = Material.of(small_material(tmp_path).robot, None)
    object.__setattr__(material.robot, "labelled", np.zeros_like(material.robot.labelled))
    result = finetune.train_on(material, tmp_path / "run", debug(2), CONTRACT, 0.5, {})
    assert result["steps"] == 2
    assert not artefact.load(tmp_path / "run", "policy").extra["uses_intent"]


def test_an_encoder_that_does_not_show_the_grasp_is_refused():
    bad = {"front_r2": 0.1, "wrist_r2": -0.2, "front_mm": 70.0, "wrist_mm": 90.0}
    with pytest.raises(ValueError, match="does not show where to grasp"):
        require_useful(bad)
    with pytest.raises(ValueError, match="does not show where to grasp"):
        require_useful(bad | {"wrist_r2": 0.9})
    require_useful(bad | {"wrist_r2": 0.9, "front_r2": 0.9})


def test_a_share_of_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mix must be"):
        finetune.train_on(small_material(tmp_path), tmp_path / "run", debug(2), CONTRACT, 1.0, {})


@pytest.mark.parametrize("preset", finetune.PRESETS)
def test_every_preset_survives_json(preset):
    config = finetune.PRESETS[preset]
    assert artefact.config_from(FinetuneConfig, json.loads(json.dumps(artefact.asdict(config)))) == config


def test_an_artefact_names_its_data_without_the_makers_folders(tmp_path):
    source = {"bags": "/home/somebody/demos", "probe": {"front_r2": 0.9}}
    artefact.save(tmp_path, "policy", {"w": torch.zeros(1)}, {}, Contract(), source=source)
    saved = artefact.load(tmp_path, "policy")
    assert saved.extra["source"] == {"bags": "demos", "probe": {"front_r2": 0.9}}

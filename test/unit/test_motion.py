"""Latent motion: the properties the papers claim, training, metrics, labels."""

import json
import math

import numpy as np
import pytest
import torch

from policies.nets import artefact
from policies.spaces import Contract
from training import motion
from training.label import Evidence, LabelConfig, _write
from training.metrics import past_future_cosine
from training.motion import (
    MotionData,
    MotionNet,
    MotionTraining,
    contrast,
    difference,
    foreground,
    patches_of,
)

DEBUG = motion.PRESETS["debug"]


def small_data(frames: int = 24) -> MotionData:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((2, frames, 64, 128)).astype(np.float16)
    images = rng.integers(0, 255, (frames, 128, 128, 3), dtype=np.uint8)
    return MotionData(images, tokens, np.repeat([0, 1], frames // 2), frames // 2, 10.0)


def test_identical_frames_differ_by_nothing_and_swapped_frames_by_the_opposite():
    a, b = torch.randn(2, 3, 64, 128)
    assert torch.equal(difference(a, a), torch.zeros_like(a))
    assert torch.equal(difference(a, b), -difference(b, a))


def test_the_later_frame_reaches_the_motion_only_through_the_difference():
    net = MotionNet(DEBUG)
    first, later = torch.randn(2, 64, 128), torch.randn(2, 64, 128, requires_grad=True)
    net.encode(first, difference(first, later).detach()).sum()
    moved = difference(first, later)
    net.encode(first, moved).sum().backward()
    assert later.grad is not None
    assert later.grad.abs().sum() > 0
    assert net.encode(first, moved).shape == (2, 128)


def test_the_contrastive_loss_is_log_three_at_ties():
    z = torch.randn(5, 128)
    assert float(contrast(z, z, z, 0.1)) == pytest.approx(math.log(3), abs=1e-5)
    assert float(contrast(z, z, -z, 0.1)) < 1e-3


def test_patches_keep_every_pixel_in_its_place():
    image = torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    image[0, 16:32, 32:48] = 255
    patches = patches_of(image)
    assert patches.shape == (1, 64, 192)
    assert float(patches[0, 8 + 2].min()) == 1
    assert float(patches[0, 8 + 1].max()) == -1


def test_changed_pixels_weigh_more():
    before = torch.zeros(1, 64, 192)
    after = before.clone()
    after[0, 7] = 1
    weights = foreground(before, after, 10.0)
    assert float(weights[0, 7, 0]) > 5 * float(weights[0, 0, 0])
    assert float(weights.mean()) == pytest.approx(1)


def test_pairs_never_cross_clips_or_get_clamped():
    data = small_data()
    starts = data.starts(5)
    assert (data.groups[starts] == data.groups[starts + 5]).all()
    assert len(starts) == 2 * (12 - 5)


def test_training_runs_and_resumes_and_loads(tmp_path):
    config = motion.MotionConfig(
        width=32, blocks=1, decoder_blocks=1, schedule=motion.Schedule(steps=2, batch=4)
    )
    longer = motion.MotionConfig(
        width=32, blocks=1, decoder_blocks=1, schedule=motion.Schedule(steps=4, batch=4)
    )
    motion.train_on(small_data(), tmp_path, config, Contract(), "abc", {})
    result = motion.train_on(small_data(), tmp_path, longer, Contract(), "abc", {})
    assert result.steps == 4
    assert math.isfinite(result.final_loss)
    net, loaded, found = motion.load(tmp_path, Contract())
    assert loaded == longer
    assert found.extra["encoder"] == "abc"
    assert not net.training


def test_clips_shorter_than_the_gap_are_refused():
    with pytest.raises(ValueError, match="no clip is longer"):
        MotionTraining(DEBUG, small_data(8))


def test_past_future_cosine_stays_within_its_range():
    found, shuffled = past_future_cosine(MotionNet(DEBUG).eval(), small_data(), 3)
    assert -1 <= found <= 1
    assert -1 <= shuffled <= 1


def test_labels_that_fail_a_gate_are_counted_once_per_gate(tmp_path):
    z = np.zeros((4, 128), np.float32)
    z[:, 0] = 1
    evidence = Evidence(z, -z, np.array([0.5, -0.1, 0.2, 0.2]), np.array([1.0, 1.0, 0.0, 1.0]))
    counts = _write({"clip": evidence}, tmp_path, LabelConfig(min_energy_quantile=0.25))
    assert counts == {"frames": 4, "kept": 2, "reversal": 0, "gain": 1, "energy": 1}
    with np.load(tmp_path / "clip.npz", allow_pickle=False) as shard:
        assert shard["keep"].tolist() == [True, False, False, True]


@pytest.mark.parametrize("preset", motion.PRESETS)
def test_every_preset_survives_json(preset):
    config = motion.PRESETS[preset]
    assert (
        artefact.config_from(motion.MotionConfig, json.loads(json.dumps(artefact.asdict(config)))) == config
    )

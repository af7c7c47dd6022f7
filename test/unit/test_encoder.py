"""The lab encoder: shapes, resolution, pre-training, resume, refusals."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from short_episode import write_episode

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.encoder import LabEncoder
from policies.spaces import Contract, ContractError
from training import encoder as encoders
from training.augment import colour_jitter, random_shift
from training.encoder import Pretraining, half
from training.episodes import load_episodes
from training.features import Augmentation, cached_tokens
from training.finetune import finetune
from training.frames import FrameStore
from training.motion_data import FrozenEncoder
from training.optimize import Schedule
from training.probe import probe
from training.probe_encoder import probe_encoder


def small_store(rows: int = 6) -> FrameStore:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3 * rows, 128, 128, 3), dtype=np.uint8)
    index = np.concatenate([np.zeros(rows, int), np.full(rows, -1), np.ones(rows, int)])
    return FrameStore(images, rows, rng.standard_normal((rows, 6)), images[:3], index)


def with_steps(steps: int) -> encoders.EncoderConfig:
    return encoders.EncoderConfig(blocks=1, schedule=Schedule(steps=steps, batch=4))


def test_one_token_covers_sixteen_pixels_and_the_encoder_stays_small():
    net = LabEncoder()
    assert net(torch.zeros(2, 128, 128, 3, dtype=torch.uint8)).shape == (2, 64, 128)
    assert sum(p.numel() for p in net.parameters()) < 900_000


def test_a_small_object_changes_the_tokens_where_it_lies():
    net = LabEncoder().eval()
    image = torch.randint(
        0, 255, (1, 128, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    moved = image.clone()
    moved[:, 35:45, 83:93] = torch.tensor([250, 0, 0], dtype=torch.uint8)
    change = (net(moved) - net(image)).norm(dim=-1)[0].view(8, 8)
    row, column = divmod(int(change.argmax()), 8)
    assert abs(row - 2) <= 1
    assert abs(column - 5) <= 1


def test_shift_moves_pixels_and_repeats_the_edge():
    image = torch.arange(128, dtype=torch.uint8).view(1, 1, 128, 1).expand(1, 128, 128, 3).contiguous()
    shifted = random_shift(image, 6, torch.Generator().manual_seed(1))
    offsets = shifted[0, 0, 20:100, 0].int() - image[0, 0, 20:100, 0].int()
    assert len(set(offsets.tolist())) == 1
    assert abs(int(offsets[0])) <= 6
    assert colour_jitter(image, 0.0, torch.Generator()) is image


def test_halving_takes_the_mean_of_two_by_two_pixels():
    image = torch.zeros(1, 4, 4, 1, dtype=torch.uint8)
    image[0, :2, :2, 0] = torch.tensor([[1, 2], [3, 250]])
    assert half(image)[0, :, :, 0].tolist() == [[64.0, 0.0], [0.0, 0.0]]


def test_pixels_that_differ_from_the_background_weigh_more():
    model = Pretraining(with_steps(1), small_store())
    images = torch.full((1, 8, 8, 6), 100.0)
    images[0, 2:4, 2:4, :3] = 200
    weights = model._weights(images, torch.tensor([True]))
    assert float(weights[0, 3, 3]) > 3 * float(weights[0, 7, 0])
    assert float(weights.mean()) == pytest.approx(1)
    assert float(model._weights(images, torch.tensor([False]))[0, 3, 3]) < float(weights[0, 3, 3])


def test_training_resumes_where_it_stopped_and_refuses_another_config(tmp_path):
    source = {"made": "here"}
    first = encoders.train_on(small_store(), tmp_path, with_steps(2), Contract(), source)
    second = encoders.train_on(small_store(), tmp_path, with_steps(4), Contract(), source)
    assert (first.steps, second.steps) == (2, 4)
    assert np.isfinite(second.final_loss)
    other = encoders.EncoderConfig(blocks=1, noise=0.2, schedule=Schedule(steps=4, batch=4))
    with pytest.raises(ValueError, match="another config"):
        encoders.train_on(small_store(), tmp_path, other, Contract(), source)
    net, found = encoders.load(tmp_path, Contract())
    assert not any(p.requires_grad for p in net.parameters())
    assert found.extra["source"] == source
    with pytest.raises(ContractError, match="action_rate_hz"):
        encoders.load(tmp_path, Contract(action_rate_hz=20))


def test_a_full_disk_and_a_damaged_file_to_resume_from_are_one_sentence(tmp_path):
    """A file may not outgrow a limit of the process, as it may not outgrow a disk."""
    program = """
import resource, signal, sys
from pathlib import Path
from training.optimize import Schedule, Trainer
from torch import nn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
trainer = Trainer(nn.Linear(100, 100), Schedule())
for moments in (trainer.optimizer.state[parameter] for parameter in trainer.parameters):
    moments.clear()
trainer.save(Path(sys.argv[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "run.safetensors"], capture_output=True, text=True
    )
    assert "run.safetensors cannot be written" in done.stderr.splitlines()[-1]
    assert "make room" in done.stderr.splitlines()[-1]
    (tmp_path / "resume.safetensors").write_bytes(b"half")
    with pytest.raises(ComoError, match=r"resume\.safetensors is damaged .*; delete it"):
        encoders.train_on(small_store(), tmp_path, with_steps(1), Contract(), {})


def test_an_uninterrupted_run_and_a_resumed_one_agree(tmp_path):
    encoders.train_on(small_store(), tmp_path / "a", with_steps(1), Contract(), {})
    halves = encoders.train_on(small_store(), tmp_path / "a", with_steps(2), Contract(), {})
    whole = encoders.train_on(small_store(), tmp_path / "b", with_steps(2), Contract(), {})
    name = "encoder.stem.0.weight"
    assert torch.allclose(halves.weights[name], whole.weights[name], atol=1e-3)


def test_nothing_is_trained_over_what_something_else_learned(tmp_path):
    artefact.save(tmp_path / "motion", "motion", {"w": torch.zeros(1)}, {}, Contract())
    with pytest.raises(ContractError, match="motion holds a trained motion; give another folder for the enc"):
        encoders.train(tmp_path / "bags", None, tmp_path / "motion", "debug")
    with pytest.raises(ContractError, match="give another folder for the policy"):
        finetune(tmp_path / "b", None, None, tmp_path / "e", 0.5, "debug", tmp_path / "motion")
    assert artefact.load(tmp_path / "motion", "motion").sha256
    (tmp_path / "motion" / "config.json").write_text("{")
    with pytest.raises(ContractError, match="holds a trained something that is damaged"):
        artefact.save(tmp_path / "motion", "motion", {}, {}, Contract())


def test_altered_or_missing_artefacts_are_refused(tmp_path):
    with pytest.raises(ContractError, match=r"has no config\.json"):
        encoders.load(tmp_path)
    artefact.save(tmp_path, "motion", {"a": torch.ones(1)}, {}, Contract())
    with pytest.raises(ContractError, match="holds a 'motion'"):
        encoders.load(tmp_path)
    header = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(header | {"kind": "encoder"}))
    (tmp_path / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(ContractError, match="sha256 differs"):
        encoders.load(tmp_path)


def test_tokens_are_cached_per_encoder_and_their_first_copy_is_plain(tmp_path):
    net, images = LabEncoder(1).eval(), small_store().images[:4]
    tokens = cached_tokens(net, "one", images, Augmentation(copies=2), tmp_path)
    assert tokens.shape == (2, 4, 64, 128)
    assert tokens.dtype == np.float16
    with torch.no_grad():
        assert np.allclose(tokens[0], net(torch.from_numpy(images)).numpy(), atol=0.1)
    cached_tokens(net, "one", images, Augmentation(copies=2), tmp_path)
    cached_tokens(net, "two", images, Augmentation(copies=2), tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_a_probe_recovers_a_linear_map_from_episodes_it_has_not_seen():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((160, 20))
    targets = features[:, :3] @ rng.standard_normal((3, 2)) + 1.0
    found = probe(features, targets, np.repeat(np.arange(16), 10))
    assert found.r2.min() > 0.99
    assert len(found.tested) == 40
    with pytest.raises(ComoError, match="at least 5 episodes, got 2"):
        probe(features[:20], targets[:20], np.repeat([0, 1], 10))


def test_pictures_that_the_encoder_cannot_read_are_refused_with_what_it_reads(tmp_path):
    write_episode(tmp_path / "bags" / "a")
    with pytest.raises(ComoError, match=r"\(16, 16\) of front, wrist, the lab's encoder reads \(128, 128\)"):
        encoders.train(tmp_path / "bags", None, tmp_path / "out", "debug")


def test_an_encoder_is_not_judged_by_too_few_grasps(tmp_path):
    for name in "abcd":
        write_episode(tmp_path / name, close_at_ms=500 if name == "a" else -1)
    episodes = load_episodes(tmp_path)[1]
    with pytest.raises(ComoError, match=r"the gripper acts in 1 of 4 episodes, 5 needed; .* --force"):
        probe_encoder(FrozenEncoder(LabEncoder(1), "", Contract(), tmp_path), episodes)


@pytest.mark.parametrize("preset", encoders.PRESETS)
def test_every_preset_survives_json(preset):
    config = encoders.PRESETS[preset]
    assert (
        artefact.config_from(encoders.EncoderConfig, json.loads(json.dumps(artefact.asdict(config))))
        == config
    )

"""Latent motion: the properties that the papers claim, as tests; training, loading and labels."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.encoder import LabEncoder
from policies.spaces import Contract
from training.evidence import Evidence, weigh
from training.label import LabelConfig, _write
from training.latent_motion import config as configs
from training.latent_motion import model
from training.latent_motion.baselines import canonical, differences
from training.latent_motion.config import ABLATION, PRESETS, MotionConfig, preset
from training.latent_motion.data import MotionData, coverage_of, images_of, patches_of
from training.latent_motion.losses import (
    agreement,
    contrast,
    diversity,
    foreground_weights,
    is_foreground,
    known_error,
    masked_error,
    perceived_error,
)
from training.latent_motion.model import MotionTraining, action_labels, parted_error
from training.latent_motion.net import Motion, MotionNet, View, difference, seen
from training.metrics import past_future_cosine
from training.optimize import Schedule

DEBUG = PRESETS["debug"]
TINY = {"width": 32, "blocks": 1, "decoder_blocks": 1, "schedule": Schedule(steps=1, batch=4)}
DUAL = replace(ABLATION["td_masked_dual"], **TINY)


def small_data(frames: int = 24, config: MotionConfig = DEBUG) -> MotionData:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((2, frames, config.tokens, config.token_dim)).astype(np.float16)
    patches = rng.uniform(-1, 1, (2, frames, config.patches, config.patch_dim)).astype(np.float16)
    coverage = rng.random((2, frames, config.patches)).astype(np.float16)
    places = rng.standard_normal((frames // 2, 4)).astype(np.float32)
    return MotionData(tokens, patches, np.repeat([0, 1], frames // 2), frames // 2, 10.0, coverage, places)


def views(config: MotionConfig = DEBUG, count: int = 3) -> tuple[View, View]:
    data = small_data(config=config)
    return data.view(np.arange(count)), data.view(np.arange(count) + 5)


def test_identical_frames_differ_by_nothing_and_swapped_frames_by_the_opposite():
    first, later = views()
    still = seen("difference", first, first)[1]
    assert torch.equal(still, torch.zeros_like(still))
    assert torch.equal(seen("difference", first, later)[1], -seen("difference", later, first)[1])


def test_the_later_frame_reaches_the_motion_only_through_the_difference():
    net = MotionNet(DEBUG)
    first, later = views()
    later.tokens.requires_grad_()
    moved = difference(first.tokens, later.tokens).detach().requires_grad_()
    net.encode(first, later).z.sum().backward()
    net.read([first.tokens, moved]).z.sum().backward()
    assert later.tokens.grad.abs().sum() > 0
    assert torch.allclose(later.tokens.grad, moved.grad, atol=1e-6)


def test_queries_that_begin_alike_read_alike_and_those_that_begin_apart_do_not():
    torch.manual_seed(0)
    shown = seen("difference", *views())

    def alike(config: MotionConfig) -> float:
        answers = nn.functional.normalize(MotionNet(config).reader(shown), dim=-1)
        return float((answers @ answers.transpose(1, 2)).detach().mean())

    assert alike(replace(DEBUG, query_range=1.0)) < 0.6 < 0.9 < alike(DEBUG)


def test_without_the_early_difference_the_later_frame_is_seen_itself():
    first, later = views()
    assert torch.equal(seen("pair", first, later)[1], later.tokens)
    net = MotionNet(replace(DEBUG, input="future"))
    assert torch.equal(net.encode(first, later).z, net.encode(later, later).z)


def test_the_contrastive_loss_is_log_three_at_ties():
    z = torch.randn(5, 128)
    assert float(contrast(z, z, z, 0.1)) == pytest.approx(math.log(3), abs=1e-5)
    assert float(contrast(z, z, -z, 0.1)) < 1e-3


def test_diversity_is_nothing_for_white_numbers_and_much_for_repeated_ones():
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    assert float(diversity(z)) < 0.02
    assert float(diversity(z[:, :1].expand(-1, 8))) > 0.2
    assert float(diversity(z * 0.1)) > 0.8


def test_two_readings_agree_when_they_are_the_same_white_numbers_only():
    z, other = torch.randn(2, 4000, 8, generator=torch.Generator().manual_seed(0))
    assert float(agreement(z, z)) < 0.04
    assert float(agreement(z, other)) > 1
    assert float(agreement(z * 0, z * 0)) > 1


def test_the_frozen_encoder_judges_what_is_painted_and_does_not_change():
    encoder = LabEncoder(1).requires_grad_(False)
    painted, wanted = torch.rand(2, 1, 128, 128, 3) * 255
    painted.requires_grad_()
    error = perceived_error(encoder, painted, wanted)
    error.backward()
    assert float(error.detach()) > 0 == float(perceived_error(encoder, wanted, wanted))
    assert painted.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_perception_adds_to_the_painting_s_error():
    generator = torch.Generator()
    with_it = replace(DEBUG, perceptual_weight=1.0)
    torch.manual_seed(0)
    training = MotionTraining(with_it, small_data(), LabEncoder(1).eval().requires_grad_(False))
    perceived = training.loss(generator.manual_seed(0))
    training.config = DEBUG
    assert perceived > training.loss(generator.manual_seed(0))
    with pytest.raises(ComoError, match="needs the frozen encoder"):
        MotionTraining(with_it, small_data())
    with pytest.raises(ComoError, match="needs pixels as target"):
        replace(with_it, target="features")


def test_action_labels_come_from_a_share_of_the_episodes_in_their_spread():
    data = replace(small_data(40), groups=np.repeat([0, 1, 2, 3], 10), robot=30)
    data = replace(data, places=np.cumsum(np.ones((30, 4), np.float32) * np.arange(30)[:, None], 0))
    labels = action_labels(data, 5, replace(DEBUG, action_label_fraction=0.67)).numpy()
    known = np.isfinite(labels).all(1).reshape(4, 10)
    assert known.any(1).sum() == 2
    assert not known[3].any()
    assert known[known.any(1)].sum(1).tolist() == [5, 5]
    assert np.allclose(labels[known.flatten()].std(0), 1, atol=1e-3)


def test_labelled_pairs_teach_the_motion_and_others_do_not():
    guess, wanted = torch.zeros(3, 4), torch.full((3, 4), torch.nan)
    assert known_error(guess, wanted) == 0
    wanted[1] = 2
    assert known_error(guess, wanted) == 4
    weak = replace(DEBUG, action_label_fraction=1.0, contrastive=False)
    with pytest.raises(ComoError, match="needs robot episodes"):
        MotionTraining(weak, replace(small_data(), places=None))
    with pytest.raises(ComoError, match="must be from 0 to 1"):
        replace(weak, action_label_fraction=2)


def test_what_only_training_needs_is_not_kept(tmp_path):
    config = replace(DEBUG, action_label_fraction=0.5, agreement_weight=1.0, perceptual_weight=0.1)
    encoder = LabEncoder(1).eval().requires_grad_(False)
    result = model.train_on(small_data(), tmp_path, config, Contract(), "abc", {}, encoder)
    assert {name.partition(".")[0] for name in result.weights} == {"net", "head"}
    assert model.load(tmp_path)[0].config == config


def test_a_canonical_reader_is_solved_before_its_painter_learns_and_is_kept(tmp_path):
    config = replace(ABLATION["canonical_reader_one_second"], **TINY, tokens=16, token_dim=8, code_dim=2)
    data = small_data(80, config)
    model.train_on(data, tmp_path, config, Contract(), "abc", {})
    net, _ = model.load(tmp_path)
    starts = data.starts(10)
    z = net.encode(data.view(starts), data.view(starts + 10)).z.numpy()
    moved = differences(data, starts, 10)
    assert np.allclose(z, canonical(data, config)(moved), atol=1e-3)
    back = net.encode(data.view(starts + 10), data.view(starts)).z.numpy()
    assert np.allclose(z + back, (z + back)[0], atol=1e-3)
    with pytest.raises(ComoError, match="two copies"):
        canonical(replace(data, tokens=data.tokens[:1]), config)
    with pytest.raises(ComoError, match="sees the difference_alone"):
        replace(config, input="pair")


def test_the_difference_alone_says_nothing_of_the_first_frame():
    net = MotionNet(replace(DEBUG, input="difference_alone"))
    first, later = views()
    shifted = [View(view.tokens + 3, view.patches) for view in (first, later)]
    assert torch.allclose(net.encode(first, later).z, net.encode(*shifted).z, atol=1e-4)


def test_a_masked_loss_ignores_what_lies_outside_its_region():
    painted, wanted = torch.randn(2, 2, 64, 10)
    region = torch.zeros(2, 64, dtype=torch.bool)
    region[:, 5:9] = True
    elsewhere = torch.where(region[..., None], painted, torch.randn_like(painted) * 100)
    assert masked_error(elsewhere, wanted, region) == masked_error(painted, wanted, region) > 0
    assert masked_error(painted, wanted, torch.zeros_like(region)) == 0


def test_action_only_decoding_is_blind_to_the_background_code():
    net = MotionNet(DUAL).eval()
    first, later = views(DUAL)
    motion = net.encode(first, later)
    other = Motion((motion.slots[0], torch.randn_like(motion.slots[1])), motion.words, motion.loss)
    alone = (True, False)
    assert torch.equal(net.decode(first, motion, alone), net.decode(first, other, alone))
    assert not torch.equal(net.decode(first, motion), net.decode(first, other))


def test_the_actor_trains_the_action_book_and_the_rest_the_background_book():
    net = MotionNet(replace(DUAL, bottleneck="dual_vq"))
    first, later = views(DUAL)
    for actor, silent, speaking in ((True, 1, 0), (False, 0, 1)):
        net.zero_grad()
        region = torch.full((3, 64), actor)
        parted_error(net, first, net.canvas(later), net.encode(first, later), region).backward()
        assert net.bottlenecks[silent].narrow[0].weight.grad.abs().sum() == 0
        assert net.bottlenecks[speaking].narrow[0].weight.grad.abs().sum() > 0


def test_both_books_start_dead_words_anew():
    net = MotionNet(replace(DUAL, restart_after=2)).train()
    for book in net.bottlenecks:
        with torch.no_grad():
            book.words[1:] = 1e3
    first, later = views(DUAL)
    for _ in range(4):
        net.encode(first, later)
    for book in net.bottlenecks:
        assert book.words.abs().max() < 1e3


def test_a_book_answers_with_its_nearest_word_and_lets_the_gradient_through():
    book = MotionNet(DUAL).eval().bottlenecks[0]
    x = torch.randn(3, 4, 32, requires_grad=True)
    found = book(x)
    assert torch.allclose(found.slots, book.words[found.words], atol=1e-6)
    found.slots.sum().backward()
    assert x.grad.abs().sum() > 0
    assert book.words.grad is None


def test_a_patch_is_foreground_when_nearly_half_of_it_is_masked():
    masks = torch.zeros(1, 128, 128)
    masks[0, :8, :16], masks[0, 16:23, 16:32] = 255, 255
    covered = coverage_of(masks, DEBUG)
    assert covered[0, 0] == 0.5
    assert is_foreground(covered, 0.47)[0].nonzero().flatten().tolist() == [0]


def test_patches_keep_every_pixel_in_its_place():
    image = torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    image[0, 16:32, 32:48] = 255
    patches = patches_of(image, DEBUG)
    assert patches.shape == (1, 64, 192)
    assert float(patches[0, 8 + 2].min()) == 1
    assert float(patches[0, 8 + 1].max()) == -1


def test_patches_become_the_image_that_they_were_cut_from():
    image = torch.randint(0, 256, (2, 128, 128, 3), generator=torch.Generator().manual_seed(0))
    whole = replace(DEBUG, shrink=1)
    assert torch.allclose(images_of(patches_of(image, whole), whole), image.float(), atol=1e-3)
    even = image[:, :1, :1].expand(-1, 128, 128, -1)
    assert torch.allclose(images_of(patches_of(even, DEBUG), DEBUG), even.float(), atol=1e-3)


def test_changed_pixels_weigh_more():
    before = torch.zeros(1, 64, 192)
    after = before.clone()
    after[0, 7] = 1
    weights = foreground_weights(before, after, 10.0)
    assert float(weights[0, 7, 0]) > 5 * float(weights[0, 0, 0])
    assert float(weights.mean()) == pytest.approx(1)


def test_pairs_never_cross_clips_or_get_clamped():
    data = small_data()
    starts = data.starts(5)
    assert (data.groups[starts] == data.groups[starts + 5]).all()
    assert len(starts) == 2 * (12 - 5)


@pytest.mark.parametrize("column", ABLATION)
def test_every_column_of_the_ablations_takes_a_step(column):
    config = replace(ABLATION[column], **TINY)
    training = MotionTraining(config, small_data(32, config), LabEncoder(1).requires_grad_(False))
    loss = training.loss(torch.Generator().manual_seed(0))
    loss.backward()
    trained = [(name, p) for name, p in training.named_parameters() if p.requires_grad]
    silent = [name for name, parameter in trained if parameter.grad is None]
    assert math.isfinite(loss.detach())
    assert not silent
    assert training.net.encode(*views(config)).z.shape == (3, config.dim)


def test_training_runs_and_resumes_and_loads(tmp_path):
    def steps(count: int) -> MotionConfig:
        return replace(DEBUG, schedule=Schedule(steps=count, batch=4))

    model.train_on(small_data(), tmp_path, steps(2), Contract(), "abc", {})
    result = model.train_on(small_data(), tmp_path, steps(4), Contract(), "abc", {})
    assert result.steps == len(result.losses) == 4
    assert math.isfinite(result.final_loss)
    net, found = model.load(tmp_path, Contract())
    assert net.config == steps(4)
    assert found.extra["encoder"] == "abc"
    assert found.extra["curve"] == pytest.approx(list(result.losses), rel=1e-3)
    assert not net.training


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ComoError, match="no clip is longer"):
        MotionTraining(DEBUG, small_data(8))
    with pytest.raises(ComoError, match="the data came without"):
        MotionTraining(DUAL, replace(small_data(), coverage=None))
    with pytest.raises(ComoError, match="input must be one of difference, pair"):
        replace(DEBUG, input="late_difference")
    with pytest.raises(ComoError, match="set dual_vq"):
        replace(DEBUG, masks="flow")
    with pytest.raises(ComoError, match="no preset 'big'; known: debug, lab, paper"):
        preset("big")


def test_past_future_cosine_is_one_where_only_the_present_is_seen():
    config = replace(DEBUG, input="future", gap_s=0.3)
    found, shuffled = past_future_cosine(MotionNet(config).eval(), small_data(), 3)
    assert found == pytest.approx(1)
    assert abs(shuffled) < 0.5


def test_labels_carry_the_words_of_a_book():
    evidence = weigh(MotionNet(DUAL).eval(), small_data(), 5)
    assert evidence.words.shape == (14, 4)
    assert evidence.z.shape == evidence.reversed_z.shape == (14, 128)
    assert weigh(MotionNet(DEBUG).eval(), small_data(), 5).words is None


def test_labels_that_fail_a_gate_are_counted_once_per_gate(tmp_path):
    z = np.zeros((4, 128), np.float32)
    z[:, 0] = 1
    evidence = Evidence(z, -z, np.array([0.5, -0.1, 0.2, 0.2]), np.array([1.0, 1.0, 0.0, 1.0]))
    counts = _write({"clip": evidence}, tmp_path, LabelConfig(min_energy_quantile=0.25))
    assert counts == {"frames": 4, "kept": 2, "reversal": 0, "gain": 1, "energy": 1}
    with np.load(tmp_path / "clip.npz", allow_pickle=False) as shard:
        assert shard["keep"].tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    config = PRESETS[name]
    assert artefact.config_from(MotionConfig, json.loads(json.dumps(artefact.asdict(config)))) == config
    assert configs.preset(name) is config

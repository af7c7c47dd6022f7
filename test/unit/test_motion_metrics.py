"""Metrics of latent motion: each says what it should of data whose answer is known."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.spaces import Contract, pack_state
from training.code_statistics import debiased_cka, directions, effective_rank, information, perplexity, usage
from training.episodes import Episode
from training.latent_motion import ablation, report
from training.latent_motion.ablation import _claim, table
from training.latent_motion.baselines import canonical, differences, pca, pooled_difference
from training.latent_motion.config import ABLATION
from training.latent_motion.data import MotionData
from training.latent_motion.net import MotionNet
from training.metrics import past_to_future, probed
from training.motion_data import ENCODER, FrozenEncoder
from training.optimize import Schedule
from training.probe import mlp_probe, probe
from training.transfer import Moves, _calibrated, _read_across, _turning, true_places
from training.videos import Clip

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(16), 20)


def test_a_code_that_never_changes_has_cosine_one_and_an_odd_one_minus_one():
    same = np.ones((30, 8))
    assert past_to_future(same, same) == (1.0, 1.0)
    z = RNG.standard_normal((200, 8))
    found, shuffled = past_to_future(z, -z)
    assert found == pytest.approx(-1)
    assert abs(shuffled) < 0.1


def test_few_features_are_solved_as_many_are():
    x, mixing = RNG.standard_normal((320, 12)), RNG.standard_normal((12, 4))
    wide = np.concatenate([x, np.zeros((320, 400))], 1)
    y = x @ mixing
    assert np.allclose(probe(x, y, GROUPS).r2, 1, atol=1e-3)
    assert np.allclose(probe(wide, y, GROUPS).r2, 1, atol=1e-3)


def test_the_mlp_probe_sees_what_is_not_linear_and_invents_nothing():
    x = RNG.standard_normal((1600, 3))
    groups = np.repeat(np.arange(16), 100)
    y = np.stack([np.abs(x[:, 0]), RNG.standard_normal(1600)], 1)
    bent = mlp_probe(x, y, groups)
    assert bent[0] > 0.8 > 0.3 > probe(x, y, groups).r2[0]
    assert bent[1] < 0.1


def test_probed_gives_an_error_in_units_of_the_spread():
    x = RNG.standard_normal((320, 6))
    y = np.stack([x[:, 0] * 0.01, RNG.standard_normal(320), x[:, 1], x[:, 2]], 1)
    found = probed(x, y, GROUPS)
    assert found["lp_r2_x"] > 0.99
    assert found["lp_r2"] == pytest.approx((found["lp_r2_x"] + found["lp_r2_y"] + found["lp_r2_z"]) / 3)
    assert found["lp_mse"] == pytest.approx(1 - found["lp_r2"], abs=0.15)


def test_words_are_counted():
    words = np.array([[0, 1], [2, 3]])
    assert usage(words, 16) == 0.25
    assert perplexity(words) == pytest.approx(4)
    assert perplexity(np.zeros((9, 2), int)) == pytest.approx(1)


def test_effective_rank_is_the_number_of_directions_in_use():
    ball = RNG.standard_normal((4000, 6))
    assert effective_rank(ball) == pytest.approx(6, abs=0.1)
    assert effective_rank(ball[:, :1] * np.ones(6)) == pytest.approx(1)


def test_information_counts_the_bits_of_what_is_told_and_none_for_chance():
    labels = RNG.integers(0, 4, 4000)
    told, chance = labels[:, None], RNG.integers(0, 16, (4000, 1))
    assert information(told, labels) == pytest.approx(2, abs=0.05)
    assert abs(information(chance, labels)) < 0.02


def test_directions_are_the_leading_axis_and_its_sign():
    moved = np.array([[0.001, 0, 0], [0.02, -0.01, 0], [-0.02, 0.01, 0], [0, 0, -0.5]])
    assert directions(moved).tolist() == [0, 2, 1, 5]


def test_cka_without_bias_is_one_for_a_rotation_and_nothing_for_strangers():
    x = RNG.standard_normal((200, 40))
    rotation = np.linalg.qr(RNG.standard_normal((40, 40)))[0]
    assert debiased_cka(x, x @ rotation) == pytest.approx(1)
    strangers = debiased_cka(x[:20], RNG.standard_normal((20, 400)))
    assert abs(strangers) < 0.15


def test_a_probe_reads_another_embodiment_once_each_is_centred():
    z, mixing = RNG.standard_normal((320, 8)), RNG.standard_normal((8, 3))
    robot = Moves(z, z @ mixing, GROUPS, -z)
    hand = Moves(3 * z + 5, z @ mixing, GROUPS, 5 - 3 * z)
    assert _read_across("a", robot, hand)["a_r2"] < 0
    assert _read_across("a", robot.standard(), hand.standard())["a_r2"] > 0.99


def test_a_penalty_for_the_other_embodiment_trusts_less_in_what_it_does_not_share():
    moved = RNG.standard_normal((320, 3))
    shared = np.tile(moved, 8) + RNG.standard_normal((320, 24))
    own = moved + 0.01 * RNG.standard_normal((320, 3))
    both = [np.concatenate([shared, part], 1) for part in (own, RNG.standard_normal((320, 3)))]
    robot, hand = (Moves(z, moved, GROUPS, -z) for z in both)
    found = _calibrated("a", robot.standard(), hand.standard())
    assert _read_across("a", robot.standard(), hand.standard())["a_r2"] < 0
    assert found["a_calibrated_r2"] > 0.5
    assert found["a_calibrated_penalty"] > probe(robot.z, robot.moved, GROUPS).penalty


def test_what_does_not_turn_round_with_time_in_the_other_embodiment_is_not_trusted():
    """Some numbers read the hand best, and in a robot say as much of its looks, whichever way time runs."""
    moved, other, looks = RNG.standard_normal((3, 320, 3))
    weak, weak_other = (m + 0.5 * RNG.standard_normal((320, 3)) for m in (moved, other))
    hand = Moves(np.hstack([weak, moved]), moved, GROUPS, -np.hstack([weak, moved]))
    shown, back = other + 2 * looks, 2 * looks - other
    robot = Moves(np.hstack([weak_other, shown]), other, GROUPS, np.hstack([-weak_other, back]))
    found = _turning("a", hand, robot)
    assert found["a_turning_r2"] > 0.7 > 0 > _read_across("a", hand.standard(), robot.standard())["a_r2"]
    assert found["a_turning_explained_metres"] == pytest.approx(found["a_turning_r2"], abs=0.1)


def test_a_code_that_turns_round_exactly_is_read_as_it_is_and_one_that_never_does_not_at_all():
    moved, mixing = RNG.standard_normal((320, 3)) * (1, 2, 3), RNG.standard_normal((3, 8))
    z = moved @ mixing
    odd, even = Moves(z, moved, GROUPS, -z), Moves(z, moved, GROUPS, z)
    assert _turning("a", odd, odd)["a_turning_r2"] > 0.99
    assert _turning("a", even, even)["a_turning_r2"] == 0


def test_the_truth_of_a_frame_is_of_the_moment_it_was_shown(tmp_path):
    times = np.arange(15) / 15
    poses = np.zeros((15, 7))
    poses[:, 0] = times
    np.savez(tmp_path / "a.truth.npz", time_s=times, hand_pose7=poses)
    clip = Clip(tmp_path / "a.mp4", np.zeros((9, 8, 8, 3), np.uint8), 10.0)
    places = true_places(clip, tmp_path, Contract())
    assert np.allclose(places[:, 0], np.ceil(np.arange(9) * 1.5) / 15)
    with pytest.raises(ComoError, match="ends before its clip"):
        true_places(replace(clip, frames=np.zeros((20, 8, 8, 3), np.uint8)), tmp_path, Contract())


def test_the_table_gives_mean_and_spread_and_stays_between_its_marks(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for seed, value in enumerate((0.5, 0.7)):
        (runs / f"td_tcl-{seed}.json").write_text(f'{{"lp_r2": {value}}}')
    (runs / "pca-0.json").write_text('{"lp_r2": 0.25, "effective_rank": 12.5}')
    found = table(tmp_path)
    assert list(found) == ["pca", "td_tcl"]
    assert found["td_tcl"]["lp_r2_std"] == pytest.approx(math.sqrt(0.02))
    document = tmp_path / "results.md"
    document.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.write(document, found)
    lines = document.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("above", "below")
    assert "| td_tcl | 2 | 0.60 ±0.14 |" in document.read_text()
    assert "| pca | 1 | 0.25 |" in document.read_text()
    assert "old" not in document.read_text()


def test_no_seed_and_an_unknown_column_are_refused(tmp_path):
    asked = [tmp_path / name for name in ("encoder", "bags", "videos", "held", "out")]
    with pytest.raises(ComoError, match="0 seeds train nothing; give --seeds 1 or more"):
        ablation.ablate(*asked, seeds=0)
    with pytest.raises(ComoError, match="no columns nonsense; known: "):
        ablation.ablate(*asked, columns=("nonsense",))
    assert not (tmp_path / "out").exists()


def small_bench() -> ablation.Bench:
    """Eight episodes whose tokens shift with the hand's way; clips are the same frames."""
    episodes, tokens = [], []
    directions_of_tokens = RNG.standard_normal((3, 128))
    for number in range(8):
        poses = np.zeros((14, 7))
        poses[:, :3], poses[:, 6] = np.cumsum(RNG.normal(0, 0.02, (14, 3)), 0), 1
        states = pack_state(poses, np.zeros(14), np.zeros((14, 7)))
        episodes.append(Episode(Path(str(number)), "", {}, states, poses, np.zeros(14)))
        spots = RNG.normal(0, 0.02, (14, 64, 128))
        spots += poses[:, None, :3] @ directions_of_tokens
        tokens.append(spots)
    frames = np.concatenate(tokens)[None].astype(np.float16)
    patches = RNG.uniform(-1, 1, (1, len(frames[0]), 64, 192)).astype(np.float16)
    data = MotionData(frames, patches, np.repeat(np.arange(8), 14), len(frames[0]), 10.0)
    return ablation.Bench(data, data, data, episodes, FrozenEncoder(nn.Identity(), "", Contract(), Path()))


def test_pooled_differences_hold_a_motion_that_all_tokens_share():
    bench = small_bench()
    found = ablation._baseline(lambda: bench, pooled_difference, ABLATION["td_tcl"])
    assert found["lp_r2"] > 0.95


def test_canonical_directions_find_what_every_view_repeats_where_components_find_what_is_loud():
    config = replace(ABLATION["td_tcl"], queries=1, code_dim=3)
    places = np.cumsum(RNG.normal(0, 1, (400, 3)), 0)
    spread = RNG.standard_normal((3, 64 * 4))
    loud = RNG.standard_normal((20, 64 * 4)) * 4
    views = [places @ spread + RNG.standard_normal((400, 20)) @ loud for _ in range(2)]
    tokens = (np.stack(views) / 8).reshape(2, 400, 64, 4).astype(np.float16)
    patches = np.zeros((2, 400, 1, 1), np.float16)
    data = MotionData(tokens, patches, np.repeat(np.arange(16), 25), 400, 10.0)
    starts = data.starts(5)
    moved, targets = differences(data, starts, 5), places[starts + 5] - places[starts]
    found = [probe(read(data, config)(moved), targets, data.groups[starts]) for read in (canonical, pca)]
    assert found[0].r2.min() > 0.8 > 0.4 > found[1].r2.mean()


def test_a_model_of_two_books_is_measured_by_both():
    torch.manual_seed(0)
    config = replace(ABLATION["td_dual"], width=32, blocks=1, decoder_blocks=1)
    found = ablation.measured(MotionNet(config).eval(), small_bench())
    told = {"direction_bits", "background_direction_bits", "room_bits", "background_room_bits"}
    assert told | {"codes_used", "background_codes_used", "perplexity", "lp_r2", "s_pcfc"} <= set(found)
    assert all(math.isfinite(value) for value in found.values())


def test_a_column_s_model_takes_its_encoder_along(tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    for name in ("config.json", "weights.safetensors"):
        (encoder / name).write_text(name)
    config = replace(ABLATION["td"], width=32, blocks=1, schedule=Schedule(steps=1, batch=4))
    ablation._trained(small_bench, encoder, config, tmp_path / "td")
    kept = tmp_path / "td/seed_0" / ENCODER
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        path.name: path.read_text() for path in encoder.iterdir()
    }


def test_a_finished_run_is_not_run_again(tmp_path):
    (tmp_path / "runs").mkdir()
    ablation._once(tmp_path, "td", 0, lambda: {"lp_r2": 0.5})
    ablation._once(tmp_path, "td", 0, lambda: {"lp_r2": 0.9})
    assert table(tmp_path) == {"td": {"seeds": 1, "lp_r2": 0.5, "lp_r2_std": 0.0}}


def test_a_table_of_two_recipes_is_refused(tmp_path):
    _claim(tmp_path, {"steps": 400})
    _claim(tmp_path, {"steps": 400})
    with pytest.raises(ComoError, match="another recipe"):
        _claim(tmp_path, {"steps": 800})

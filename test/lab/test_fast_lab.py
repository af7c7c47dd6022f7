"""The lab in fast mode: same seed same bytes, the operator succeeds, cameras see, hands hide no robot."""

import mujoco
import numpy as np
import pytest

from como_ros.errors import ComoError
from como_ros.lab import scene
from como_ros.lab.evaluate import wilson_interval
from como_ros.lab.fast import FastLab
from como_ros.lab.surroundings import CAMERA_XY, DISTRACTORS, wild
from como_ros.lab.tasks import RANGES, get_task


@pytest.fixture(scope="module")
def lab():
    return FastLab(get_task("pick_place"), image_hw=(64, 64))


def run_operator(lab: FastLab, seed: int, seconds: float | None = None) -> np.ndarray:
    lab.reset(seed)
    plan = lab.operator_plan(seed)
    lab.follow(plan.at, plan.duration_s if seconds is None else seconds)
    return lab.data.qpos.copy()


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(lab):
    first, again, other = (run_operator(lab, seed, 2.0) for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_the_scripted_operator_puts_the_cube_in_the_tray(lab):
    run_operator(lab, 3)
    assert lab.success() == (True, "")


def test_an_idle_arm_fails_with_a_reason_in_centimetres(lab):
    lab.reset(3)
    done, reason = lab.success()
    assert not done
    assert "cm from the tray's centre" in reason


def test_the_arm_stands_at_the_known_home_pose(lab):
    scene.set_arm_home(lab.model, lab.data)
    mujoco.mj_forward(lab.model, lab.data)
    assert np.allclose(lab.ee_pose7[:3], [0.4635, 0, 0.4028], atol=1e-3)


def test_both_cameras_see_a_red_cube(lab):
    lab.reset(4)
    for frame in lab.look().values():
        red, green, blue = np.moveaxis(frame.astype(int), -1, 0)
        assert ((red > 1.8 * green) & (red > 1.8 * blue)).sum() >= 4


@pytest.mark.parametrize("spread", RANGES)
def test_a_world_vector_redraws_the_same_picture(lab, spread):
    layout = lab.reset(8, spread)
    seen = lab.look()["front"]
    vector = scene.world_vector(lab.data, layout.seed, RANGES.index(spread))
    other = FastLab(get_task("pick_place"), image_hw=(64, 64))
    seed, number = scene.set_world(other.model, other.data, vector)
    other.task.paint(other.model, other.task.sample(seed, RANGES[number]))
    mujoco.mj_forward(other.model, other.data)
    assert np.array_equal(other.look()["front"], seen)


def test_a_lab_that_was_elsewhere_looks_as_before_when_it_is_back(lab):
    lab.reset(8)
    before = lab.look()
    lab.reset(8, "held_out")
    elsewhere = lab.look()
    lab.reset(8)
    back = lab.look()
    for camera in before:
        assert np.array_equal(back[camera], before[camera])
        assert np.abs(elsewhere[camera].astype(int) - before[camera]).mean() > 8


def test_what_stands_about_keeps_clear_of_the_task_and_out_of_the_picture_of_it():
    clear = ((0.50, -0.05, 0.15), (0.50, 0.28, 0.15))
    things = [thing for seed in range(200) for thing in wild(np.random.default_rng(seed), clear).distractors]
    assert {thing.name for thing in things} == set(DISTRACTORS)
    assert len(things) > 300
    for thing in things:
        for x, y, radius in clear:
            assert np.hypot(thing.xy[0] - x, thing.xy[1] - y) > radius + DISTRACTORS[thing.name]
            sight = np.linspace(CAMERA_XY, (x, y), 50) - thing.xy
            assert np.hypot(*sight.T).min() > DISTRACTORS[thing.name]


def test_in_the_training_range_nothing_stands_about(lab):
    lab.reset(8)
    assert all(lab.data.body(name).xpos[2] < -1 for name in DISTRACTORS)


def test_hands_move_faster_than_the_arm(lab):
    lab.reset(2)
    task = get_task("pick_place")
    hand = task.hand_plan(task.sample(2), 2).plan
    assert hand.duration_s < lab.operator_plan(2).duration_s


def test_an_unknown_task_is_refused_by_name():
    with pytest.raises(ComoError, match=r"'fold_towel'; known tasks: .*pick_place"):
        get_task("fold_towel")


@pytest.mark.parametrize("seed", [-1, 2**53 + 1])
def test_a_seed_that_the_cameras_would_not_understand_is_refused(seed):
    with pytest.raises(ComoError, match=f"seed {seed} is not between 0 and {2**53}"):
        get_task("open_drawer").sample(seed)


def test_the_wilson_interval_matches_hand_computed_values():
    low, high = wilson_interval(70, 100)
    assert (round(low, 3), round(high, 3)) == (0.604, 0.781)
    assert wilson_interval(0, 10)[0] == 0.0

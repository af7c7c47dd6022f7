"""Opening and closing the drawer: by touch alone, gently, in every layout, in front of both cameras."""

import mujoco
import numpy as np
import pytest

from como_ros.control.shield import ShieldConfig
from como_ros.lab import scene
from como_ros.lab.fast import FastLab
from como_ros.lab.hand_scene import HandScene
from como_ros.lab.tasks import RANGES, get_task
from como_ros.lab.tasks.cabinet import TRAVEL_M
from como_ros.lab.tasks.drawer import OPENED_M, SHUT_M

NAMES = ("open_drawer", "close_drawer")


@pytest.fixture(scope="module")
def labs():
    return {name: FastLab(get_task(name), image_hw=(64, 64)) for name in NAMES}


def opening_m(lab: FastLab) -> float:
    return float(lab.data.joint("drawer_slide").qpos[0])


def push_on_drawer_n(lab: FastLab) -> float:
    mujoco.mj_rnePostConstraint(lab.model, lab.data)
    return float(np.linalg.norm(lab.data.cfrc_ext[lab.model.body("drawer").id, 3:]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", RANGES)
def test_the_scripted_operator_does_it_with_a_gentle_hand(labs, name, spread):
    lab = labs[name]
    for seed in (3, 14):
        lab.reset(seed, spread)
        plan, pushes = lab.operator_plan(seed), []
        while lab.time_s < plan.duration_s:
            lab.advance(plan.at(lab.time_s + 0.01))
            pushes.append(push_on_drawer_n(lab))
        assert lab.success() == (True, "")
        assert 3.0 < max(pushes) < 25.0
        assert plan.duration_s < lab.task.time_limit_s / 2


def test_an_idle_arm_fails_with_a_reason_in_centimetres(labs):
    for name, reason in (("open_drawer", "cm of the 12 cm wanted"), ("close_drawer", "still open 1")):
        labs[name].reset(3)
        done, why = labs[name].success()
        assert not done
        assert reason in why


def test_a_drawer_that_is_still_held_does_not_count_as_opened(labs):
    lab = labs["open_drawer"]
    lab.reset(4)
    plan = lab.operator_plan(4)
    held_until_s = plan.times_s[1:][plan.widths[:-1] == 0.0][-1]
    lab.follow(plan.at, held_until_s)
    assert opening_m(lab) > OPENED_M
    assert lab.success()[1].startswith("gripper still holds the handle")


@pytest.mark.parametrize("name", NAMES)
def test_a_drawer_that_nobody_touches_stays_where_it_is(labs, name):
    lab = labs[name]
    lab.reset(5)
    first, pose7 = opening_m(lab), lab.ee_pose7
    lab.follow(lambda time_s: (pose7, np.zeros(6), 0.08), 1.0)
    assert opening_m(lab) == pytest.approx(first, abs=1e-4)


def test_the_drawer_slides_along_its_cabinet_s_own_axis(labs):
    lab = labs["close_drawer"]
    layout = lab.reset(6, "held_out")
    truth = lab.task.truth(lab.data)
    turn = 2 * np.arctan2(truth["cabinet"][5], truth["cabinet"][6])
    moved = np.subtract(truth["drawer"][:3], truth["cabinet"][:3])
    assert abs(turn) > 0.02
    np.testing.assert_allclose(
        moved, layout.slides["drawer_slide"] * np.array([np.cos(turn), np.sin(turn), 0.0]), atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", RANGES)
def test_a_world_vector_redraws_the_same_pictures(labs, name, spread):
    lab = labs[name]
    layout = lab.reset(8, spread)
    plan = lab.operator_plan(8)
    lab.follow(plan.at, 0.7 * plan.duration_s)
    mujoco.mj_forward(lab.model, lab.data)
    seen = lab.look()
    vector = scene.world_vector(lab.data, layout.seed, RANGES.index(spread))
    other = FastLab(get_task(name), image_hw=(64, 64))
    seed, index = scene.set_world(other.model, other.data, vector)
    other.task.paint(other.model, other.task.sample(seed, RANGES[index]))
    mujoco.mj_forward(other.model, other.data)
    for camera, picture in other.look().items():
        np.testing.assert_array_equal(picture, seen[camera])


@pytest.mark.parametrize("name", NAMES)
def test_plans_stay_inside_the_box_and_below_the_speeds_of_the_shield(labs, name):
    lab, shield = labs[name], ShieldConfig()
    for seed in range(20):
        for spread in RANGES:
            lab.reset(seed, spread)
            plan = lab.operator_plan(seed)
            points = [plan.at(time_s) for time_s in np.arange(0, plan.duration_s, 0.02)]
            path, twists = np.array([pose7[:3] for pose7, _, _ in points]), np.array([p[1] for p in points])
            assert (path > shield.box_min_m).all()
            assert (path < shield.box_max_m).all()
            assert np.linalg.norm(twists[:, :3], axis=1).max() < 0.8 * shield.max_speed_m_s
            assert np.linalg.norm(twists[:, 3:], axis=1).max() < 0.8 * shield.max_turn_rad_s


def test_each_task_has_five_ways_to_say_it_and_shares_none():
    opening, closing = (set(get_task(name).instructions) for name in NAMES)
    assert min(len(opening), len(closing)) >= 5
    assert not opening & closing


@pytest.mark.parametrize("name", NAMES)
def test_held_out_layouts_reach_farther_than_those_for_training(name):
    task = get_task(name)

    def scatter(spread: str) -> np.ndarray:
        cabinets = [task.sample(seed, spread).places["cabinet"] for seed in range(200)]
        return np.ptp([[*pose7[:2], 2 * np.arctan2(pose7[5], pose7[6])] for pose7 in cabinets], axis=0)

    training, held_out = scatter("training"), scatter("held_out")
    assert (training <= [0.05, 0.05, np.deg2rad(16)]).all()
    assert (held_out > 1.5 * training).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_person_s_hand_takes_the_drawer_along_and_leaves_it(name):
    task = get_task(name)
    for seed in range(10):
        layout = task.sample(seed)
        how = task.hand_plan(layout, seed)
        taken_s, left_s = how.contact_s
        times = np.arange(0, how.plan.duration_s, 0.02)
        slides = np.array([how.things_at(t, how.plan.at(t)[0])[1]["drawer_slide"] for t in times])
        assert (slides[times < taken_s] == layout.slides["drawer_slide"]).all()
        assert np.ptp(slides[times >= left_s]) == 0.0
        assert ((slides >= 0) & (slides <= TRAVEL_M)).all()
        steps = np.diff(slides)
        assert (steps >= -1e-9).all() if name == "open_drawer" else (steps <= 1e-9).all()
        assert slides[-1] > OPENED_M if name == "open_drawer" else slides[-1] <= SHUT_M


def test_the_drawer_keeps_its_distance_from_the_hand_that_moves_it():
    hand = HandScene(get_task("close_drawer"), 32)
    layout = hand.task.sample(7)
    how = hand.task.hand_plan(layout, 7)
    hand.dress(7)
    gaps = []
    for time_s in np.linspace(*how.contact_s, 20):
        pose7, _, _ = how.plan.at(time_s)
        hand.move_things(*how.things_at(time_s, pose7))
        mujoco.mj_kinematics(hand.model, hand.data)
        gaps.append(pose7[:3] - hand.data.geom("handle_bar").xpos)
    hand.close()
    assert 0.02 < np.linalg.norm(gaps[0]) < 0.06
    assert np.ptp(gaps, axis=0).max() < 0.005

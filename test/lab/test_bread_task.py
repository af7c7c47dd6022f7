"""Bread into the toaster: the operator does it by contact alone, and nothing less counts as done."""

import mujoco
import numpy as np
import pytest

from como_ros.control.shield import ShieldConfig
from como_ros.lab import scene
from como_ros.lab.fast import FastLab
from como_ros.lab.operator import CLOSED_M, Plan
from como_ros.lab.tasks import RANGES, get_task
from como_ros.lab.tasks.base import upright, yaw_of
from como_ros.lab.tasks.toaster import RIM_M, SLICE_HALF_M, SLOT_FLOOR_M, SLOT_YS_M

IN_SLOT_Z_M = SLOT_FLOOR_M + SLICE_HALF_M


@pytest.fixture(scope="module")
def lab():
    return FastLab(get_task("insert_bread"), image_hw=(128, 128))


def put_bread(lab: FastLab, along: float, across: float, z: float, lean: float = 0.0) -> None:
    """Into the toaster's frame; `lean` turns it about the toaster's x."""
    toaster = np.array(lab.task.truth(lab.data)["toaster"])
    yaw = yaw_of(toaster)
    c, s = np.cos(yaw), np.sin(yaw)
    pose7 = upright(toaster[:2] + [c * along - s * across, s * along + c * across], z, yaw)
    turned = np.zeros(4)
    mujoco.mju_mulQuat(turned, pose7[[6, 3, 4, 5]], np.array([np.cos(lean / 2), np.sin(lean / 2), 0, 0]))
    scene.set_body(lab.model, lab.data, "bread", np.array([*pose7[:3], *turned[[1, 2, 3, 0]]]))
    mujoco.mj_forward(lab.model, lab.data)


def push_on_hand_n(lab: FastLab) -> float:
    """What table, rack and toaster press on arm, hand and what it holds."""
    model, data = lab.model, lab.data
    fixed = {model.body(name).id for name in ("world", "rack", "toaster")}
    total, force = np.zeros(3), np.zeros(6)
    for i, contact in enumerate(data.contact[: data.ncon]):
        first, second = (int(model.geom_bodyid[geom]) in fixed for geom in contact.geom)
        if first != second:
            mujoco.mj_contactForce(model, data, i, force)
            total += (1 if first else -1) * contact.frame.reshape(3, 3).T @ force[:3]
    return float(np.linalg.norm(total))


def follow(lab: FastLab, plan: Plan) -> float:
    """Do the plan; returns the largest push once the world has settled, in newtons."""
    pushes = []
    while lab.time_s < plan.duration_s:
        lab.advance(plan.at(lab.time_s))
        pushes.append(push_on_hand_n(lab))
    return max(pushes[20:])


@pytest.mark.parametrize(("seed", "spread"), [(0, "training"), (1, "held_out")])
def test_the_operator_puts_the_bread_into_a_slot_without_pressing_hard(lab, seed, spread):
    lab.reset(seed, spread)
    push = follow(lab, lab.operator_plan(seed))
    assert lab.success() == (True, "")
    assert push < 30


def test_aiming_two_centimetres_beside_the_slot_leaves_the_bread_outside(lab):
    lab.reset(3)
    truth = lab.task.truth(lab.data)
    yaw = yaw_of(truth["toaster"])
    truth["toaster"][0] -= np.sin(yaw) * 0.02
    truth["toaster"][1] += np.cos(yaw) * 0.02
    push = follow(lab, lab.task.plan(truth, lab.ee_pose7[:3], 3))
    assert push > 20
    assert not lab.success()[0]


def test_a_slice_in_its_rack_stands_still_and_is_not_done(lab):
    lab.reset(5)
    began = lab.data.body("bread").xpos.copy()
    lab.follow(lambda time_s: (lab.ee_pose7, np.zeros(6), 0.08), 0.5)
    assert np.linalg.norm(lab.data.body("bread").xpos - began) < 0.001
    assert "cm from the middle of the nearest slot" in lab.success()[1]


@pytest.mark.parametrize("slot", SLOT_YS_M)
def test_either_slot_will_do(lab, slot):
    lab.reset(6)
    put_bread(lab, 0.005, slot, IN_SLOT_Z_M)
    assert lab.success() == (True, "")


@pytest.mark.parametrize(
    ("along", "across", "z", "lean", "reason"),
    [
        (0.0, 0.0, RIM_M + SLICE_HALF_M, 0.0, "bread is 3.0 cm from the middle of the nearest slot"),
        (0.04, SLOT_YS_M[0], IN_SLOT_Z_M, 0.0, "bread is 4.0 cm from the middle of the nearest slot"),
        (
            0.0,
            SLOT_YS_M[0],
            RIM_M + SLICE_HALF_M - 0.02,
            0.0,
            "bread's lower edge is 2.0 cm below the slot's rim, 4 cm are needed",
        ),
        (0.0, SLOT_YS_M[1], IN_SLOT_Z_M, 0.4, "bread leans by 23 degrees"),
    ],
)
def test_what_is_not_quite_in_the_slot_has_a_reason_with_a_figure(lab, along, across, z, lean, reason):
    lab.reset(7)
    put_bread(lab, along, across, z, lean)
    assert lab.success() == (False, reason)


def test_bread_that_is_still_held_is_not_done(lab):
    lab.reset(7)
    fingers, _ = scene.joint_addresses(lab.model, scene.FINGER_JOINTS)
    lab.data.qpos[fingers] = 0.008
    put_bread(lab, 0.0, SLOT_YS_M[0], IN_SLOT_Z_M)
    assert lab.success() == (False, "gripper is still closed to 1.6 cm")


@pytest.mark.parametrize("spread", RANGES)
def test_plans_stay_in_the_workspace_box_and_leave_the_hand_time_to_close(lab, spread):
    low, high = ShieldConfig().box_min_m, ShieldConfig().box_max_m
    for seed in range(40):
        lab.reset(seed, spread)
        plan = lab.operator_plan(seed)
        assert (plan.positions > low).all()
        assert (plan.positions < high).all()
        assert plan.duration_s < lab.task.time_limit_s
        closing = int(np.flatnonzero(plan.widths == CLOSED_M)[0])
        assert np.array_equal(plan.positions[closing], plan.positions[closing + 1])
        assert plan.times_s[closing + 1] - plan.times_s[closing] >= 0.8


def test_both_cameras_see_the_bread(lab):
    lab.reset(8)
    seen = lab.look()
    put_bread(lab, 0.0, 0.0, -2.0)
    changed = {camera: (lab.look()[camera] != frame).any(axis=2).sum() for camera, frame in seen.items()}
    assert min(changed.values()) > 50


@pytest.mark.parametrize("seed", range(3))
def test_a_persons_bread_follows_the_pinch_and_ends_in_a_slot(lab, seed):
    layout = lab.reset(seed)
    how = lab.task.hand_plan(layout, seed)
    grasped_s, released_s = how.contact_s

    def bread_at(time_s: float) -> np.ndarray:
        return how.things_at(time_s, how.plan.at(time_s)[0])[0]["bread"]

    assert np.array_equal(bread_at(grasped_s - 0.01), layout.places["bread"])
    assert np.allclose(bread_at(grasped_s), layout.places["bread"], atol=1e-9)
    held = np.linspace(grasped_s, released_s - 0.01, 20)
    gaps = [np.linalg.norm(bread_at(t)[:3] - how.plan.at(t)[0][:3]) for t in held]
    assert np.ptp(gaps) < 1e-9
    scene.set_body(lab.model, lab.data, "bread", bread_at(how.plan.duration_s))
    mujoco.mj_forward(lab.model, lab.data)
    assert lab.success() == (True, "")

"""The vocabulary: contracts say everything that differs, conversions come in pairs that undo each other."""

from dataclasses import fields, replace

import numpy as np
import pytest

from como_ros.control.limits import LIMITS
from policies import poses, spaces
from policies.spaces import ROBOTS, Contract, ContractError, Normalizer, Observation

OTHER = {
    "robot": "fr3",
    "cameras": ("front",),
    "image_hw": (480, 640),
    "state_dim": 10,
    "action_dim": 7,
    "horizon": 8,
    "action_rate_hz": 20.0,
    "version": 2,
}
STATE = np.zeros(spaces.STATE_DIM, np.float32)


def random_quaternions(count: int = 500) -> np.ndarray:
    """Unit, w >= 0, some with w = 0."""
    rows = np.random.default_rng(0).standard_normal((count, 4))
    rows[::10, 3] = 0
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(rows[:, 3:] < 0, -rows, rows)


def random_poses(count: int = 50) -> np.ndarray:
    return np.concatenate([np.random.default_rng(1).uniform(-1, 1, (count, 3)), random_quaternions(count)], 1)


def blank(height: int = 128, width: int = 128) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


# Contracts


def test_every_field_of_a_contract_is_tried_below():
    assert {f.name for f in fields(Contract)} == set(OTHER)


@pytest.mark.parametrize("name", OTHER)
def test_each_single_difference_is_named_with_both_values(name):
    ours, theirs = Contract(), replace(Contract(), **{name: OTHER[name]})
    assert ours.differences(theirs) == [f"{name}: {getattr(ours, name)!r} != {OTHER[name]!r}"]


def test_all_differences_at_once_are_named():
    with pytest.raises(ContractError, match="bundle x was made for another contract") as refusal:
        Contract().require(Contract(**OTHER), "bundle x")
    assert all(f"{name}: " in str(refusal.value) for name in OTHER)


def test_a_contract_agrees_with_its_copy_through_json():
    for contract in (Contract(), Contract(**OTHER)):
        again = Contract.from_json(contract.to_json())
        assert again == contract
        assert contract.differences(again) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"horizon": 0}', "horizon must be positive and finite, got 0"),
        ('{"horizon": "16"}', "horizon must be a whole number, got '16'"),
        ('{"action_rate_hz": NaN}', "action_rate_hz must be positive and finite, got nan"),
        ('{"horizon": true}', "horizon must be a whole number, got True"),
        ('{"action_rate_hz": 1e12}', "action_rate_hz must be at most 1000 Hz"),
        ('{"image_hw": [128]}', "image_hw must be a height and a width"),
        ('{"image_hw": [true, true]}', "image_hw must be a height and a width"),
        ('{"cameras": []}', "cameras must be names"),
        ('{"robot": null}', "robot must be one of panda, fr3, got None"),
        ('{"robot": "ur5"}', "robot must be one of panda, fr3, got 'ur5'"),
        ('{"colour": 1}', r"unknown keys \['colour'\]"),
        ("[1]", "must be a JSON object, got list"),
        ("{", "not JSON"),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused_by_field_and_value(text, named):
    with pytest.raises(ContractError, match=named):
        Contract.from_json(text)


def test_a_live_graph_that_disagrees_is_refused_with_the_whole_list():
    images = {"front": blank(480, 640), "side": blank()}
    with pytest.raises(ContractError, match="live graph does not keep the contract") as refusal:
        Contract().require_seen(Observation(0, images, STATE[:10]))
    for named in (
        "no image of camera 'wrist'",
        "'front' gives (480, 640, 3)",
        "'side' is not in",
        "not 17 finite",
    ):
        assert named in str(refusal.value)


def test_a_live_graph_that_agrees_is_let_through():
    Contract().require_seen(Observation(0, {"front": blank(), "wrist": blank()}, STATE))


# Pairs


def test_rotations_survive_every_form():
    quaternions = random_quaternions()
    matrices = poses.matrix_from_quaternion(quaternions)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-12)
    again = poses.matrix_from_rot6d(poses.rot6d_from_matrix(matrices))
    np.testing.assert_allclose(again, matrices, atol=1e-12)
    back = poses.quaternion_from_matrix(matrices)
    np.testing.assert_allclose(np.abs((back * quaternions).sum(1)), 1, atol=1e-12)
    assert (back[:, 3] >= 0).all()
    one_by_one = np.stack([poses.quaternion_from_matrix(matrix) for matrix in matrices])
    assert one_by_one.tobytes() == back.tobytes()


def test_a_pose_times_its_inverse_is_nothing():
    matrices = poses.matrix_from_pose7(random_poses())
    product = poses.invert_pose(matrices) @ matrices
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(4), product.shape), atol=1e-12)


def test_relative_and_absolute_actions_undo_each_other():
    start, targets = random_poses()[0], random_poses()[1:17]
    widths = np.linspace(0, spaces.GRIPPER_MAX_M, 16)
    back, back_widths = spaces.absolute_actions(start, spaces.relative_actions(start, targets, widths))
    np.testing.assert_allclose(back[:, :3], targets[:, :3], atol=1e-6)
    np.testing.assert_allclose(np.abs((back[:, 3:] * targets[:, 3:]).sum(1)), 1, atol=1e-6)
    np.testing.assert_allclose(back_widths, widths, atol=1e-6)


def test_the_state_gives_its_pose_back():
    pose7 = random_poses()
    state = spaces.pack_state(pose7, np.full(len(pose7), 0.04), np.zeros((len(pose7), 7)))
    assert state.shape == (len(pose7), spaces.STATE_DIM)
    assert state.dtype == np.float32
    back = spaces.pose7_from_state(state)
    np.testing.assert_allclose(back[:, :3], pose7[:, :3], atol=1e-6)
    np.testing.assert_allclose(np.abs((back[:, 3:] * pose7[:, 3:]).sum(1)), 1, atol=1e-6)


def test_normalised_values_come_back_also_where_nothing_moved():
    rows = np.random.default_rng(2).normal(3, 5, (200, 6)).astype(np.float32)
    rows[:, 2] = 1.5
    normalizer = Normalizer.from_dict(Normalizer.fit(rows).to_dict())
    np.testing.assert_allclose(normalizer.unnormalize(normalizer.normalize(rows)), rows, atol=1e-4)
    np.testing.assert_allclose(normalizer.normalize(rows).std(0)[[0, 1, 3]], 1, atol=1e-3)


def test_every_robot_that_a_contract_may_name_has_limits():
    """A bundle for another one was accepted, and refused only when the arm was to move."""
    assert sorted(ROBOTS) == sorted(LIMITS)

"""Paths: the twist is the pose's rate, poses are met when due, switches do not jump."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from como_ros.control.interpolation import (
    BlendPath,
    BrakePath,
    ChunkPath,
    HoldPath,
    Setpoint,
    blend_seconds,
)
from como_ros.control.rotations import (
    left_jacobian,
    left_jacobian_inverse,
    matrix_from_vector,
    matrix_from_xyzw,
    vector_from_matrix,
    xyzw_from_matrix,
)
from policies.spaces import matrix_from_quaternion, quaternion_from_matrix

MS = 1_000_000
SEEDS = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20, deadline=None)


def walk(seed: int, poses: int = 8, step_m: float = 0.03, turn_rad: float = 0.15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    positions = np.cumsum(rng.normal(0, step_m, (poses, 3)), 0)
    rotation, quaternions = matrix_from_vector(rng.normal(0, 1, 3)), []
    for _ in range(poses):
        rotation = matrix_from_vector(rng.normal(0, turn_rad, 3)) @ rotation
        quaternions.append(quaternion_from_matrix(rotation))
    return np.concatenate([positions, quaternions], 1)


def chunk(seed: int, start_ns: int = 0, poses: int = 8) -> ChunkPath:
    return ChunkPath(start_ns + 100 * MS * np.arange(poses), walk(seed, poses))


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return vector_from_matrix(matrix_from_quaternion(b[3:]) @ matrix_from_quaternion(a[3:]).T)


def rate(path, now_ns: int) -> np.ndarray:
    """The twist by central differences."""
    before, after = path.at(now_ns - MS // 10).pose7, path.at(now_ns + MS // 10).pose7
    return np.concatenate([after[:3] - before[:3], turn_between(before, after)]) / 2e-4


@given(SEEDS)
@quick
def test_exponential_and_logarithm_undo_each_other(seed):
    v = np.random.default_rng(seed).uniform(-1.8, 1.8, 3)
    np.testing.assert_allclose(vector_from_matrix(matrix_from_vector(v)), v, atol=1e-9)
    np.testing.assert_allclose(left_jacobian(v) @ left_jacobian_inverse(v), np.eye(3), atol=1e-9)


@given(SEEDS)
@quick
def test_single_conversions_agree_with_those_for_batches(seed):
    xyzw = np.random.default_rng(seed).normal(0, 1, 4)
    xyzw /= np.linalg.norm(xyzw)
    rotation = matrix_from_xyzw(xyzw)
    np.testing.assert_allclose(rotation, matrix_from_quaternion(xyzw), atol=1e-12)
    np.testing.assert_allclose(xyzw_from_matrix(rotation), quaternion_from_matrix(rotation), atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-5])
def test_tiny_rotations_are_exact(size):
    v = np.array([size, -size, size / 2])
    np.testing.assert_allclose(vector_from_matrix(matrix_from_vector(v)), v, atol=1e-12)
    np.testing.assert_allclose(left_jacobian(v) @ left_jacobian_inverse(v), np.eye(3), atol=1e-9)


@given(SEEDS)
@quick
def test_a_chunk_meets_every_pose_when_it_is_due(seed):
    path = chunk(seed)
    for due_ns, pose7 in zip(path.due_ns, path.poses7, strict=True):
        reached = path.at(int(due_ns)).pose7
        np.testing.assert_allclose(reached[:3], pose7[:3], atol=1e-9)
        assert np.linalg.norm(turn_between(reached, pose7)) < 1e-6


@given(SEEDS, st.integers(1, 698))
@quick
def test_the_twist_of_a_chunk_is_the_rate_of_its_pose(seed, ms):
    path = chunk(seed)
    np.testing.assert_allclose(path.at(ms * MS).twist, rate(path, ms * MS), atol=0.02)


@given(SEEDS, st.integers(1, 6))
@quick
def test_velocity_is_continuous_across_the_poses_of_a_chunk(seed, knot):
    path = chunk(seed)
    before, after = path.at(knot * 100 * MS - 1000), path.at(knot * 100 * MS + 1000)
    np.testing.assert_allclose(before.twist, after.twist, atol=1e-3)


def test_a_chunk_stays_before_its_first_and_after_its_last_pose():
    path = chunk(1)
    for now_ns, pose7 in ((-5 * MS, path.poses7[0]), (701 * MS, path.poses7[-1])):
        np.testing.assert_array_equal(path.at(now_ns).pose7, pose7)
        assert not path.at(now_ns).twist.any()


def test_a_chunk_of_one_pose_is_a_hold():
    path = ChunkPath(np.array([5]), walk(0, 1))
    for now_ns in (0, 5, 10):
        np.testing.assert_array_equal(path.at(now_ns).pose7, path.poses7[0])


@given(SEEDS, st.integers(1, 690))
@quick
def test_a_switch_of_chunks_jumps_in_neither_pose_nor_velocity(seed, ms):
    old, new = chunk(seed), chunk(seed + 1)
    now_ns = ms * MS
    blended = BlendPath(old.at(now_ns), now_ns, new, 0.2)
    np.testing.assert_allclose(blended.at(now_ns).pose7[:3], old.at(now_ns).pose7[:3], atol=1e-9)
    assert np.linalg.norm(turn_between(blended.at(now_ns).pose7, old.at(now_ns).pose7)) < 1e-6
    np.testing.assert_allclose(blended.at(now_ns).twist, old.at(now_ns).twist, atol=1e-6)
    end_ns = now_ns + 200 * MS
    np.testing.assert_allclose(blended.at(end_ns - 1000).twist, new.at(end_ns - 1000).twist, atol=0.01)
    np.testing.assert_array_equal(blended.at(end_ns).pose7, new.at(end_ns).pose7)


@given(SEEDS, st.integers(101, 199))
@quick
def test_the_twist_of_a_blend_is_the_rate_of_its_pose(seed, ms):
    old, new = chunk(seed), chunk(seed + 1)
    blended = BlendPath(old.at(100 * MS), 100 * MS, new, 0.2)
    np.testing.assert_allclose(blended.at(ms * MS).twist, rate(blended, ms * MS), atol=0.03)


@given(SEEDS)
@quick
def test_braking_slows_down_all_the_way_and_never_turns_round(seed):
    twist = np.random.default_rng(seed).normal(0, 0.3, 6)
    path = BrakePath(Setpoint(walk(seed, 1)[0], twist), 0, 0.06)
    speeds = [path.at(ms * MS).twist[:3] @ twist[:3] for ms in range(0, 80, 2)]
    assert all(later <= sooner + 1e-9 for sooner, later in pairwise(speeds))
    assert min(speeds) >= -1e-9
    assert not path.at(61 * MS).twist.any()
    np.testing.assert_allclose(path.at(30 * MS).twist, rate(path, 30 * MS), atol=0.03)
    assert np.ptp(np.diff(speeds[:31])) < 1e-9, "brakes evenly: no harder at first than at the end"


def test_a_wide_gap_takes_longer_to_fade_out():
    here, there = Setpoint.still(walk(0, 1)[0]), Setpoint.still(walk(0, 1)[0] + [0.1, 0, 0, 0, 0, 0, 0])
    assert blend_seconds(here, here, 0.2) == 0.2
    blend_s = blend_seconds(here, there, 0.2)
    path = BlendPath(here, 0, HoldPath(there.pose7), blend_s)
    velocities = np.array([path.at(ms * MS).twist[0] for ms in range(400)])
    assert np.abs(np.diff(velocities)).max() / 1e-3 < 4.1

"""The chunk scheduler: replans in time, continues what is under way, never sends what is too late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.chunks import ChunkScheduler, ScheduleConfig
from policies.spaces import (
    Contract,
    ContractError,
    Observation,
    absolute_actions,
    pack_state,
    pose7_from_state,
)

CONTRACT = Contract()
PERIOD = CONTRACT.period_ns
START = 1_700_000_000_000_000_000


def observation(stamp_ns: int, xyz=(0.5, 0.0, 0.3), yaw: float = 0.0) -> Observation:
    pose7 = np.array([*xyz, np.cos(yaw / 2), np.sin(yaw / 2), 0.0, 0.0])
    return Observation(stamp_ns, {}, pack_state(pose7, 0.08, np.zeros(7)))


def forward(step_m: float = 0.01) -> np.ndarray:
    """Actions that move along x, the gripper closing."""
    actions = np.tile(np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0], np.float32), (CONTRACT.horizon, 1))
    actions[:, 0] = step_m * np.arange(1, CONTRACT.horizon + 1)
    actions[:, 9] = np.linspace(0.08, 0.0, CONTRACT.horizon)
    return actions


def test_the_first_action_is_due_one_period_after_the_observation():
    chunk = ChunkScheduler(CONTRACT).accept(observation(START), forward(), START + PERIOD // 2)
    assert chunk is not None
    assert chunk.stamp_ns == START + PERIOD
    assert len(chunk.poses) == CONTRACT.horizon


def test_relative_actions_become_poses_in_the_base_frame():
    looking = observation(START, yaw=0.7)
    chunk = ChunkScheduler(CONTRACT).accept(looking, forward(), START)
    assert chunk is not None
    poses, widths = absolute_actions(pose7_from_state(looking.state), forward())
    np.testing.assert_allclose(chunk.poses, poses)
    np.testing.assert_allclose(chunk.widths, widths)


@given(st.integers(0, 17 * PERIOD))
@settings(max_examples=60)
def test_all_but_one_of_the_expired_actions_are_dropped(delay_ns):
    scheduler = ChunkScheduler(CONTRACT)
    chunk = scheduler.accept(observation(START), forward(), START + delay_ns)
    if chunk is None:
        assert delay_ns > CONTRACT.horizon * PERIOD
        return
    assert (chunk.due_ns < START + delay_ns).sum() == min(scheduler.expired, 1)
    assert chunk.due_ns[-1] == START + CONTRACT.horizon * PERIOD


def test_it_looks_again_after_the_executed_actions_and_not_before():
    scheduler = ChunkScheduler(CONTRACT, ScheduleConfig(replan_every=4))
    assert scheduler.wants(START)
    scheduler.accept(observation(START), forward(), START + 1)
    assert not scheduler.wants(START + 3 * PERIOD)
    assert scheduler.wants(START + 4 * PERIOD - 5_000_000)  # a camera's jitter does not cost a whole frame


def test_nothing_is_committed_before_the_first_chunk():
    assert ChunkScheduler(CONTRACT).committed(observation(START)).shape == (0, CONTRACT.action_dim)


def test_the_committed_prefix_covers_the_measured_delay_and_continues_the_chunk():
    scheduler = ChunkScheduler(CONTRACT)
    first = observation(START)
    scheduler.accept(first, forward(), START + round(1.2 * PERIOD))
    here = observation(START + 4 * PERIOD, xyz=(0.53, 0.0, 0.3))
    prefix = scheduler.committed(here)
    assert prefix.shape == (2, CONTRACT.action_dim)
    poses, widths = absolute_actions(pose7_from_state(here.state), prefix)
    expected, expected_widths = absolute_actions(pose7_from_state(first.state), forward())
    np.testing.assert_allclose(poses[:, :3], expected[4:6, :3], atol=1e-6)
    np.testing.assert_allclose(widths, expected_widths[4:6], atol=1e-6)


def test_the_prefix_is_read_between_actions_when_the_camera_is_off_the_grid():
    scheduler = ChunkScheduler(CONTRACT)
    scheduler.accept(observation(START), forward(), START + PERIOD // 2)
    prefix = scheduler.committed(observation(START + round(4.5 * PERIOD)))
    assert prefix[0, 0] == pytest.approx(0.055, abs=1e-6)


def test_the_prefix_never_reaches_beyond_the_active_chunk_or_the_trained_length():
    scheduler = ChunkScheduler(CONTRACT, ScheduleConfig(max_committed=3))
    scheduler.accept(observation(START), forward(), START + 9 * PERIOD)
    assert len(scheduler.committed(observation(START + 2 * PERIOD))) == 3
    assert len(scheduler.committed(observation(START + 14 * PERIOD))) == 2
    assert len(scheduler.committed(observation(START + 30 * PERIOD))) == 0


def test_a_reset_forgets_the_chunk_and_keeps_the_delay():
    scheduler = ChunkScheduler(CONTRACT)
    scheduler.accept(observation(START), forward(), START + PERIOD)
    scheduler.reset()
    assert scheduler.wants(START + 1)
    assert len(scheduler.committed(observation(START + PERIOD))) == 0
    assert scheduler.delay_ns == PERIOD


@pytest.mark.parametrize("spoil", [lambda a: a[:3], lambda a: a * np.nan])
def test_actions_of_the_wrong_shape_or_not_finite_are_refused_whole(spoil):
    with pytest.raises(ContractError, match="policy gave actions of shape"):
        ChunkScheduler(CONTRACT).accept(observation(START), spoil(forward()), START)


def test_replanning_beyond_the_horizon_is_refused():
    with pytest.raises(ContractError, match=r"replan_every must lie in 1\.\.16"):
        ChunkScheduler(CONTRACT, ScheduleConfig(replan_every=17))

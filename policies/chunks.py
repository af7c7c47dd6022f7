"""When to think again, what is already decided meanwhile, and which actions come too late.

A chunk computed from the observation at time t holds actions due at t + 1, t + 2, ... periods. While it is
being computed the arm goes on with the chunk before; the actions that will have begun by the time the new one
arrives are committed and are given to the policy as a prefix, so that it continues what is under way. Pure:
time and observations come in as arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from policies.spaces import (
    ActionChunk,
    Contract,
    ContractError,
    Observation,
    absolute_actions,
    pose7_from_state,
    relative_actions,
)
from policies.timeline import interpolate_linear, interpolate_pose7

DELAYS_KEPT = 9
DELAY_QUANTILE = 0.75
"""A little pessimistic: a prefix one action too long costs less than a jump."""


@dataclass(frozen=True)
class ScheduleConfig:
    replan_every: int = 4
    """Actions of a chunk that are executed before the policy looks again."""
    max_committed: int = 4
    """Longest prefix the policy was trained to continue."""


class ChunkScheduler:
    """The book-keeping of one policy run; `reset` before a new one."""

    def __init__(self, contract: Contract, config: ScheduleConfig | None = None) -> None:
        self.config = config or ScheduleConfig()
        if not 1 <= self.config.replan_every <= contract.horizon:
            raise ContractError(
                f"replan_every must lie in 1..{contract.horizon}, the horizon; got {self.config.replan_every}"
            )
        self._contract = contract
        self._delays_ns: deque[int] = deque(maxlen=DELAYS_KEPT)
        self.expired = 0
        """Actions dropped so far because their time had passed."""
        self.reset()

    def reset(self) -> None:
        """Forget what is under way, keep what is known about delays."""
        self._active: ActionChunk | None = None
        self._observed_ns: int | None = None

    @property
    def delay_ns(self) -> int:
        """Expected time from observation to chunk, measured; 0 before the first."""
        return round(float(np.quantile(self._delays_ns, DELAY_QUANTILE))) if self._delays_ns else 0

    def wants(self, observed_ns: int) -> bool:
        """Whether an observation of this time should be thought about; a quarter period early will do."""
        if self._observed_ns is None:
            return True
        since_ns = observed_ns - self._observed_ns
        wait_ns = self.config.replan_every * self._contract.period_ns - self._contract.period_ns // 4
        return since_ns >= wait_ns or since_ns < 0  # below zero the clock was set back

    def committed(self, observation: Observation) -> np.ndarray:
        """(d, A) actions under way, relative to the observation's EE pose."""
        if self._active is None:
            return np.zeros((0, self._contract.action_dim), np.float32)
        period_ns = self._contract.period_ns
        count = min(-(-self.delay_ns // period_ns), self.config.max_committed)
        due_ns = observation.stamp_ns + period_ns * np.arange(1, count + 1)
        due_ns = due_ns[due_ns <= self._active.due_ns[-1]]
        if not len(due_ns):
            return np.zeros((0, self._contract.action_dim), np.float32)
        poses, widths = zip(*(_at(self._active, int(due)) for due in due_ns), strict=True)
        return relative_actions(pose7_from_state(observation.state), np.stack(poses), np.array(widths))

    def accept(self, observation: Observation, actions: np.ndarray, now_ns: int) -> ActionChunk | None:
        """The chunk to send now, or None when every action has expired.

        One expired action is kept in front: the arm is between it and the next one.
        """
        shape = (self._contract.horizon, self._contract.action_dim)
        if actions.shape != shape or not np.isfinite(actions).all():
            raise ContractError(
                f"policy gave actions of shape {actions.shape}, finite ones of {shape} are needed"
            )
        self._delays_ns.append(now_ns - observation.stamp_ns)
        poses, widths = absolute_actions(pose7_from_state(observation.state), actions)
        period_ns = self._contract.period_ns
        whole = ActionChunk(observation.stamp_ns + period_ns, poses, widths, period_ns)
        late = int(np.searchsorted(whole.due_ns, now_ns))
        self.expired += late
        if late == len(poses):
            return None
        self._observed_ns, self._active = observation.stamp_ns, whole
        first = max(late - 1, 0)
        return ActionChunk(int(whole.due_ns[first]), poses[first:], widths[first:], period_ns)


def _at(chunk: ActionChunk, time_ns: int) -> tuple[np.ndarray, float]:
    """Pose and width of a chunk at a time within it; both on the line."""
    place = min(max((time_ns - chunk.stamp_ns) / chunk.period_ns, 0.0), len(chunk.poses) - 1.0)
    before = int(place)
    after = min(before + 1, len(chunk.poses) - 1)
    pose7 = interpolate_pose7(chunk.poses[before], chunk.poses[after], place - before)
    width = interpolate_linear(chunk.widths[before], chunk.widths[after], place - before)
    return pose7, float(width)

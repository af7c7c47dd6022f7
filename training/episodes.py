"""Recorded episodes as arrays at the contract's rate, through the resampler the robot uses live.

The action at tick t, index i is the set-point due at t + (i + 1) periods, relative to the measured
end-effector pose at t; after the last command of an episode that command is repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import bags
from como_ros.errors import ComoError
from policies.framing import fit, is_larger
from policies.spaces import (
    EE_POSITION,
    EVALUATION_SEEDS_FROM,
    GRIPPER,
    Contract,
    Observation,
    image_key,
    invert_pose,
    matrix_from_pose7,
    pose7_from_state,
    relative_actions,
)
from policies.timeline import Gap, Timeline, observation_streams, replay

LEARNED_FROM = ("success", "kept")
"""Outcomes of episodes that are worth imitating."""

COMMANDS = ("command_pose", "command_width")
SHORTEST_TICKS = 2
LONGEST_S = 3600.0
"""Commands farther apart were stamped by different clocks: an episode takes minutes, and all of it memory."""


@dataclass(frozen=True)
class Episode:
    """One demonstration sampled on its ticks."""

    path: Path
    instruction: str
    images: dict[str, np.ndarray]
    """Camera name -> (T, h, w, 3) uint8."""
    states: np.ndarray
    """(T, S) float32"""
    command_poses: np.ndarray
    """(T, 7): the set-point due at each tick, in the base frame."""
    command_widths: np.ndarray
    """(T,)"""

    def __len__(self) -> int:
        return len(self.states)

    @property
    def ee_poses(self) -> np.ndarray:
        """(T, 7) measured."""
        return pose7_from_state(self.states)


def load_episodes(
    folder: Path, measuring: bool = False, include_flagged: bool = False
) -> tuple[Contract, list[Episode]]:
    """Every episode below `folder` that ended well, all in memory; see `read_episodes`."""
    contract, episodes = read_episodes(folder, measuring, include_flagged)
    if not (loaded := list(episodes)):
        raise ComoError(_none_good(folder))
    return contract, loaded


def read_episodes(
    folder: Path, measuring: bool = False, include_flagged: bool = False, as_recorded: bool = False
) -> tuple[Contract, Iterator[Episode]]:
    """Every episode below `folder` that ended well, one by one; evaluation seeds only when `measuring`.

    Those whose recorder saw a stream silent, late, slow or lossy are left out unless they are asked for.
    Large pictures are shrunk to the size that is learned from, or come `as_recorded`.
    """
    good = good_episodes(folder, measuring, include_flagged)
    contract = good[0].contract if as_recorded else learned(good[0].contract)
    reads = (_readable(load_episode, meta.path, contract) for meta in good)
    return contract, (part for parts in reads for whole in parts for part in whole)


def good_episodes(
    folder: Path, measuring: bool = False, include_flagged: bool = False
) -> list[bags.EpisodeMeta]:
    """What is known of the episodes below `folder` that may be learned from, before one is read."""
    metas = [meta for path in bags.episodes(folder) for meta in _readable(bags.read_meta, path)]
    if not measuring:
        _refuse_evaluation_seeds(metas)
    good = [meta for meta in metas if meta.outcome in LEARNED_FROM]
    if skipped := len(metas) - len(good):
        sys.stderr.write(f"{skipped} of {len(metas)} episodes in {folder} ended badly: left out\n")
    if not include_flagged:
        good = _unflagged(good)
    if not good:
        raise ComoError(_none_good(folder))
    return good


def _none_good(folder: Path) -> str:
    return f"{folder} holds no good episodes; record some or run `como demos --out {folder}`"


def _unflagged(metas: list[bags.EpisodeMeta]) -> list[bags.EpisodeMeta]:
    flagged = [meta for meta in metas if meta.flags]
    for meta in flagged:
        told = f"flagged while it was recorded ({'; '.join(meta.flags)})"
        sys.stderr.write(f"{meta.path} was {told}: left out; --include-flagged takes it\n")
    return [meta for meta in metas if not meta.flags]


def _readable(read: Callable[..., Any], *args: Any) -> list[Any]:
    """What a bag gives, or nothing where it is damaged, and the reason said."""
    try:
        return [read(*args)]
    except (bags.BagError, OSError) as error:
        sys.stderr.write(f"left out: {error}\n")
        return []


def _refuse_evaluation_seeds(metas: list[bags.EpisodeMeta]) -> None:
    for meta in metas:
        seed = meta.provenance.get("seed", "")
        if seed.isdecimal() and int(seed) >= EVALUATION_SEEDS_FROM:
            raise ComoError(
                f"{meta.path} comes from seed {seed}; seeds from {EVALUATION_SEEDS_FROM} on are for "
                "evaluation only, train on others"
            )


def learned(recorded: Contract) -> Contract:
    """What a policy is made for: pictures of a camera that nobody framed are shrunk, live and here alike."""
    return _framed(recorded, Contract().image_hw)


def load_episode(path: Path, contract: Contract) -> list[Episode]:
    """Play the bag into a timeline and observe at every tick that has a command.

    A tick without an observation ends a part: actions never reach across a gap in the recording.
    """
    meta = bags.read_meta(path)
    contract.require(_framed(meta.contract, contract.image_hw), f"episode {path}")
    told = list(bags.read_events(path, COMMANDS))
    poses = [(stamp, value) for key, stamp, value in told if key == "command_pose"]
    widths = [(stamp, value) for key, stamp, value in told if key == "command_width"]
    if not poses:
        sys.stderr.write(f"{path} holds no operator's commands: left out\n")
        return []
    if (span_s := (poses[-1][0] - poses[0][0]) / 1e9) > LONGEST_S:
        stamps = f"from {poses[0][0]} to {poses[-1][0]} ns"
        raise bags.BagError(
            f"{path} has commands stamped {stamps}, {span_s:.0f} s apart; mend their publisher"
        )
    ticks = np.arange(poses[0][0], poses[-1][0] + 1, contract.period_ns)
    arrivals = ((stamp, key, stamp, value) for key, stamp, value in _observed(path, contract))
    timeline = Timeline(observation_streams(contract))
    looks = [_let_go(look) for look in replay(timeline, arrivals, ticks.tolist(), meta.instruction)]
    parts = [part for part in _unbroken(looks) if len(part) >= SHORTEST_TICKS]
    if not parts:
        why = next((look.reason for look in looks if isinstance(look, Gap)), "it is too short")
        raise bags.BagError(f"episode {path} has no two usable ticks in a row ({why}); see `como bags check`")
    if gaps := sum(not isinstance(look, Observation) for look in looks[1:-1]):
        sys.stderr.write(f"{path}: {gaps} ticks without an observation, learned from in {len(parts)} parts\n")
    names = [path, *(path.with_name(f"{path.name}.{i}") for i in range(1, len(parts)))]
    return [
        _episode_of(name, contract, meta.instruction, part, poses, widths)
        for name, part in zip(names, parts, strict=True)
    ]


def _observed(path: Path, contract: Contract) -> Iterator[tuple[str, int, Any]]:
    """What observations are made of, pictures at the contract's size; only what a tick sees is kept."""
    colour = set(map(image_key, contract.cameras))
    for key, stamp_ns, value in bags.read_events(path, observation_streams(contract)):
        yield key, stamp_ns, fit(value, contract.image_hw) if key in colour else value


def _let_go(look: Observation | Gap) -> Observation | Gap:
    """Its pictures without the chunks of the recording that they are views of."""
    if isinstance(look, Gap):
        return look
    return replace(look, images={name: image.copy() for name, image in look.images.items()})


def _framed(recorded: Contract, image_hw: tuple[int, int]) -> Contract:
    return replace(recorded, image_hw=image_hw) if is_larger(recorded.image_hw, image_hw) else recorded


def _unbroken(looks: list) -> list[list[Observation]]:
    """Runs of observations with no gap inside."""
    parts: list[list[Observation]] = [[]]
    for look in looks:
        if isinstance(look, Observation):
            parts[-1].append(look)
        elif parts[-1]:
            parts.append([])
    return parts


def _episode_of(
    path: Path, contract: Contract, instruction: str, seen: list[Observation], poses: list, widths: list
) -> Episode:
    ticks = np.array([observation.stamp_ns for observation in seen])
    states = np.stack([o.state for o in seen])
    images = {name: np.stack([o.images[name] for o in seen]) for name in contract.cameras}
    for name, frames in images.items():
        if frames.shape[1:3] != contract.image_hw:
            raise bags.BagError(
                f"episode {path}: {name} is {frames.shape[1:3]}, its contract says {contract.image_hw}"
            )
    return Episode(path, instruction, images, states, _held(poses, ticks), _widths_at(ticks, widths, states))


def _widths_at(ticks: np.ndarray, widths: list, states: np.ndarray) -> np.ndarray:
    """What the gripper was last told; what it measured for as long as the operator never worked it."""
    told = ticks >= widths[0][0] if widths else np.zeros(len(ticks), bool)
    held = states[:, GRIPPER].astype(np.float64)
    if told.any():
        held[told] = _held(widths, ticks[told])
    return held


def _held(stream: list, ticks: np.ndarray) -> np.ndarray:
    """The newest value at or before each tick."""
    stamps = np.array([stamp for stamp, _ in stream])
    index = np.clip(np.searchsorted(stamps, ticks, side="right") - 1, 0, None)
    return np.array([value for _, value in stream], np.float64)[index]


def action_targets(episode: Episode, horizon: int) -> np.ndarray:
    """(T, H, A): what was commanded over the next `horizon` ticks, relative to the measured pose."""
    ahead = np.minimum(np.arange(len(episode))[:, None] + 1 + np.arange(horizon), len(episode) - 1)
    chunks = zip(episode.ee_poses, ahead, strict=True)
    return np.stack(
        [relative_actions(start, episode.command_poses[i], episode.command_widths[i]) for start, i in chunks]
    )


def gripper_events(episode: Episode) -> np.ndarray:
    """Ticks at which the commanded width crosses the middle of its range: grasps and releases."""
    widths = episode.command_widths
    low, high = float(widths.min()), float(widths.max())
    if high - low < 0.005:
        return np.zeros(0, int)
    closed = widths < (low + high) / 2
    return np.flatnonzero(closed[1:] != closed[:-1]) + 1


def next_gripper_points(episode: Episode) -> np.ndarray:
    """(T, 6): where the end effector is at the next gripper event, seen from where it is and from the base.

    NaN after the last event.
    """
    out = np.full((len(episode), 6), np.nan)
    poses = episode.ee_poses
    start = 0
    for event in gripper_events(episode):
        out[start:event, 3:] = poses[event, EE_POSITION]
        start = event
    known = np.isfinite(out[:, 3])
    here = invert_pose(matrix_from_pose7(poses[known]))
    out[known, :3] = np.einsum("nij,nj->ni", here[:, :3, :3], out[known, 3:]) + here[:, :3, 3]
    return out

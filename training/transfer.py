"""Across embodiments: does a probe fitted on a robot's latent motions read a hand's, and the reverse?

The only module that reads the lab's true hand motion, and it trains no model: what it learns is a linear
probe that is thrown away. Latent motions are centred and scaled for each embodiment by itself, which needs
no labels; the figures without it stand beside. R2 is of the motion in the tested side's own spread by axis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from como_ros.errors import ComoError
from policies.spaces import Contract
from training.episodes import load_episodes
from training.latent_motion import model
from training.latent_motion.data import AXES, MotionData
from training.latent_motion.net import MotionNet
from training.metrics import read_pairs, robot_targets
from training.motion_data import ENCODER, FrozenEncoder, motion_data, open_encoder
from training.probe import PENALTIES, probe, r2_score, ridge, split_by_group
from training.videos import Clip, read_clips, refuse_truth

TRANSLATION = AXES[:3]
STRENGTHS = (*PENALTIES, 1e3)
"""Penalties tried for the other embodiment: a stronger one trusts less in what only the first one shows."""
LEAST = 1e-3
"""Penalty, as a share of a number's mean variance, that keeps a code without any noise solvable."""


@dataclass(frozen=True)
class Moves:
    """Latent motions of one embodiment and what really moved."""

    z: np.ndarray
    """(N, D)"""
    moved: np.ndarray
    """(N, 3) metres in the base frame"""
    groups: np.ndarray
    back: np.ndarray
    """(N, D) of the same pairs of frames, the later one first."""

    def standard(self) -> Moves:
        """By this embodiment's own statistics."""
        return replace(self, z=(self.z - self.z.mean(0)) / (self.z.std(0) + 1e-6))

    def parted(self) -> tuple[np.ndarray, np.ndarray]:
        """What turns round when time does, and what does not; both (N, D), centred, in the first's spread."""
        turning, staying = _centred(self.z - self.back), _centred(self.z + self.back)
        spread = np.sqrt((turning**2).mean()) + 1e-12
        return turning / spread, staying / spread


def transfer(folder: Path, bags: Path, videos: Path, truth: Path) -> dict[str, float]:
    """R2 and correlation of probes within and across embodiments; `truth` lies beside the clips."""
    refuse_truth(folder, bags, videos)
    net, found = model.load(folder)
    encoder = open_encoder(folder / ENCODER, found.contract)
    robot, hand = robot_moves(net, encoder, bags), hand_moves(net, encoder, videos, truth)
    out: dict[str, float] = {}
    for name, fitted, tested in (("robot_to_hand", robot, hand), ("hand_to_robot", hand, robot)):
        out |= _read_across(name, fitted.standard(), tested.standard())
        out |= {f"{name}_raw_r2": _read_across(name, fitted, tested)[f"{name}_r2"]}
        out |= _calibrated(name, fitted.standard(), tested.standard())
        out |= _turning(name, fitted, tested)
    out |= {f"{name}_r2": _within(moves) for name, moves in (("robot", robot), ("hand", hand))}
    return out


def _within(moves: Moves) -> float:
    return float(probe(moves.z, moves.moved, moves.groups).r2.mean())


def _read_across(name: str, fitted: Moves, tested: Moves) -> dict[str, float]:
    """With the penalty that the fitted embodiment asks for."""
    wanted, guess = _guess(fitted, tested, probe(fitted.z, fitted.moved, fitted.groups).penalty)
    r2 = r2_score(wanted, guess, np.zeros(3))
    together = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(guess.T, wanted.T, strict=True)]
    out = {f"{name}_r2": float(r2.mean()), f"{name}_correlation": float(np.mean(together))}
    return out | {f"{name}_r2_{axis}": float(value) for axis, value in zip(TRANSLATION, r2, strict=True)}


def _calibrated(name: str, fitted: Moves, tested: Moves) -> dict[str, float]:
    """With the penalty that serves a quarter of the tested embodiment's recordings; measured on the others.

    That one number is all that is learned from the other embodiment's labels.
    """
    chosen = split_by_group(tested.groups)
    found = {}
    for penalty in STRENGTHS:
        wanted, guess = _guess(fitted, tested, penalty)
        parts = [r2_score(wanted[rows], guess[rows], np.zeros(3)).mean() for rows in (chosen, ~chosen)]
        found[penalty] = (float(parts[0]), float(parts[1]))
    best = max(found, key=lambda penalty: found[penalty][0])
    return {f"{name}_calibrated_r2": found[best][1], f"{name}_calibrated_penalty": best}


def _turning(name: str, fitted: Moves, tested: Moves) -> dict[str, float]:
    """By what turns round when time does, without a label of the tested side or a number chosen by one.

    What a motion and its reverse share is no motion: such noise of both embodiments is the probe's penalty.
    """
    (known, noise), (seen, other) = fitted.parted(), tested.parted()
    wanted, true = (_in_own_spread(m.moved) for m in (fitted, tested))
    penalty = _covariance(noise) + _covariance(other) + LEAST * np.eye(known.shape[1])
    guess = seen @ np.linalg.solve(_covariance(known) + penalty, known.T @ wanted / len(known))
    r2 = r2_score(true, guess, np.zeros(3))
    out = {f"{name}_turning_r2_{axis}": float(value) for axis, value in zip(TRANSLATION, r2, strict=True)}
    moved = _centred(tested.moved)
    missed = ((moved - guess * fitted.moved.std(0)) ** 2).sum() / (moved**2).sum()
    return out | {
        f"{name}_turning_r2": float(r2.mean()),
        f"{name}_turning_explained_metres": 1 - float(missed),
    }


def _centred(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) - values.mean(0)


def _in_own_spread(moved: np.ndarray) -> np.ndarray:
    return (moved - moved.mean(0)) / moved.std(0)


def _covariance(values: np.ndarray) -> np.ndarray:
    """Of what is centred."""
    return values.T @ values / len(values)


def _guess(fitted: Moves, tested: Moves, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """How the tested side moves and what is read, both in its own spread: one embodiment is the quicker."""
    wanted = [_in_own_spread(m.moved) for m in (fitted, tested)]
    known = np.arange(len(fitted.z) + len(tested.z)) < len(fitted.z)
    guess = ridge(np.concatenate([fitted.z, tested.z]), np.concatenate(wanted), known, penalty)
    return wanted[1], guess[~known]


def robot_moves(net: MotionNet, encoder: FrozenEncoder, bags: Path) -> Moves:
    contract, episodes = load_episodes(bags, measuring=True)
    encoder.contract.require(contract, f"bags {bags}")
    data = motion_data(episodes, [], encoder, replace(net.config, masks="none"), copies=0)
    gap = round(net.config.gap_s * data.rate_hz)
    starts = data.starts(gap)
    return _moves(net, data, starts, gap, robot_targets(episodes, starts, gap)[:, :3])


def hand_moves(net: MotionNet, encoder: FrozenEncoder, videos: Path, truth: Path) -> Moves:
    contract = encoder.contract
    clips = read_clips(videos, contract.action_rate_hz, contract.image_hw)[0]
    data = motion_data([], clips, encoder, replace(net.config, masks="none"), copies=0)
    gap = round(net.config.gap_s * data.rate_hz)
    starts = data.starts(gap)
    places = np.concatenate([true_places(clip, truth, contract) for clip in clips])
    return _moves(net, data, starts, gap, places[starts + gap] - places[starts])


def _moves(net: MotionNet, data: MotionData, starts: np.ndarray, gap: int, moved: np.ndarray) -> Moves:
    z, back = (read_pairs(net, data, *way).z for way in ((starts, starts + gap), (starts + gap, starts)))
    return Moves(z, moved, data.groups[starts], back)


def true_places(clip: Clip, truth: Path, contract: Contract) -> np.ndarray:
    """(T, 3): where the pinch is in each frame that `read_clip` kept."""
    path = truth / f"{clip.path.stem}.truth.npz"
    if not path.is_file():
        raise ComoError(f"{path} is missing; the truth of clips DIR is in DIR.truth")
    with np.load(path, allow_pickle=False) as file:
        times, poses = file["time_s"], file["hand_pose7"]
    shown = np.searchsorted(times, np.arange(len(clip.frames)) / contract.action_rate_hz - 1e-3)
    if shown[-1] >= len(times):
        raise ComoError(f"{path} ends before its clip; make the clips again")
    return poses[shown, :3]

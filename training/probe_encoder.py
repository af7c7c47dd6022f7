"""The gate before any policy: can a linear map find the grasp in the frozen tokens?

From held-out episodes' frames before the grasp, ridge regression predicts where the end effector will
be when the gripper closes: in the base frame from the front camera, relative to the end effector from
the wrist camera. Nothing but what a recorded episode holds is used. On episodes that the encoder was
trained on the figure is a little too good (12 mm became 10 mm); for a report, probe on others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from como_ros.errors import ComoError
from training.episodes import Episode, gripper_events, load_episodes, next_gripper_points
from training.motion_data import FrozenEncoder, open_encoder
from training.probe import FEWEST_GROUPS, Probe, probe

GATE_R2 = 0.8
"""Least mean R2 over x and y of both cameras before a policy is trained on the tokens; an untrained
encoder reaches 0.3 to 0.7, a useful one 0.94 and more."""
FRAMES_PER_EPISODE = 12


def probe_encoder(encoder: FrozenEncoder, episodes: list[Episode]) -> dict[str, float]:
    """R2 and error in millimetres of the grasp point for both cameras."""
    rows = [_before_grasp(episode) for episode in episodes]
    usable = [(e, r) for e, r in zip(episodes, rows, strict=True) if len(r)]
    if len(usable) < FEWEST_GROUPS:
        raise ComoError(
            f"the encoder cannot be judged: the gripper acts in {len(usable)} of {len(episodes)} episodes, "
            f"{FEWEST_GROUPS} needed; record more, or use --force"
        )
    groups = np.concatenate([np.full(len(r), i) for i, (_, r) in enumerate(usable)])
    points = np.concatenate([next_gripper_points(e)[r] for e, r in usable])
    found = {
        "front": _probe_camera(encoder, usable, "front", points[:, 3:], groups),
        "wrist": _probe_camera(encoder, usable, "wrist", points[:, :3], groups),
    }
    out: dict[str, float] = {"episodes": float(len(usable)), "frames": float(len(groups))}
    for camera, result in found.items():
        out[f"{camera}_r2"] = float(result.r2[:2].mean())
        out[f"{camera}_mm"] = float(np.sqrt(result.mse[:2].sum()) * 1000)
    return out


def _before_grasp(episode: Episode) -> np.ndarray:
    """Evenly spaced ticks before the first gripper event; none where the gripper never acts."""
    events = gripper_events(episode)
    if not len(events) or events[0] < 2:
        return np.zeros(0, int)
    return np.unique(np.linspace(0, events[0] - 1, FRAMES_PER_EPISODE).astype(int))


def _probe_camera(
    encoder: FrozenEncoder, usable: list, camera: str, targets: np.ndarray, groups: np.ndarray
) -> Probe:
    images = np.concatenate([episode.images[camera][rows] for episode, rows in usable])
    tokens = encoder.fresh(images)[0].astype(np.float32)
    return probe(tokens.reshape(len(tokens), -1), targets, groups)


def probe_folder(encoder: Path, bags: Path) -> dict[str, float]:
    frozen = open_encoder(encoder)
    contract, episodes = load_episodes(bags, measuring=True)
    frozen.contract.require(contract, f"bags {bags}")
    return probe_encoder(frozen, episodes)


def require_useful(found: dict[str, float]) -> None:
    """Refuse an encoder in whose tokens the grasp cannot be found."""
    worst = min(found["front_r2"], found["wrist_r2"])
    if worst < GATE_R2:
        raise ComoError(
            f"this encoder does not show where to grasp: probe R2 {worst:.2f} < {GATE_R2} "
            f"(front {found['front_mm']:.0f} mm, wrist {found['wrist_mm']:.0f} mm); "
            "pre-train it longer, or use --force"
        )

"""Frames of robot episodes and clips in one array, for pre-training the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from como_ros.errors import ComoError
from policies.nets.encoder import IMAGE_PX
from policies.spaces import CAMERAS, Contract
from training.episodes import Episode, load_episodes, next_gripper_points
from training.videos import Clip, read_clips


@dataclass(frozen=True)
class FrameStore:
    """R front frames, R wrist frames of the same ticks, then the clips' frames."""

    images: np.ndarray
    """(N, h, w, 3) uint8"""
    robot: int
    """R"""
    targets: np.ndarray
    """(R, 6) hindsight points, NaN where the episode has no further gripper event."""
    backgrounds: np.ndarray
    """(M + 1, h, w, 3) uint8; the last one is a dummy for frames without one."""
    background_index: np.ndarray
    """(N,) row of `backgrounds`, -1 for a moving camera."""

    def backgrounds_of(self, rows: np.ndarray) -> np.ndarray:
        return self.backgrounds[self.background_index[rows]]

    def draw(
        self, batch: int, video_share: float, generator: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a batch (front, wrist of the same ticks, video) and the robot ticks they begin with."""
        clips = len(self.images) - 2 * self.robot
        videos = round(batch * video_share) if clips else 0
        pairs = torch.randint(0, self.robot, ((batch - videos) // 2,), generator=generator).numpy()
        extra = 2 * self.robot + torch.randint(0, max(clips, 1), (videos,), generator=generator).numpy()
        return np.concatenate([pairs, pairs + self.robot, extra]), pairs


def median_image(frames: np.ndarray, limit: int = 60) -> np.ndarray:
    """Per-pixel median of at most `limit` evenly spaced frames: what stands still."""
    chosen = frames[np.linspace(0, len(frames) - 1, min(limit, len(frames))).astype(int)]
    return np.median(chosen, 0).astype(np.uint8)


def store_of(episodes: list[Episode], clips: list[Clip]) -> FrameStore:
    """The front camera stands still over all episodes, a clip's camera for its clip, the wrist's never."""
    front = np.concatenate([e.images["front"] for e in episodes])
    wrist = np.concatenate([e.images["wrist"] for e in episodes])
    backgrounds = [median_image(front, 200)] + [median_image(c.frames) for c in clips]
    index = [np.zeros(len(front), int), np.full(len(wrist), -1)]
    index += [np.full(len(c.frames), 1 + i) for i, c in enumerate(clips)]
    return FrameStore(
        images=np.concatenate([front, wrist, *[c.frames for c in clips]]),
        robot=len(front),
        targets=np.concatenate([next_gripper_points(e) for e in episodes]),
        backgrounds=np.stack([*backgrounds, np.zeros_like(backgrounds[0])]),
        background_index=np.concatenate(index),
    )


def load_frames(bags: Path, videos: Path | None) -> tuple[Contract, FrameStore]:
    contract, episodes = load_episodes(bags)
    if contract.image_hw != (IMAGE_PX, IMAGE_PX) or set(contract.cameras) != set(CAMERAS):
        found = f"{contract.image_hw} of {', '.join(contract.cameras)}"
        wanted = f"{(IMAGE_PX, IMAGE_PX)} of {' and '.join(CAMERAS)}"
        raise ComoError(
            f"{bags} holds pictures {found}, the lab's encoder reads {wanted}; record these or larger"
        )
    clips = read_clips(videos, contract.action_rate_hz, contract.image_hw)[0] if videos else []
    return contract, store_of(episodes, clips)

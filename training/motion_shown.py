"""What the page about a motion model shows: some recordings, the motions read from them, what it paints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
import torch

from como_ros.errors import ComoError
from training.episodes import Episode
from training.latent_motion.data import MotionData
from training.latent_motion.net import Motion, MotionNet
from training.latent_motion.pictures import moved, painted_images
from training.metrics import Read, read_pairs
from training.motion_data import FrozenEncoder, motion_data
from training.videos import Clip

RECORDINGS = 12
"""Episodes, and clips, that pictures are taken from, evenly through each set."""


@dataclass(frozen=True)
class Shown:
    """The frames that the pictures are made of, and the motions read from them."""

    net: MotionNet
    data: MotionData
    images: np.ndarray
    """(N, h, w, 3) uint8"""
    starts: np.ndarray
    gap: int
    energy: np.ndarray
    """(len(starts),) how much each pair's pixels change."""
    read: Read

    @property
    def robot(self) -> np.ndarray:
        """Whether each pair is of a robot."""
        return self.starts < self.data.robot

    def pair(self, index: int) -> np.ndarray:
        start = self.starts[index]
        return moved(self.images[start], self.images[start + self.gap])

    def first(self, index: int) -> np.ndarray:
        return self.images[self.starts[index]]

    def later(self, index: int) -> np.ndarray:
        return self.images[self.starts[index] + self.gap]


def spread(whole: list) -> list:
    """At most so many, evenly through the set."""
    chosen = np.linspace(0, len(whole) - 1, min(RECORDINGS, len(whole))).round().astype(int)
    return [whole[i] for i in chosen]


def look(net: MotionNet, encoder: FrozenEncoder, episodes: list[Episode], clips: list[Clip]) -> Shown:
    if not episodes and not clips:
        raise ComoError(f"no recording is longer than the {net.config.gap_s} s between the two frames")
    data = motion_data(episodes, clips, encoder, replace(net.config, masks="none"), copies=0)
    gap = round(net.config.gap_s * data.rate_hz)
    starts = data.starts(gap)
    images = np.concatenate([e.images["front"] for e in episodes] + [c.frames for c in clips])
    patches = data.patches[0].astype(np.float32)
    energy = np.array([np.square(patches[i + gap] - patches[i]).mean() for i in starts])
    return Shown(net, data, images, starts, gap, energy, read_pairs(net, data, starts, starts + gap))


def liveliest(shown: Shown, robot: bool) -> list[int]:
    """Of every recording of robots, or of every clip, the pair in which most changes."""
    groups = shown.data.groups[shown.starts]
    pairs = [np.flatnonzero(groups == g) for g in np.unique(groups[shown.robot == robot])]
    return [int(of_one[shown.energy[of_one].argmax()]) for of_one in pairs]


def in_turn(shown: Shown) -> list[int]:
    """The liveliest pairs, of robots and of clips by turns."""
    both = zip_longest(liveliest(shown, True), liveliest(shown, False))
    return [pair for pairs in both for pair in pairs if pair is not None]


def paint(shown: Shown, frames: list[int], motions: list[int]) -> list[np.ndarray]:
    """The first frame of each of `frames`' pairs, moved as in each of `motions`' pairs."""
    net, data = shown.net, shown.data
    with torch.no_grad():
        motion = _motions(shown, motions)
        canvas = net.decode(data.view(shown.starts[frames]), motion)
    if net.config.target == "pixels":
        return painted_images(canvas, net.config, shown.images.shape[1])
    return [shown.images[i] for i in _nearest_frames(shown, canvas)]


def _motions(shown: Shown, pairs: list[int]) -> Motion:
    first = shown.starts[pairs]
    return shown.net.encode(shown.data.view(first), shown.data.view(first + shown.gap))


def _nearest_frames(shown: Shown, canvas: torch.Tensor) -> list[int]:
    every = shown.net.canvas(shown.data.view(np.arange(len(shown.images)))).flatten(1)
    return torch.cdist(canvas.flatten(1).float(), every).argmin(1).tolist()


def one_a_recording(shown: Shown, ranked: np.ndarray) -> list[int]:
    """The best ranked pair of every recording."""
    groups = shown.data.groups[shown.starts[ranked]]
    return [int(ranked[i]) for i in np.sort(np.unique(groups, return_index=True)[1])]

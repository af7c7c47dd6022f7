"""What speaks for the labels of one recording: its latent motions, and what their confidence rests on.

Every recording is weighed with one thread, so that the numbers do not depend on how many cores there are or
on which of several processes did it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from como_ros.bags import BagError
from como_ros.errors import ComoError
from policies.nets import artefact
from training.episodes import Episode, load_episode
from training.latent_motion import model as models
from training.latent_motion.data import MotionData
from training.latent_motion.net import MotionNet
from training.metrics import read_pairs
from training.motion_data import ENCODER, FrozenEncoder, motion_data, open_encoder
from training.videos import Clip, read_clip


@dataclass(frozen=True)
class Evidence:
    """What the confidence of a recording's labels rests on, per frame."""

    z: np.ndarray
    reversed_z: np.ndarray
    gain: np.ndarray
    energy: np.ndarray
    words: np.ndarray | None = None
    """(T, K) of the action book, where there is one."""


@dataclass(frozen=True)
class Recording:
    """A clip, or an episode of a robot."""

    path: Path
    robot: bool = False


@dataclass(frozen=True)
class Weighed:
    """What a recording gave: a part a clip, more where an episode has gaps, none where all is too short."""

    recording: Recording
    parts: dict[str, Evidence]
    seconds: dict[str, float]
    """By stage."""
    skipped: str = ""
    """Why it could not be read."""


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


@dataclass(frozen=True)
class Labeller:
    """A motion model and the encoder that it was trained on."""

    net: MotionNet
    model: artefact.Artefact
    encoder: FrozenEncoder

    @property
    def gap(self) -> int:
        """Frames between the two of a pair."""
        return round(self.net.config.gap_s * self.encoder.contract.action_rate_hz)

    def weigh(self, recording: Recording) -> Weighed:
        """A clip that cannot be read is skipped, and so is a damaged bag."""
        watch = Stopwatch()
        with one_thread():
            try:
                with watch.stage("decode"):
                    read = self._read(recording)
            except ComoError as error:
                if recording.robot and not isinstance(error, BagError):
                    raise
                return Weighed(recording, {}, watch.seconds, str(error))
            parts = {name: self._weighed(part, watch) for name, part in read.items()}
        return Weighed(recording, parts, watch.seconds)

    def _read(self, recording: Recording) -> dict[str, Episode | Clip]:
        """The parts that are long enough for a pair."""
        contract = self.encoder.contract
        if recording.robot:
            episodes = load_episode(recording.path, contract)
            return {e.path.name: e for e in episodes if len(e) > self.gap}
        clip = read_clip(recording.path, contract.action_rate_hz, contract.image_hw)
        return {clip.name: clip} if len(clip.frames) > self.gap else {}

    def _weighed(self, part: Episode | Clip, watch: Stopwatch) -> Evidence:
        config = replace(self.net.config, masks="none")
        episodes, clips = ([part], []) if isinstance(part, Episode) else ([], [part])
        with watch.stage("encode"):
            data = motion_data(episodes, clips, self.encoder, config, copies=0)
        with watch.stage("motion"):
            return weigh(self.net, data, self.gap)


def open_labeller(folder: Path) -> Labeller:
    net, found = models.load(folder)
    return Labeller(net, found, open_encoder(folder / ENCODER, found.contract))


@contextmanager
def one_thread() -> Iterator[None]:
    """In half precision a sum over two threads differs from the sum over one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weigh(net: MotionNet, data: MotionData, gap: int) -> Evidence:
    """Latent motions of one recording and what speaks for them."""
    first = data.starts(gap)
    later = first + gap
    reversed_z = read_pairs(net, data, later, first).z
    with torch.no_grad():
        before, after = data.view(first), data.view(later)
        motion = net.encode(before, after)
        start, wanted, painted = net.canvas(before), net.canvas(after), net.decode(before, motion)
    copied = (wanted - start).square().mean((1, 2)).numpy()
    missed = (wanted - painted).square().mean((1, 2)).numpy()
    words = motion.words[0].numpy() if motion.words else None
    return Evidence(motion.z.numpy(), reversed_z, 1 - missed / np.maximum(copied, 1e-6), copied, words)

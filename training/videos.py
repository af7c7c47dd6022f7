"""Videos and folders of pictures as small RGB arrays; what is broken is listed and skipped, never guessed at.

The lab keeps the true motion of its drawn hands beside its clips, for metrics. Nothing learns from it:
`refuse_truth` stands at the door of every training entry point and of this module.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from como_ros.errors import ComoError
from policies.framing import Crop
from training import sequences

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".m4v", ".avi")
LONGEST_STILL_S = 30.0
"""A picture shown for longer is a clip whose times are damaged."""
TRUTH = ".truth"
"""What the name of a folder of truth ends with, and the stem of each file in it."""


@dataclass(frozen=True)
class Clip:
    path: Path
    frames: np.ndarray
    """(T, h, w, 3) uint8 RGB at the asked rate."""
    rate_hz: float
    instruction: str = ""

    @property
    def name(self) -> str:
        """The stem and the first 12 digits of the sha256 of what it is made of."""
        if self.path.is_dir():
            return f"{self.path.name}-{sequences.sha256_of(self.path)[:12]}"
        return f"{self.path.stem}-{hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]}"


def refuse_truth(*inputs: Path | None) -> None:
    """No path may be, lead into or hold the lab's truth, by whatever name or link it comes."""
    for path in filter(None, inputs):
        if (found := _truth_at(Path(path))) is not None:
            raise ComoError(
                f"{path} leads to {found}, the lab's true hand motion, which training must never see; "
                "give a folder that holds clips or episodes only"
            )


def _truth_at(path: Path) -> Path | None:
    """The truth that a path is in, or that is in it."""
    inside = (Path(root, name) for root, folders, files in os.walk(path) for name in (*folders, *files))
    led = (_truth_above(place) for place in (path, *inside))
    return next((found for found in led if found), None)


def _truth_above(path: Path) -> Path | None:
    """The first part of a path, as it is written or as its links resolve, that is truth."""
    places = {Path(os.path.abspath(path)), path.resolve()}
    return next((part for place in places for part in (place, *place.parents) if _is_truth(part)), None)


def _is_truth(place: Path) -> bool:
    return TRUTH in (place.suffix, Path(place.stem).suffix)


def clip_paths(folder: Path) -> list[Path]:
    """Video files, and folders that hold pictures."""
    refuse_truth(folder)
    if not Path(folder).is_dir():
        raise ComoError(f"{folder} is not a folder of video clips")
    found = (Path(folder), *Path(folder).rglob("*"))
    return sorted(
        p for p in found if sequences.is_sequence(p) or (p.suffix.lower() in SUFFIXES and not p.is_dir())
    )


def read_clip(path: Path, rate_hz: float, image_hw: tuple[int, int]) -> Clip:
    """Decode in order, keep the frame shown at each tick of `rate_hz`, resize."""
    refuse_truth(path)
    frames = list(_frames_at(path, rate_hz, image_hw))
    if len(frames) < 2:
        raise ComoError(f"{path} has {len(frames)} readable frames")
    return Clip(path, np.stack(frames), rate_hz, instruction_of(path))


def instruction_of(path: Path) -> str:
    """What the folder's `index.json` says the clip shows, if there is one."""
    index = path.parent / "index.json"
    if not index.is_file():
        return ""
    try:
        return str(json.loads(index.read_text("utf8")).get("instructions", {}).get(path.name, ""))
    except (ValueError, AttributeError) as error:
        raise ComoError(f"{index} is damaged ({error}); make the clips again or delete it") from error


def _frames_at(path: Path, rate_hz: float, image_hw: tuple[int, int]) -> Iterator[np.ndarray]:
    """The first frame at or after each tick; where none comes before the next tick, the one still shown."""
    shown, tick = None, 0
    for time_s, picture in sequences.timed_pictures(path) if path.is_dir() else _decoded(path):
        due = int((time_s + 1e-3) * rate_hz)
        if (due - tick) / rate_hz > LONGEST_STILL_S:
            still = f"{tick / rate_hz:.1f} to {due / rate_hz:.1f} s"
            raise ComoError(f"{path} shows one picture from {still}; cut it there")
        if shown is not None and due > tick:
            yield from [_resized(shown(), image_hw)] * (due - tick)
        if due >= tick:
            yield _resized(picture(), image_hw)
        shown, tick = picture, max(tick, due + 1)


def _decoded(path: Path) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
    """Seconds since the first frame, and how to get each."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ComoError(f"{path} holds no pictures; leave it out")
            start = None
            for frame in container.decode(video=0):
                if frame.pts is None:
                    continue
                start = frame.time if start is None else start
                yield frame.time - start, partial(_upright, frame)
    except (av.error.FFmpegError, IndexError) as error:
        raise ComoError(f"{path} cannot be decoded: {error}") from error


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """As a player shows it: a telephone that is held upright films lying down and notes the turn."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _resized(image: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """Centre crop to the asked shape's aspect, then area resize."""
    part = Crop.of((image.shape[0], image.shape[1]), image_hw).cut(image)
    if part.shape[:2] == image_hw:
        return part
    return np.asarray(cv2.resize(part, image_hw[::-1], interpolation=cv2.INTER_AREA))


def read_clips(folder: Path, rate_hz: float, image_hw: tuple[int, int]) -> tuple[list[Clip], list[str]]:
    """All readable clips, and one line for each file that was skipped, which is said too."""
    clips, skipped = [], []
    for path in clip_paths(folder):
        try:
            clips.append(read_clip(path, rate_hz, image_hw))
        except ComoError as error:
            skipped.append(str(error))
    if not clips:
        why = skipped[0] if skipped else f"none ends in {', '.join((*SUFFIXES, *sequences.SUFFIXES))}"
        raise ComoError(f"{folder} holds no readable video clips: {why}")
    sys.stderr.writelines(f"left out: {why}\n" for why in skipped)
    return clips, skipped

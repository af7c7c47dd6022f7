"""Folders of mp4 clips as small RGB arrays; broken files are listed and skipped, never guessed at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from como_ros.errors import ComoError

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov")


@dataclass(frozen=True)
class Clip:
    path: Path
    frames: np.ndarray
    """(T, h, w, 3) uint8 RGB at the asked rate."""
    rate_hz: float
    instruction: str = ""

    @property
    def name(self) -> str:
        """The stem and the first 12 digits of the file's sha256."""
        return f"{self.path.stem}-{hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]}"


def clip_paths(folder: Path) -> list[Path]:
    if not Path(folder).is_dir():
        raise ComoError(f"{folder} is not a folder of video clips")
    return sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)


def read_clip(path: Path, rate_hz: float, image_hw: tuple[int, int]) -> Clip:
    """Decode in order, keep the frame shown at each tick of `rate_hz`, resize."""
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
        return str(json.loads(index.read_text()).get("instructions", {}).get(path.name, ""))
    except (json.JSONDecodeError, AttributeError) as error:
        raise ComoError(f"{index} is damaged ({error}); make the clips again or delete it") from error


def _frames_at(path: Path, rate_hz: float, image_hw: tuple[int, int]) -> Iterator[np.ndarray]:
    try:
        with av.open(str(path)) as container:
            start, tick = None, 0
            for frame in container.decode(video=0):
                if frame.pts is None:
                    continue
                start = frame.time if start is None else start
                if frame.time - start < tick / rate_hz - 1e-3:
                    continue
                tick += 1
                yield _resized(frame.to_ndarray(format="rgb24"), image_hw)
    except (av.error.FFmpegError, IndexError) as error:
        raise ComoError(f"{path} cannot be decoded: {error}") from error


def _resized(image: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """Centre crop to the asked shape's aspect, then area resize."""
    h, w = image.shape[:2]
    scale = min(h / image_hw[0], w / image_hw[1])
    ch, cw = round(image_hw[0] * scale), round(image_hw[1] * scale)
    top, left = (h - ch) // 2, (w - cw) // 2
    crop = image[top : top + ch, left : left + cw]
    if crop.shape[:2] == image_hw:
        return crop
    return cv2.resize(crop, image_hw[::-1], interpolation=cv2.INTER_AREA)


def read_clips(folder: Path, rate_hz: float, image_hw: tuple[int, int]) -> tuple[list[Clip], list[str]]:
    """All readable clips, and one line for each file that was skipped."""
    clips, skipped = [], []
    for path in clip_paths(folder):
        try:
            clips.append(read_clip(path, rate_hz, image_hw))
        except ComoError as error:
            skipped.append(str(error))
    if not clips:
        raise ComoError(f"{folder} holds no readable video clips" + (f": {skipped[0]}" if skipped else ""))
    return clips, skipped

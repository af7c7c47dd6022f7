"""A folder of pictures as a clip: in the order of their numbers, at the rate that its `index.json` states."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from como_ros.errors import ComoError

SUFFIXES = (".png", ".jpg", ".jpeg")
INDEX = "index.json"


def is_sequence(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix.lower() in SUFFIXES for file in folder.iterdir())


def timed_pictures(folder: Path) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
    """Seconds since the first picture, and how to read each; all are of the first one's size."""
    rate_hz, files = _rate_of(folder), _files_in(folder)
    size = _read(files[0]).shape
    for number, file in enumerate(files):
        yield number / rate_hz, partial(_read, file, size)


def sha256_of(folder: Path) -> str:
    """Of all pictures, one after the other."""
    digest = hashlib.sha256()
    for file in _files_in(folder):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files_in(folder: Path) -> list[Path]:
    """frame_2 comes before frame_10."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES]
    return sorted(files, key=lambda file: [word.zfill(20) for word in re.split(r"(\d+)", file.name)])


def _rate_of(folder: Path) -> float:
    index, example = folder / INDEX, '{"fps": 15}'
    try:
        rate_hz = float(json.loads(index.read_text("utf8"))["fps"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        why = f"nothing says how fast its pictures follow each other ({error!r})"
        raise ComoError(f"{folder}: {why}; write {example} into {index}") from error
    if not 0 < rate_hz < math.inf:
        raise ComoError(f"{index}: fps must be positive and finite, got {rate_hz}; write {example} there")
    return rate_hz


def _read(file: Path, size: tuple[int, ...] | None = None) -> np.ndarray:
    """(h, w, 3) uint8 RGB."""
    data = np.fromfile(file, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise ComoError(f"{file} is no picture; mend it or leave its folder out")
    if size not in (None, picture.shape):
        told = f"{picture.shape[:2]}, the first picture of its folder is {size[:2] if size else size}"
        raise ComoError(f"{file} is {told}; they must be of one size")
    return np.asarray(picture)[:, :, ::-1]

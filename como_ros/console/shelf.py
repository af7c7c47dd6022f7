"""The episodes in a folder, newest first, each with its health and two pictures.

Every episode is looked at once, by a process of its own that gives way to all others: reading a minute of
video must not delay the thread that a hand on the deadman depends on.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from como_ros import bags
from como_ros.bag_checks import check_episode
from como_ros.bag_meta import METADATA
from como_ros.errors import ComoError
from policies.spaces import CAMERAS, image_key

LOOK_S = 1.0
SHOWN = 20
LOOKED_AT_S = 120.0
THUMB_PX = 96
JPEG_QUALITY = 75


class EpisodeList:
    """Looks in a thread of its own until `close`; `rows` is replaced whole, never changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="episodes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            paths = self._closed()
            for path in paths:
                if path.name not in self._known and not self._ended.is_set():
                    self._known[path.name] = looked_at(path)
                    self.rows = [self._known[p.name] for p in paths if p.name in self._known]
            self.rows = [self._known[path.name] for path in paths]

    def _closed(self) -> list[Path]:
        try:
            found = bags.episodes(self._folder)[::-1]
        except (ComoError, OSError):  # the recorder has not made the folder yet, or somebody moved it
            return []
        return [path for path in found if (path / METADATA).exists()][:SHOWN]


def looked_at(path: Path) -> dict[str, Any]:
    """What `main` says of the episode; an episode that cannot be read is one with a problem."""
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOKED_AT_S, check=True)
        row: dict[str, Any] = json.loads(done.stdout)
        return row
    except (subprocess.SubprocessError, ValueError) as error:
        return {"name": path.name, "ok": False, "problems": [f"cannot be looked at: {error}"]}


def summary(path: Path) -> dict[str, Any]:
    row = check_episode(path)
    kept = {key: row.get(key) for key in ("outcome", "instruction", "seconds", "ok", "problems")}
    return {"name": path.name, **kept, "thumb": thumb(path)}


def thumb(path: Path) -> str:
    """First and last picture of the first camera, side by side, as base64 JPEG; empty without pictures."""
    images = [arrival.value for arrival in bags.read_arrivals(path, {image_key(CAMERAS[0])})]
    if not images:
        return ""
    small = [cv2.resize(images[i], _size(images[i]), interpolation=cv2.INTER_AREA) for i in (0, -1)]
    return base64.b64encode(jpeg(np.hstack(small))).decode()


def _size(image: np.ndarray) -> tuple[int, int]:
    return round(THUMB_PX * image.shape[1] / image.shape[0]), THUMB_PX


def jpeg(rgb: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ComoError(f"an image of {rgb.shape} cannot be encoded")
    return bytes(data)


if __name__ == "__main__":
    os.nice(19)
    sys.stdout.write(json.dumps(summary(Path(sys.argv[1]))))

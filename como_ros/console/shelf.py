"""The episodes in a folder, newest first, each with its health and two pictures.

An episode is named as soon as it has ended, and looked at once, by a process of its own that gives way to all
others: reading a minute of video must not delay the thread that a hand on the deadman depends on.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from como_ros import bags
from como_ros.bag_checks import KILLED, check_episode
from como_ros.bag_meta import METADATA
from como_ros.bag_writer import INTERRUPTED
from como_ros.errors import ComoError
from policies.spaces import CAMERAS, image_key

LOOK_S = 1.0
SHOWN = 20
LOOKED_AT_S = 120.0
LEFT_NS = 5_000_000_000
"""An episode without its end that was not written to for so long was left by a recorder that is gone."""
GIVES_WAY = 10
"""Niceness; the last of all to run would not come to its end beside a browser that draws in software."""
THUMB_PX = 96
JPEG_QUALITY = 75


class EpisodeList:
    """Looks in a thread of its own until `close`; `rows` is replaced whole, never changed.

    `recorded` says what the recorder says: the episode that it names is not in the list yet.
    """

    def __init__(self, folder: Path, recorded: Callable[[], str] = str) -> None:
        self._folder, self._recorded = folder, recorded
        self._known: dict[Path, tuple[int, dict[str, Any]]] = {}
        """By folder, when it was written last and what was seen in it."""
        self.rows: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="episodes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            found = self._found()
            fresh = not_seen(found, self._known)
            for path in filter(is_whole, fresh):
                self._known.setdefault(path, (0, announced(path)))
            self._show(found)
            for path in fresh:
                if self._ended.is_set():
                    return
                self._known[path] = found[path], seen(path)
                self._show(found)

    def _show(self, found: dict[Path, int]) -> None:
        self.rows = [self._known[path][1] for path in found if path in self._known]

    def _found(self) -> dict[Path, int]:
        """Episodes that nobody writes to any more, and when they were changed last."""
        try:
            paths = bags.episodes(self._folder)[::-1][: SHOWN + 1]
            changed = {path: max(file.stat().st_mtime_ns for file in path.iterdir()) for path in paths}
        except (ComoError, OSError, ValueError):  # not made yet, moved, or emptied this moment
            return {}
        ended = {path: at_ns for path, at_ns in changed.items() if self._is_ended(path, at_ns)}
        return dict(list(ended.items())[:SHOWN])

    def _is_ended(self, path: Path, changed_ns: int) -> bool:
        if is_whole(path):
            return True
        return time.time_ns() - changed_ns > LEFT_NS and path.name not in self._recorded()


def not_seen(found: dict[Path, int], known: dict[Path, tuple[int, dict[str, Any]]]) -> list[Path]:
    """Episodes that are new, or have changed since: a name may be used again, an episode be mended."""
    return [path for path, changed_ns in found.items() if known.get(path, (0, {}))[0] != changed_ns]


def is_whole(path: Path) -> bool:
    """Whether its writer came to its end."""
    return (path / METADATA).exists()


def announced(path: Path) -> dict[str, Any]:
    """What can be said at once: on a busy machine the look at an episode takes its time."""
    row: dict[str, Any] = {"name": path.name, "ok": None, "problems": []}
    with suppress(ComoError, OSError):  # the look will say what is wrong with it
        meta = bags.read_meta(path)
        row |= {"outcome": meta.outcome, "instruction": meta.instruction}
    return row


def seen(path: Path) -> dict[str, Any]:
    """An episode whose writer was killed is told, not looked at: a mended one takes its place."""
    if is_whole(path):
        return looked_at(path)
    return {"name": path.name, "ok": False, "outcome": INTERRUPTED, "problems": [KILLED]}


def looked_at(path: Path) -> dict[str, Any]:
    """What `main` says of the episode; an episode that cannot be read is one with a problem."""
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOKED_AT_S, check=True)
        row: dict[str, Any] = json.loads(done.stdout)
        return row
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return {"name": path.name, "ok": False, "problems": [f"cannot be looked at: {error}"]}


def summary(path: Path) -> dict[str, Any]:
    row = check_episode(path)
    kept = {key: row.get(key) for key in ("outcome", "instruction", "seconds", "ok", "problems")}
    return {"name": path.name, **kept, "thumb": thumb(path)}


def thumb(path: Path) -> str:
    """First and last picture of the first camera, side by side, as base64 JPEG; empty without pictures."""
    first = last = None
    with suppress(ComoError):  # what is damaged has been said, and what comes before it can be shown
        for arrival in bags.read_arrivals(path, {image_key(CAMERAS[0])}):
            first, last = arrival.value if first is None else first, arrival.value
    if first is None or last is None:
        return ""
    small = [cv2.resize(image, _size(image), interpolation=cv2.INTER_AREA) for image in (first, last)]
    return base64.b64encode(jpeg(np.hstack(small))).decode()


def _size(image: np.ndarray) -> tuple[int, int]:
    return round(THUMB_PX * image.shape[1] / image.shape[0]), THUMB_PX


def jpeg(rgb: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ComoError(f"an image of {rgb.shape} cannot be encoded")
    return bytes(data)


if __name__ == "__main__":
    os.nice(GIVES_WAY)
    sys.stdout.write(json.dumps(summary(Path(sys.argv[1]))))

"""Pictures of the tasks for people: one contact sheet and one short film a task, the same for the same seed.

The sheet shows a scripted episode through both cameras, in the training range and in the wider one, and a
hand's clip below them; the film shows front camera, wrist camera and hand side by side.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from como_ros.errors import ComoError
from como_ros.lab.fast import FastLab
from como_ros.lab.hand_scene import HandScene
from como_ros.lab.hands import SAME_BYTES, VideoConfig, clip_frames, write_mp4
from como_ros.lab.tasks import RANGES, TASKS, Task, get_task
from policies.spaces import CAMERAS

COLUMNS, SHEET_PX, FILM_PX, FPS = 6, 128, 192, 10
SMALL = {"crf": "30", "preset": "veryslow", **SAME_BYTES}
FONT = cv2.FONT_HERSHEY_SIMPLEX
Reel = list[np.ndarray]


def make_gallery(out: Path, tasks: tuple[str, ...] = (), seed: int = 1) -> dict:
    """Write `<task>.png` and `<task>.mp4` for the named tasks, or all; result of `como gallery`."""
    chosen = [get_task(name) for name in tasks or TASKS]
    out.mkdir(parents=True, exist_ok=True)
    for task in chosen:
        sheet = {**_episodes(task, seed, SHEET_PX, RANGES), "hand": _hand(task, seed, SHEET_PX)}
        _write_png(out / f"{task.name}.png", _contact_sheet(sheet))
        film = {**_episodes(task, seed, FILM_PX, RANGES[:1]), "hand": _hand(task, seed, FILM_PX)}
        write_mp4(out / f"{task.name}.mp4", _side_by_side(list(film.values())), FPS, SMALL)
    return {"pictures": len(chosen), "films": len(chosen)}


def _episodes(task: Task, seed: int, size_px: int, ranges: tuple[str, ...]) -> dict[str, Reel]:
    """What each camera sees of the operator at work, by caption."""
    lab = FastLab(task, (size_px, size_px))
    reels: dict[str, Reel] = {f"{camera}, {spread}": [] for spread in ranges for camera in CAMERAS}
    for spread in ranges:
        lab.reset(seed, spread)
        plan = lab.operator_plan(seed)
        for _ in range(int(plan.duration_s * FPS)):
            for camera, frame in lab.look().items():
                reels[f"{camera}, {spread}"].append(frame)
            lab.follow(plan.at, 1 / FPS)
        done, reason = lab.success()
        if not done:
            raise ComoError(
                f"the operator fails {task.name} with seed {seed} ({reason}); show another --seed"
            )
    return reels


def _hand(task: Task, seed: int, size_px: int) -> Reel:
    hand = HandScene(task, size_px)
    frames, _ = clip_frames(hand, seed, VideoConfig(fps=FPS, size_px=size_px))
    hand.close()
    return frames


def _contact_sheet(reels: dict[str, Reel]) -> np.ndarray:
    """One row a reel, evenly spaced from its first picture to its last, named in its first."""
    rows = []
    for name, reel in reels.items():
        picked = [reel[i].copy() for i in np.linspace(0, len(reel) - 1, COLUMNS).round().astype(int)]
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picked[0], name, (4, 12), FONT, 0.36, colour, thickness, cv2.LINE_AA)
        rows.append(np.concatenate(picked, 1))
    return np.concatenate(rows, 0)


def _side_by_side(reels: list[Reel]) -> Reel:
    """As long as the longest; the others end with their last picture."""
    length = max(map(len, reels))
    return [np.concatenate([reel[min(i, len(reel) - 1)] for reel in reels], 1) for i in range(length)]


def _write_png(path: Path, picture: np.ndarray) -> None:
    whole, encoded = cv2.imencode(".png", picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not whole:
        raise ComoError(f"{path} could not be encoded as PNG")
    path.write_bytes(encoded.tobytes())

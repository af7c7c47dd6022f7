"""Where the actor is in a frame: masks from motion alone, or masks that somebody made before.

`flow`: what changes otherwise than the camera moves. Dense optical flow to a frame before and one after; a
homography fitted to it robustly is the camera's motion; the other frame is carried back by it, and where its
colours still differ, by more than a threshold that follows the frame's own noise, in both directions, is the
actor. (A threshold on the flow itself finds a halo of bare wall around the actor.) No pretrained model is
involved, things that are carried count, and nothing is seen of an actor who stands still.
`precomputed`: npz files by clip or episode name.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from como_ros.errors import ComoError
from como_ros.runs import made_once
from training.videos import refuse_truth

NEIGHBOUR = 8
"""Frames to the one compared with: at 10 Hz long enough for an arm to have left its place."""
LEAST_CHANGE = 8.0
"""Of 255: a smaller difference is noise."""
NOISE_GAIN = 4.0
"""The threshold in robust standard deviations of the difference."""
GRID_STEP = 6
"""Pixels between the points that the camera's motion is fitted to."""
Named = list[tuple[str, np.ndarray]]


def masks_of(kind: str, clips: Named, folder: Path | None, cache: Path) -> np.ndarray | None:
    """(N, h, w) uint8, 255 on the actor, for the frames of the named clips in a row."""
    if kind == "none" or not clips:
        return None
    if kind == "sam2":
        raise ComoError(
            "masks 'sam2' need SAM 2 weights and the transformers package, which are not part of this; "
            "segment the clips elsewhere and give them as 'precomputed', or take 'flow'"
        )
    if kind == "precomputed":
        return np.concatenate([_precomputed(folder, name, frames) for name, frames in clips])
    return _cached_flow(clips, cache)


def _precomputed(folder: Path | None, name: str, frames: np.ndarray) -> np.ndarray:
    """`FOLDER/NAME.npz` with `masks` (T, h, w), non-zero on the actor, one for every frame."""
    if folder is None:
        raise ComoError("precomputed masks need their folder; give it with --masks")
    refuse_truth(folder)
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise ComoError(f"{path} is missing; every clip and episode needs its masks")
    with np.load(path, allow_pickle=False) as file:
        masks = file["masks"]
    if masks.shape != frames.shape[:3]:
        raise ComoError(f"{path} has masks of shape {masks.shape}, its frames are {frames.shape[:3]}")
    return np.where(masks > 0, 255, 0).astype(np.uint8)


def _cached_flow(clips: Named, cache: Path) -> np.ndarray:
    """Made once for a set of frames, as the tokens are."""
    digest = hashlib.blake2b(f"{NEIGHBOUR} {LEAST_CHANGE} {NOISE_GAIN} {GRID_STEP}".encode(), digest_size=12)
    for _, frames in clips:
        digest.update(np.ascontiguousarray(frames).data)
    path = cache / f"masks-{digest.hexdigest()}.npy"
    made_once(path, lambda part: _write_flow(part, clips))
    return np.load(path, mmap_mode="r")


def _write_flow(path: Path, clips: Named) -> None:
    with path.open("wb") as file:
        np.save(file, np.concatenate([flow_masks(frames) for _, frames in clips]))
    sys.stderr.write(f"masks of {len(clips)} clips by optical flow\n")


def flow_masks(frames: np.ndarray, neighbour: int = NEIGHBOUR) -> np.ndarray:
    """(T, h, w, 3) uint8 -> (T, h, w) uint8, 255 on what changes otherwise than the camera moves."""
    last = len(frames) - 1
    masks = []
    for i, now in enumerate(frames):
        others = {max(i - neighbour, 0), min(i + neighbour, last)} - {i}
        changed = [changes(now, frames[j]) for j in sorted(others)]
        masks.append(_clean(np.logical_and.reduce(changed)) if changed else np.zeros(now.shape[:2], np.uint8))
    return np.stack(masks)


def changes(now: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(h, w) bool: where the other frame, carried along with the camera, has other colours.

    What the other frame does not show has not changed.
    """
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (now, other)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(
        grey[0], grey[1], np.zeros((*now.shape[:2], 2), np.float32)
    )
    carried = (_places(now.shape[:2]) + camera_flow(flow)).astype(np.float32)
    back = cv2.remap(
        other, carried[..., 0], carried[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    change = np.abs(back.astype(np.int16) - now).max(-1).astype(np.float32)
    change = cv2.erode(cv2.blur(change, (3, 3)), np.ones((2, 2)))
    middle = float(np.median(change))
    noise = 1.4826 * float(np.median(np.abs(change - middle)))
    seen = ((carried >= 0) & (carried <= np.array(now.shape[1::-1]) - 1)).all(-1)
    return seen & (change > max(LEAST_CHANGE, middle + NOISE_GAIN * noise))


def _places(shape: tuple[int, ...]) -> np.ndarray:
    """(h, w, 2) float32: x and y of every pixel."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([x, y], -1)


def camera_flow(flow: np.ndarray) -> np.ndarray:
    """The part of a dense flow (h, w, 2) that one homography explains; zero where none can be fitted."""
    places = _places(flow.shape[:2])
    points = places[::GRID_STEP, ::GRID_STEP].reshape(-1, 1, 2)
    targets = points + flow[::GRID_STEP, ::GRID_STEP].reshape(-1, 1, 2)
    homography = cast("np.ndarray | None", cv2.findHomography(points, targets, cv2.RANSAC, 0.5)[0])
    if homography is None:
        return np.zeros_like(flow)
    carried = cv2.perspectiveTransform(places.reshape(-1, 1, 2), homography)
    return carried.reshape(flow.shape) - places


def _clean(mask: np.ndarray) -> np.ndarray:
    """Without specks and pinholes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(mask.astype(np.uint8) * 255, cv2.MORPH_CLOSE, kernel)
    return cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two masks; one where both are empty."""
    either = np.logical_or(found > 0, true > 0).sum()
    return float(np.logical_and(found > 0, true > 0).sum() / either) if either else 1.0

"""Pictures of motions: what moved between two frames, what a model paints, and contact sheets of both."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import torch

from como_ros.errors import ComoError
from training.latent_motion.config import MotionConfig
from training.latent_motion.data import images_of

GAP_PX = 4
PAPER = 255


def moved(first: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Both frames in one: the first in cyan, the later in red, so that what stands still is grey."""
    was, now = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, later))
    return np.stack([now, was, was], -1)


def sheet(rows: list[list[np.ndarray | None]]) -> np.ndarray:
    """Images of one size in rows; where there is none the paper shows."""
    size = next(image.shape for row in rows for image in row if image is not None)
    width = max(len(row) for row in rows)
    lines = []
    for row in rows:
        cells = [image if image is not None else np.full(size, PAPER, np.uint8) for image in row]
        cells += [np.full(size, PAPER, np.uint8)] * (width - len(row))
        padded = [np.pad(cell, ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=PAPER) for cell in cells]
        lines.append(np.concatenate(padded, 1))
    return np.concatenate(lines)[:-GAP_PX, :-GAP_PX]


def embedded(image: np.ndarray) -> str:
    """As the address of a picture that lies in the page itself."""
    done, data = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    if not done:
        raise ComoError(f"a picture of shape {image.shape} cannot be written as PNG")
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def painted_images(canvas: torch.Tensor, config: MotionConfig, side_px: int) -> list[np.ndarray]:
    """(B, P, D) pixels -> square images."""
    images = images_of(canvas.float(), config).clamp(0, 255).round().to(torch.uint8).numpy()
    return [cv2.resize(image, (side_px, side_px)) for image in images]

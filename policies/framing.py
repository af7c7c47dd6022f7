"""A picture at the size that a policy wants: the middle cut out, then shrunk; never enlarged."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Crop:
    """The largest centred part of a (height, width) picture with the proportions of another."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, source_hw: tuple[int, int], image_hw: tuple[int, int]) -> Crop:
        (source_h, source_w), (h, w) = source_hw, image_hw
        scale = min(source_h / h, source_w / w)
        height, width = round(h * scale), round(w * scale)
        return cls((source_h - height) // 2, (source_w - width) // 2, height, width)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def is_larger(source_hw: tuple[int, int], image_hw: tuple[int, int]) -> bool:
    """Whether it can be shrunk to this size."""
    return source_hw != image_hw and all(w <= s for w, s in zip(image_hw, source_hw, strict=True))


def fit(image: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """A larger colour picture at this size, averaged over the area of a pixel; any other as it is."""
    source_hw = (image.shape[0], image.shape[1])
    if not is_larger(source_hw, image_hw):
        return image
    part = Crop.of(source_hw, image_hw).cut(image)
    return np.asarray(cv2.resize(part, image_hw[::-1], interpolation=cv2.INTER_AREA))

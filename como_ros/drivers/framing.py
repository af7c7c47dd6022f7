"""From the camera's picture to the size a policy wants: cut out the middle, then shrink."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from como_ros.drivers.realsense import Frame, Intrinsics
from como_ros.errors import ComoError


@dataclass(frozen=True)
class Framing:
    """The largest centred part of a (height, width) picture with the proportions of another, at its size."""

    source_hw: tuple[int, int]
    image_hw: tuple[int, int]

    def __post_init__(self) -> None:
        if not all(0 < wanted <= there for wanted, there in zip(self.image_hw, self.source_hw, strict=True)):
            raise ComoError(
                f"image_hw {list(self.image_hw)} does not fit into the camera's {list(self.source_hw)}; "
                "pictures are only made smaller: choose a larger width and height of the camera"
            )

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part that is kept."""
        (source_h, source_w), (h, w) = self.source_hw, self.image_hw
        scale = min(source_h / h, source_w / w)
        kept_h, kept_w = round(h * scale), round(w * scale)
        return (source_h - kept_h) // 2, (source_w - kept_w) // 2, kept_h, kept_w

    def frame(self, frame: Frame) -> Frame:
        """Colour is averaged over the area of a pixel; depth is the measurement at its centre."""
        depth = frame.depth
        color = self._fit(frame.color, cv2.INTER_AREA)
        return replace(
            frame, color=color, depth=None if depth is None else self._fit(depth, cv2.INTER_NEAREST_EXACT)
        )

    def _fit(self, pixels: np.ndarray, interpolation: int) -> np.ndarray:
        top, left, height, width = self.crop
        part = pixels[top : top + height, left : left + width]
        return np.asarray(cv2.resize(part, self.image_hw[::-1], interpolation=interpolation))

    def intrinsics(self, pinhole: Intrinsics) -> Intrinsics:
        """Of the picture that `frame` makes; whole numbers are the centres of pixels."""
        top, left, height, width = self.crop
        h, w = self.image_hw
        x, y = w / width, h / height
        return replace(
            pinhole,
            width=w,
            height=h,
            fx=pinhole.fx * x,
            fy=pinhole.fy * y,
            cx=(pinhole.cx - left + 0.5) * x - 0.5,
            cy=(pinhole.cy - top + 0.5) * y - 0.5,
        )

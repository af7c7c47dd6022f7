"""From the camera's picture to the size a policy wants: cut out the middle, then shrink."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from como_ros.drivers.realsense import Frame, Intrinsics
from como_ros.errors import ComoError
from policies.framing import Crop, fit


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
    def crop(self) -> Crop:
        """The part that is kept."""
        return Crop.of(self.source_hw, self.image_hw)

    def frame(self, frame: Frame) -> Frame:
        """Colour is averaged over the area of a pixel; depth is the measurement at its centre."""
        depth = None if frame.depth is None else self._sample(frame.depth)
        return replace(frame, color=fit(frame.color, self.image_hw), depth=depth)

    def _sample(self, depth: np.ndarray) -> np.ndarray:
        part = self.crop.cut(depth)
        return np.asarray(cv2.resize(part, self.image_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT))

    def intrinsics(self, pinhole: Intrinsics) -> Intrinsics:
        """Of the picture that `frame` makes; whole numbers are the centres of pixels."""
        crop = self.crop
        h, w = self.image_hw
        x, y = w / crop.width, h / crop.height
        return replace(
            pinhole,
            width=w,
            height=h,
            fx=pinhole.fx * x,
            fy=pinhole.fy * y,
            cx=(pinhole.cx - crop.left + 0.5) * x - 0.5,
            cy=(pinhole.cy - crop.top + 0.5) * y - 0.5,
        )

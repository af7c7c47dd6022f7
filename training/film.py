"""A film that grows frame by frame: H.264 with short groups of pictures, for quick reads from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

SETTINGS = {"crf": "18", "g": "2", "bf": "0", "preset": "veryfast"}


class Film:
    """Frame i is shown at i / fps seconds, exactly."""

    def __init__(self, path: Path, fps: int, hw: tuple[int, int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = self.bytes = 0
        self._fps = fps
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=fps, options=SETTINGS)
        self._stream.height, self._stream.width = hw
        self._stream.pix_fmt = "yuv444p" if hw[0] % 2 or hw[1] % 2 else "yuv420p"

    def add(self, images: np.ndarray) -> None:
        """(T, h, w, 3) uint8 RGB."""
        for image in images:
            self._mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        self.frames += len(images)

    def _mux(self, packets: list[Any]) -> None:
        self.bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)

    def close(self) -> None:
        self._mux(self._stream.encode())
        self._container.close()

    def described(self) -> dict[str, Any]:
        """As LeRobot's meta/info.json describes a film."""
        return {
            "video.height": self._stream.height,
            "video.width": self._stream.width,
            "video.codec": "h264",
            "video.pix_fmt": self._stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": self._fps,
            "video.channels": 3,
            "has_audio": False,
        }

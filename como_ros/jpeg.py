"""Colour pictures as sensor_msgs/CompressedImage: a tenth of the bytes, and no longer the same pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from como_ros.messages import WireError, set_bytes, set_header

FORMAT = "rgb8; jpeg compressed bgr8"
"""As image_transport names it."""
QUALITY = 95


def fill_compressed(msg: Any, rgb: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """Write (h, w, 3) uint8 RGB into a sensor_msgs/CompressedImage."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise WireError(f"a colour image is (h, w, 3) uint8, got {rgb.shape} {rgb.dtype}")
    done, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise WireError(f"an image of {rgb.shape} cannot be encoded as JPEG")
    set_header(msg, stamp_ns, frame_id)
    msg.format = FORMAT
    set_bytes(msg, "data", data)
    return msg


def compressed_from_msg(msg: Any) -> np.ndarray:
    """(h, w, 3) uint8 RGB."""
    data = np.frombuffer(msg.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise WireError(f"{data.size} bytes of format {msg.format!r} are no picture; publish JPEG or PNG")
    return np.asarray(bgr)[:, :, ::-1]

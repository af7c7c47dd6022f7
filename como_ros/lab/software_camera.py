"""A camera that exists only in librealsense: pixels pushed in come out like those of a plugged-in D435."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyrealsense2 as rs

from como_ros.drivers.realsense import StreamConfig

_DEPTH_MM = 1e-3
DEPTH_RANGE_M = (0.175, 10.0)
"""A D435 at 640x480 measures no nearer and no farther; there depth reads 0."""


class SoftwareCamera:
    """One software device with a colour and, if asked for, a depth sensor so far to the right of it."""

    def __init__(
        self,
        serial: str,
        config: StreamConfig,
        pinhole: np.ndarray,
        depth_pinhole: np.ndarray | None = None,
        depth_beside_m: float = 0.0,
        domain: rs.timestamp_domain = rs.timestamp_domain.system_time,
    ) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "como lab camera")
        self._domain = domain
        self._number = 0
        self._color = self._sensor("RGB Camera", rs.stream.color, rs.format.rgb8, 3, config, pinhole, 0)
        self._depth = None
        if config.depth:
            seen = pinhole if depth_pinhole is None else depth_pinhole
            self._depth = self._sensor("Stereo Module", rs.stream.depth, rs.format.z16, 2, config, seen, 1)
            self._depth[0].add_read_only_option(rs.option.depth_units, _DEPTH_MM)
            self._depth[1].register_extrinsics_to(self._color[1], _beside(depth_beside_m))
            self.device.create_matcher(rs.matchers.default)

    def _sensor(
        self, name: str, kind: Any, pixel: Any, size: int, config: StreamConfig, pinhole: np.ndarray, uid: int
    ) -> tuple[Any, Any]:
        stream = rs.video_stream()
        stream.type, stream.fmt, stream.bpp = kind, pixel, size
        stream.index, stream.uid = 0, uid
        stream.width, stream.height, stream.fps = config.width, config.height, config.rate_hz
        stream.intrinsics = _intrinsics(config, pinhole)
        sensor = self.device.add_sensor(name)
        return sensor, sensor.add_video_stream(stream).as_video_stream_profile()

    def push(
        self, color: np.ndarray, stamp_ns: int, depth_m: np.ndarray | None = None, skip: int = 0
    ) -> None:
        """Hand one capture to librealsense; `skip` frame numbers are left out before it, as if lost."""
        self._number += 1 + skip
        if self._depth is not None and depth_m is not None:
            self._push(*self._depth, _millimetres(depth_m), 2, stamp_ns)
        self._push(*self._color, np.ascontiguousarray(color), 3, stamp_ns)

    def _push(self, sensor: Any, profile: Any, pixels: np.ndarray, size: int, stamp_ns: int) -> None:
        frame = rs.software_video_frame()
        frame.pixels = pixels
        frame.bpp, frame.stride = size, pixels.shape[1] * size
        frame.timestamp, frame.domain = stamp_ns / 1e6, self._domain
        frame.frame_number, frame.profile = self._number, profile
        if size == 2:
            frame.depth_units = _DEPTH_MM
        sensor.on_video_frame(frame)


def _intrinsics(config: StreamConfig, pinhole: np.ndarray) -> rs.intrinsics:
    out = rs.intrinsics()
    out.width, out.height = config.width, config.height
    out.fx, out.fy, out.ppx, out.ppy = pinhole[0, 0], pinhole[1, 1], pinhole[0, 2], pinhole[1, 2]
    out.model = rs.distortion.none
    return out


def _beside(metres: float) -> rs.extrinsics:
    out = rs.extrinsics()
    out.rotation = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    out.translation = [metres, 0, 0]
    return out


def _millimetres(depth_m: np.ndarray) -> np.ndarray:
    nearest, farthest = DEPTH_RANGE_M
    seen = (depth_m >= nearest) & (depth_m <= farthest)
    return np.where(seen, np.round(depth_m / _DEPTH_MM), 0).astype(np.uint16)

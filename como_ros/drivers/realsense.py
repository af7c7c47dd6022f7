"""Frames out of librealsense: a plugged-in camera by its serial, or a software device, through the same code.

Colour is RGB; depth, where asked for, is aligned to colour and in millimetres. Stamps are capture times in
system time. Frames lost on the way show up as gaps in the device's frame numbers and are counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyrealsense2 as rs

from como_ros.drivers.camera_options import set_exposure, set_preset
from como_ros.drivers.device_clock import DeviceClock
from como_ros.errors import ComoError

QUEUE_FRAMES = 2
_DEPTH_MM = 1e-3


@dataclass(frozen=True)
class StreamConfig:
    """What to ask the camera for."""

    width: int = 640
    height: int = 480
    rate_hz: int = 30
    depth: bool = False
    exposure: int = 0
    """Of the colour sensor, in its own units: 0.1 ms for a D435; 0 is automatic."""
    preset: str = ""
    """How depth is measured, by librealsense's name: high_accuracy for instance; empty leaves it as it is."""


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole model of the colour image, pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Frame:
    """One capture."""

    color: np.ndarray
    """(h, w, 3) uint8 RGB."""
    depth: np.ndarray | None
    """(h, w) uint16 millimetres, aligned to colour."""
    stamp_ns: int
    number: int


def find_device(serial: str) -> rs.device:
    """The plugged-in camera with this serial; an empty serial takes the only one there is."""
    found = {d.get_info(rs.camera_info.serial_number): d for d in rs.context().query_devices()}
    if serial in found:
        return found[serial]
    if not serial and len(found) == 1:
        return next(iter(found.values()))
    raise not_plugged_in(serial, found)


def not_plugged_in(serial: str, found: Iterable[str]) -> ComoError:
    """What to tell whoever looks for a camera that is not there."""
    return ComoError(
        f"camera {serial!r} is not plugged in; connected serials: {sorted(found) or 'none'}; "
        "check the USB 3 cable and `rs-enumerate-devices`"
    )


class RealSense:
    """One camera, streaming from construction to `close`."""

    def __init__(self, device: rs.device, config: StreamConfig) -> None:
        self.serial = device.get_info(rs.camera_info.serial_number)
        self.received = 0
        self.dropped = 0
        self._number = -1
        self._clock = DeviceClock()
        self._align = rs.align(rs.stream.color) if config.depth else None
        self._queue: Any = rs.syncer(QUEUE_FRAMES) if config.depth else rs.frame_queue(QUEUE_FRAMES)
        self._sensors: list[Any] = []
        try:
            self._start(device, config)
        except (ComoError, RuntimeError) as error:
            self.close()
            raise ComoError(f"camera {self.serial} cannot be opened: {error}") from error

    def _start(self, device: rs.device, config: StreamConfig) -> None:
        wanted = {rs.stream.color: rs.format.rgb8}
        if config.depth:
            wanted[rs.stream.depth] = rs.format.z16
        for sensor in device.query_sensors():
            profiles = [p for p in sensor.get_stream_profiles() if _matches(p, wanted, config)]
            chosen = {p.stream_type(): p for p in reversed(profiles)}
            if not chosen:
                continue
            sensor.open(list(chosen.values()))
            self._sensors.append(sensor)
            if rs.stream.color in chosen:
                set_exposure(sensor, config.exposure)
            if rs.stream.depth in chosen:
                set_preset(sensor, config.preset)
            sensor.start(self._queue)
            for stream in chosen:
                wanted.pop(stream)
            if rs.stream.color in chosen:
                self.intrinsics = _intrinsics(chosen[rs.stream.color])
        if wanted:
            missing = ", ".join(stream.name for stream in wanted)
            raise ComoError(
                f"it has no {missing} stream of {config.width}x{config.height} at {config.rate_hz} Hz; "
                "choose a mode that `rs-enumerate-devices` lists"
            )

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None when none came in time."""
        arrived, frame = self._wait(round(timeout_s * 1000))
        if not arrived:
            return None
        arrival_ns = time.time_ns()
        color, depth = self._split(frame)
        number = color.get_frame_number()
        if self._number >= 0:
            self.dropped += max(0, number - self._number - 1)
        self._number = number
        self.received += 1
        return Frame(_pixels(color), depth, self._stamp_ns(color, arrival_ns), number)

    def _wait(self, timeout_ms: int) -> tuple[bool, Any]:
        if self._align is None:
            return self._queue.try_wait_for_frame(timeout_ms)
        deadline = time.monotonic() + timeout_ms / 1000
        while (left_s := deadline - time.monotonic()) > 0:
            arrived, frames = self._queue.try_wait_for_frames(round(left_s * 1000))
            if arrived and frames.get_color_frame() and frames.get_depth_frame():
                return True, frames
        return False, None

    def _split(self, frame: Any) -> tuple[Any, np.ndarray | None]:
        if self._align is None:
            return frame.as_video_frame(), None
        aligned = self._align.process(frame)
        depth = aligned.get_depth_frame()
        millimetres = _pixels(depth)
        units = depth.get_units()
        if abs(units - _DEPTH_MM) > 1e-9:
            millimetres = np.round(millimetres * (units / _DEPTH_MM)).astype(np.uint16)
        return aligned.get_color_frame(), millimetres

    def _stamp_ns(self, frame: Any, arrival_ns: int) -> int:
        stamp_ns = round(frame.get_timestamp() * 1e6)
        if frame.get_frame_timestamp_domain() == rs.timestamp_domain.hardware_clock:
            return self._clock.to_system_ns(stamp_ns, arrival_ns)
        return stamp_ns

    def close(self) -> None:
        """Release the camera. One that is gone, or was only half open, objects; nothing follows from that."""
        for sensor in self._sensors:
            for release in (sensor.stop, sensor.close):
                with suppress(RuntimeError):
                    release()


def _matches(profile: Any, wanted: dict[Any, Any], config: StreamConfig) -> bool:
    if wanted.get(profile.stream_type()) != profile.format() or profile.fps() != config.rate_hz:
        return False
    video = profile.as_video_stream_profile()
    return bool((video.width(), video.height()) == (config.width, config.height))


def _intrinsics(profile: Any) -> Intrinsics:
    i = profile.as_video_stream_profile().get_intrinsics()
    return Intrinsics(i.width, i.height, i.fx, i.fy, i.ppx, i.ppy, tuple(i.coeffs))


def _pixels(frame: Any) -> np.ndarray:
    """A copy: librealsense takes its buffer back when the frame goes."""
    return np.array(frame.get_data())

"""Camera images onto the wire: colour, camera_info, aligned depth, health; for all cameras of the station.

On a robot every camera is a plugged-in RealSense found by its serial. With `lab_state` set the devices are
the lab's software devices, which must live in this very process; the driver that reads them is the same.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from como_ros import wire
from como_ros.drivers.realsense import Frame, RealSense, StreamConfig, find_device
from como_ros.errors import ComoError
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import publisher
from policies.spaces import CAMERAS

READ_TIMEOUT_S = 0.25
REOPEN_AFTER_S = 2.0
"""A camera silent for so long is closed and looked for again."""


@dataclass(frozen=True)
class CameraConfig:
    names: tuple[str, ...] = CAMERAS
    serials: tuple[str, ...] = ()
    """One per name; empty takes the only camera plugged in, or the lab's."""
    width: int = 128
    height: int = 128
    rate_hz: int = 10
    depth: bool = False
    lab_state: str = ""
    """Name of a lab world's shared state; empty for plugged-in cameras."""
    task: str = "pick_place"
    """The lab task whose world is drawn."""

    def __post_init__(self) -> None:
        if self.serials and len(self.serials) != len(self.names):
            raise ComoError(
                f"camera: {len(self.serials)} serials for {len(self.names)} names {list(self.names)}"
            )
        if not self.serials and not self.lab_state and len(self.names) > 1:
            raise ComoError(
                f"camera: cameras {list(self.names)} need a serial each: -p serials:=\"['...', '...']\""
            )

    @property
    def stream(self) -> StreamConfig:
        return StreamConfig(self.width, self.height, self.rate_hz, self.depth)


class CameraNode(Node):
    """One reading thread per camera; the executor only runs the diagnostics."""

    def __init__(self) -> None:
        super().__init__("camera")
        config = declare_config(self, CameraConfig)
        self._stop = threading.Event()
        self._feed = _lab_feed(config) if config.lab_state else None
        serials = config.serials or ("",) * len(config.names)
        self._channels = [
            _Channel(self, name, config.stream, self._device(name, serial), self._stop)
            for name, serial in zip(config.names, serials, strict=True)
        ]
        HealthReporter(self, self._report)

    def _device(self, name: str, serial: str) -> Callable[[], Any]:
        if self._feed is None:
            return lambda: find_device(serial)
        device = self._feed.cameras[name].device
        return lambda: device

    def _report(self) -> Health:
        figures: dict[str, Any] = {}
        for channel in self._channels:
            figures.update(channel.figures())
        errors = [channel.error for channel in self._channels if channel.error]
        if self._feed is not None and self._feed.error:
            errors.append(self._feed.error)
        if silent := [channel.name for channel in self._channels if channel.silent]:
            errors.append(f"no frames from {', '.join(silent)}")
        return Health(errors[0] if errors else "ok", not errors, figures)

    def destroy_node(self) -> None:
        self._stop.set()
        for channel in self._channels:
            channel.join()
        if self._feed is not None:
            self._feed.close()
        super().destroy_node()


class _Channel:
    """One camera from device to topics."""

    def __init__(
        self, node: Node, name: str, config: StreamConfig, device: Callable[[], Any], stop: threading.Event
    ) -> None:
        self.name = name
        self.error = ""
        """Why the device cannot be opened."""
        self._node = node
        self._config = config
        self._device = device
        self._stop = stop
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=50)
        self._received = self._dropped = self._reopened = 0
        self._image = publisher(node, f"/{name}/color/image_raw")
        self._info = publisher(node, f"/{name}/color/camera_info")
        self._depth = publisher(node, f"/{name}/aligned_depth_to_color/image_raw") if config.depth else None
        # filled anew for every frame: publishing serialises, nobody else holds them
        self._messages = Image(), CameraInfo(), Image()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                camera = RealSense(self._device(), self._config)
            except (ComoError, RuntimeError) as error:
                self.error = str(error)
                self._node.get_logger().error(f"{self.name}: {error}", throttle_duration_sec=5.0)
                self._stop.wait(1.0)
                continue
            self.error = ""
            self._serve(camera)
            self._reopened += 1

    def _serve(self, camera: RealSense) -> None:
        """Publish until told to stop or until the camera falls silent."""
        last = time.monotonic()
        while not self._stop.is_set() and time.monotonic() - last < REOPEN_AFTER_S:
            if (frame := camera.read(READ_TIMEOUT_S)) is not None:
                last = time.monotonic()
                self._publish(frame, camera)
        try:
            camera.close()
        except RuntimeError as error:
            self._node.get_logger().warning(f"{self.name}: closing failed: {error}")

    def _publish(self, frame: Frame, camera: RealSense) -> None:
        optical = f"{self.name}_color_optical_frame"
        image, info, depth = self._messages
        self._image.publish(wire.fill_image(image, frame.color, frame.stamp_ns, optical))
        pinhole = camera.intrinsics
        matrix = np.array([[pinhole.fx, 0, pinhole.cx], [0, pinhole.fy, pinhole.cy], [0, 0, 1]])
        hw = (pinhole.height, pinhole.width)
        self._info.publish(
            wire.fill_camera_info(info, matrix, pinhole.distortion, hw, frame.stamp_ns, optical)
        )
        if self._depth is not None and frame.depth is not None:
            self._depth.publish(wire.fill_depth(depth, frame.depth, frame.stamp_ns, optical))
        self._received, self._dropped = self._received + 1, camera.dropped
        self._arrivals.append((time.monotonic(), (time.time_ns() - frame.stamp_ns) / 1e6))

    @property
    def silent(self) -> bool:
        return not self._arrivals or time.monotonic() - self._arrivals[-1][0] > 1.0

    def figures(self) -> dict[str, Any]:
        rows = list(self._arrivals)
        span = rows[-1][0] - rows[0][0] if len(rows) > 1 else 0.0
        return {
            f"{self.name}/rate_hz": (len(rows) - 1) / span if span and not self.silent else 0.0,
            f"{self.name}/age_ms": float(np.median([age for _, age in rows])) if rows else -1.0,
            f"{self.name}/received": self._received,
            f"{self.name}/dropped": self._dropped,
            f"{self.name}/reopened": self._reopened,
        }

    def join(self) -> None:
        self._thread.join(timeout=2.0)


def _lab_feed(config: CameraConfig) -> Any:
    from como_ros.lab.feed import LabFeed

    return LabFeed(config.lab_state, config.task, config.names, config.stream)


def main(argv: list[str] | None = None) -> int:
    return run_node(CameraNode, argv)


if __name__ == "__main__":
    raise SystemExit(main())

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
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from como_ros import wire
from como_ros.drivers.priority import prefer
from como_ros.drivers.realsense import Frame, StreamConfig, find_device
from como_ros.drivers.steady_camera import SteadyCamera
from como_ros.errors import ComoError, require_between
from como_ros.jpeg import fill_compressed
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.shared_memory import share_pictures
from como_ros.nodes.wiring import publisher
from policies.spaces import CAMERAS

READ_TIMEOUT_S = 0.25
NICENESS = -10
"""A picture that is not taken now is missed for good: before the recorder, which may be late."""
RECENT = 30
"""Frames that rate, age and losses are judged by."""
LOSSY = 0.2
LATE_S = 0.3
"""Beyond these a camera is not well."""


@dataclass(frozen=True)
class CameraConfig:
    names: tuple[str, ...] = CAMERAS
    serials: tuple[str, ...] = ()
    """One per name; empty takes the only camera plugged in, or the lab's."""
    width: int = 128
    height: int = 128
    rate_hz: int = 10
    depth: bool = False
    exposure: int = 0
    """Of the colour sensors, in their own units: 0.1 ms for a D435; 0 is automatic."""
    preset: str = ""
    """How depth is measured: default, hand, high_accuracy, high_density, ...; empty leaves it as it is."""
    image_hw: tuple[int, ...] = ()
    """Height and width of what is published: the picture, cut and shrunk; empty leaves it as it is."""
    lab_state: str = ""
    """Name of a lab world's shared state; empty for plugged-in cameras."""
    task: str = "pick_place"
    """The lab task whose world is drawn."""
    canned: str = ""
    """File of pictures to play instead of looking anywhere, for `como bench camera`."""

    def __post_init__(self) -> None:
        if self.serials and len(self.serials) != len(self.names):
            raise ComoError(
                f"camera: {len(self.serials)} serials for {len(self.names)} names {list(self.names)}"
            )
        for what, given in (("names", self.names), ("serials", self.serials)):
            if len(set(given)) < len(given):
                raise ComoError(f"camera: {what} are {list(given)}; each camera has its own")
        if not self.names or not set(self.names) <= set(CAMERAS):
            raise ComoError(f"camera: names are {list(self.names)}; known cameras: {', '.join(CAMERAS)}")
        for name in ("width", "height", "rate_hz"):
            require_between(f"the camera's {name}", getattr(self, name), 1, 10_000)
        if not (self.serials or self.lab_state or self.canned) and len(self.names) > 1:
            raise ComoError(
                f"camera: cameras {list(self.names)} need a serial each: -p serials:=\"['...', '...']\""
            )
        if len(self.image_hw) not in (0, 2):
            raise ComoError(f"camera: image_hw is {list(self.image_hw)}, expected a height and a width")

    @property
    def stream(self) -> StreamConfig:
        return StreamConfig(self.width, self.height, self.rate_hz, self.depth, self.exposure, self.preset)


class CameraNode(Node):
    """One reading thread per camera; the executor only runs the diagnostics."""

    def __init__(self) -> None:
        super().__init__("camera")
        self._stop, self._feed = threading.Event(), None
        self._channels: list[_Channel] = []
        config = declare_config(self, CameraConfig)
        framing = _framing(config) if config.image_hw else None
        self._feed = _feed(config)
        serials = config.serials or ("",) * len(config.names)
        self._channels = [
            _Channel(self, name, SteadyCamera(self._finder(name, serial), config.stream), framing, self._stop)
            for name, serial in zip(config.names, serials, strict=True)
        ]
        HealthReporter(self, self._report)

    def _finder(self, name: str, serial: str) -> Callable[[], Any]:
        return partial(find_device, serial) if self._feed is None else partial(self._feed.device, name)

    def _report(self) -> Health:
        if dead := [channel.name for channel in self._channels if not channel.alive]:
            raise ComoError(
                f"the reading of {', '.join(dead)} has ended; its traceback is above, start the node again"
            )
        figures: dict[str, Any] = {}
        for channel in self._channels:
            figures.update(channel.figures())
        feed_error = self._feed.error if self._feed else ""
        complaints = [channel.complaint for channel in self._channels] + [feed_error]
        message = feed_error or "; ".join(filter(None, complaints))
        return Health(message or "ok", not message, figures)

    def destroy_node(self) -> None:
        self._stop.set()
        for channel in self._channels:
            channel.join()
        if self._feed is not None:
            self._feed.close()
        super().destroy_node()


@dataclass(frozen=True)
class _Arrival:
    heard_s: float
    age_s: float
    dropped: int


def _age_s(arrivals: list[_Arrival]) -> float:
    return float(np.median([arrival.age_s for arrival in arrivals])) if arrivals else 0.0


def _lost_share(arrivals: list[_Arrival]) -> float:
    lost = arrivals[-1].dropped - arrivals[0].dropped if arrivals else 0
    return lost / (lost + len(arrivals) - 1) if lost else 0.0


class _Channel:
    """One camera from device to topics."""

    def __init__(
        self, node: Node, name: str, camera: SteadyCamera, framing: Any, stop: threading.Event
    ) -> None:
        self.name = name
        self._node = node
        self._camera, self._framing = camera, framing
        self._stop = stop
        self._arrivals: deque[_Arrival] = deque(maxlen=RECENT)
        self._image = publisher(node, f"/{name}/color/image_raw")
        self._jpeg = publisher(node, f"/{name}/color/image_raw{wire.COMPRESSED}")
        self._info = publisher(node, f"/{name}/color/camera_info")
        self._depth = (
            publisher(node, f"/{name}/aligned_depth_to_color/image_raw") if camera.config.depth else None
        )
        # filled anew for every frame: publishing serialises, nobody else holds them
        self._messages = Image(), CompressedImage(), CameraInfo(), Image()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        state = self._camera.state
        while not self._stop.is_set():
            if (frame := self._camera.read(READ_TIMEOUT_S)) is not None:
                self._publish(frame)
            if self._camera.state != state:
                state = self._camera.state
                self._arrivals.clear()
                self._node.get_logger().warning(f"{self.name} is {state} {self._camera.error}".rstrip())
        self._camera.close()

    def _publish(self, frame: Frame) -> None:
        optical = f"{self.name}_color_optical_frame"
        image, packed, info, depth = self._messages
        pinhole = self._camera.intrinsics
        if self._framing is not None:
            frame, pinhole = self._framing.frame(frame), self._framing.intrinsics(pinhole)
        self._image.publish(wire.fill_image(image, frame.color, frame.stamp_ns, optical))
        if self._jpeg.get_subscription_count():
            self._jpeg.publish(fill_compressed(packed, frame.color, frame.stamp_ns, optical))
        matrix = np.array([[pinhole.fx, 0, pinhole.cx], [0, pinhole.fy, pinhole.cy], [0, 0, 1]])
        hw = (pinhole.height, pinhole.width)
        self._info.publish(
            wire.fill_camera_info(info, matrix, pinhole.distortion, hw, frame.stamp_ns, optical)
        )
        if self._depth is not None and frame.depth is not None:
            self._depth.publish(wire.fill_depth(depth, frame.depth, frame.stamp_ns, optical))
        age_s = (time.time_ns() - frame.stamp_ns) / 1e9
        self._arrivals.append(_Arrival(time.monotonic(), age_s, self._camera.dropped))

    @property
    def complaint(self) -> str:
        """What is wrong with the camera, in words; empty when it is well."""
        if self._camera.error:
            return f"{self.name}: {self._camera.error}"
        if self._camera.state == "silent":
            return f"no frames from {self.name}"
        lost, age_s = _lost_share(list(self._arrivals)), _age_s(list(self._arrivals))
        if lost > LOSSY:
            return f"{self.name} loses {lost:.0%} of its frames"
        return f"frames of {self.name} are {age_s:.2f} s late" if age_s > LATE_S else ""

    def figures(self) -> dict[str, Any]:
        rows, camera = list(self._arrivals), self._camera
        span = rows[-1].heard_s - rows[0].heard_s if len(rows) > 1 else 0.0
        return {
            f"{self.name}/state": camera.state,
            f"{self.name}/rate_hz": (len(rows) - 1) / span if span and camera.state == "streaming" else 0.0,
            f"{self.name}/age_ms": _age_s(rows) * 1e3,
            f"{self.name}/received": camera.received,
            f"{self.name}/dropped": camera.dropped,
            f"{self.name}/reconnected": camera.reconnected,
        }

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(timeout=2.0)


def _framing(config: CameraConfig) -> Any:
    from como_ros.drivers.framing import Framing  # needs OpenCV, which few robots have

    height, width = config.image_hw
    return Framing((config.height, config.width), (height, width))


def _feed(config: CameraConfig) -> Any:
    """Whoever hands pictures to software devices in this process; nobody on a robot."""
    if config.canned:
        from como_ros.lab.canned_feed import CannedFeed

        return CannedFeed(config.canned, config.names, config.stream)
    if not config.lab_state:
        return None
    from como_ros.lab.feed import LabFeed

    return LabFeed(config.lab_state, config.task, config.names, config.stream)


def main(argv: list[str] | None = None) -> int:
    prefer(NICENESS)
    share_pictures()
    return run_node(CameraNode, argv)


if __name__ == "__main__":
    raise SystemExit(main())

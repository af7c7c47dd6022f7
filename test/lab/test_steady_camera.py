"""A device that goes and comes back: the driver says so, keeps count, and reads on."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from como_ros.drivers.realsense import Frame, StreamConfig, not_plugged_in
from como_ros.drivers.steady_camera import REOPEN_AFTER_S, SteadyCamera
from como_ros.lab.software_camera import SoftwareCamera

PINHOLE = np.array([[160.0, 0, 63.5], [0, 160.0, 47.5], [0, 0, 1]])
COLOR = np.zeros((96, 128, 3), np.uint8)
DEPTH_M = np.full((96, 128), 0.5, np.float32)


class Socket:
    """A USB socket with a camera in it, or not."""

    def __init__(self, config: StreamConfig) -> None:
        self.config = config
        self.camera: SoftwareCamera | None = None

    def plug(self) -> None:
        self.camera = SoftwareCamera("0815", self.config, PINHOLE)

    def device(self):
        if self.camera is None:
            raise not_plugged_in("0815", [])
        return self.camera.device

    def push(self, skip: int = 0) -> None:
        if self.camera is not None:
            self.camera.push(COLOR, time.time_ns(), DEPTH_M if self.config.depth else None, skip)


@pytest.fixture(params=[False, True], ids=["color", "depth"])
def socket(request) -> Socket:
    return Socket(StreamConfig(width=128, height=96, rate_hz=20, depth=request.param))


def run(socket: Socket, camera: SteadyCamera, done: Callable[[], bool], limit_s: float = 5.0) -> list[Frame]:
    """Twenty frames a second until `done`, at most so long."""
    frames, end = [], time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, f"still {camera.state}: {camera.error}"
        socket.push()
        if (frame := camera.read(0.05)) is not None:
            frames.append(frame)
            time.sleep(0.05)
    return frames


def test_a_device_that_disappears_and_comes_back_is_read_again_and_its_losses_counted(socket):
    camera = SteadyCamera(socket.device, socket.config)
    assert camera.state == "silent"
    assert camera.read(0.0) is None
    assert camera.state == "gone"
    assert "camera '0815' is not plugged in; connected serials: none" in camera.error
    for times, lost in ((0, 4), (1, 2)):
        socket.plug()
        frames = run(socket, camera, lambda: camera.state == "streaming")  # within 5 s
        assert frames[0].number <= 3  # a device of its own, counting from one
        assert (camera.reconnected, camera.error) == (times, "")
        time.sleep(0.1)
        socket.push(lost)
        assert camera.read(1.0) is not None
        socket.camera = None
        run(socket, camera, lambda: camera.state == "gone")
    assert camera.dropped == 4 + 2
    camera.close()


def test_a_device_that_stalls_is_opened_anew_and_stays_silent_until_it_sends():
    socket = Socket(StreamConfig(width=128, height=96, rate_hz=20))
    socket.plug()
    camera = SteadyCamera(socket.device, socket.config)
    run(socket, camera, lambda: camera.received >= 3)
    end = time.monotonic() + REOPEN_AFTER_S + 0.5
    while time.monotonic() < end:
        assert camera.read(0.1) is None
    assert (camera.state, camera.error, camera.reconnected) == ("silent", "", 0)
    run(socket, camera, lambda: camera.state == "streaming")
    assert camera.reconnected == 1
    camera.close()

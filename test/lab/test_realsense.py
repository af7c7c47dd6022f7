"""The camera driver against the real librealsense, fed by a software device."""

import threading
import time

import numpy as np
import pyrealsense2 as rs
import pytest

from como_ros.drivers.realsense import RealSense, StreamConfig, find_device
from como_ros.errors import ComoError
from como_ros.lab.software_camera import SoftwareCamera

PINHOLE = np.array([[160.0, 0, 64], [0, 160.0, 48], [0, 0, 1]])
CONFIG = StreamConfig(width=128, height=96, rate_hz=10)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)


def test_color_leaves_librealsense_as_it_entered():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE)
    camera = RealSense(lab.device, CONFIG)
    for number in range(1, 6):
        stamp_ns = time.time_ns()
        lab.push(picture(number), stamp_ns)
        frame = camera.read(1.0)
        assert frame is not None
        np.testing.assert_array_equal(frame.color, picture(number))
        assert frame.number == number
        assert abs(frame.stamp_ns - stamp_ns) < 1000
        assert frame.depth is None
    camera.close()


def test_depth_arrives_aligned_and_in_millimetres():
    config = StreamConfig(width=128, height=96, rate_hz=10, depth=True)
    lab = SoftwareCamera("lab-front", config, PINHOLE)
    camera = RealSense(lab.device, config)
    depth_m = np.full((96, 128), 0.5, np.float32)
    depth_m[:, 64:] = 20.0
    start_ns = time.time_ns()
    lab.push(picture(0), start_ns, depth_m)  # librealsense spends the first pair on synchronising
    assert camera.read(0.1) is None
    for number in range(1, 4):
        lab.push(picture(number), start_ns + number * 100_000_000, depth_m)
        frame = camera.read(1.0)
        assert frame is not None
        assert frame.depth is not None
        np.testing.assert_array_equal(frame.color, picture(number))
        assert (frame.depth[:, :64] == 500).all()
        assert (frame.depth[:, 64:] == 0).all()
    camera.close()


def test_intrinsics_are_those_of_the_color_stream():
    camera = RealSense(SoftwareCamera("lab-front", CONFIG, PINHOLE).device, CONFIG)
    found = camera.intrinsics
    assert (found.fx, found.fy, found.cx, found.cy) == (160, 160, 64, 48)
    assert camera.serial == "lab-front"
    camera.close()


def test_lost_frames_are_counted_from_the_gaps_in_their_numbers():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE)
    camera = RealSense(lab.device, CONFIG)
    for skip in (0, 0, 3, 0, 1):
        lab.push(picture(0), time.time_ns(), skip=skip)
        assert camera.read(1.0) is not None
    assert (camera.received, camera.dropped) == (5, 4)
    camera.close()


def test_a_silent_camera_gives_none_after_the_timeout():
    camera = RealSense(SoftwareCamera("lab-front", CONFIG, PINHOLE).device, CONFIG)
    start = time.monotonic()
    assert camera.read(0.1) is None
    assert 0.05 < time.monotonic() - start < 1.0
    camera.close()


def test_a_closed_camera_can_be_opened_again():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE)
    RealSense(lab.device, CONFIG).close()
    camera = RealSense(lab.device, CONFIG)
    lab.push(picture(1), time.time_ns())
    assert camera.read(1.0) is not None
    camera.close()


def test_a_hardware_clock_is_mapped_to_system_time_within_a_millisecond():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE, domain=rs.timestamp_domain.hardware_clock)
    camera = RealSense(lab.device, CONFIG)
    boot_ns = time.time_ns() - 5_000_000_000
    shown, errors = picture(0), []
    for number in range(20):
        captured_ns = time.time_ns()
        time.sleep(0.001 * (number % 3))
        threading.Thread(target=lab.push, args=(shown, captured_ns - boot_ns)).start()
        frame = camera.read(1.0)
        assert frame is not None
        errors.append(abs(frame.stamp_ns - captured_ns))
    assert np.median(errors[3:]) < 1_000_000
    assert np.quantile(errors[3:], 0.9) < 2_000_000
    camera.close()


def test_a_mode_the_camera_lacks_is_refused_with_the_mode_named():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE)
    with pytest.raises(
        ComoError, match="lab-front cannot be opened: it has no color stream of 640x480 at 30"
    ):
        RealSense(lab.device, StreamConfig())


def test_a_camera_that_cannot_give_all_that_is_asked_is_left_as_it_was():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE)
    with pytest.raises(ComoError, match="it has no depth stream of 128x96 at 10 Hz"):
        RealSense(lab.device, StreamConfig(width=128, height=96, rate_hz=10, depth=True))
    camera = RealSense(lab.device, CONFIG)
    lab.push(picture(1), time.time_ns())
    assert camera.read(1.0) is not None
    camera.close()


def test_a_camera_in_use_is_refused_and_goes_on_for_its_user():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE)
    first = RealSense(lab.device, CONFIG)
    with pytest.raises(ComoError, match=r"camera lab-front cannot be opened: .*streaming"):
        RealSense(lab.device, CONFIG)
    lab.push(picture(1), time.time_ns())
    assert first.read(1.0) is not None
    first.close()


def test_stamps_of_a_hardware_clock_go_forward_after_a_late_first_frame():
    lab = SoftwareCamera("lab-front", CONFIG, PINHOLE, domain=rs.timestamp_domain.hardware_clock)
    camera = RealSense(lab.device, CONFIG)
    stamps = []
    for device_ms, late_s in ((1000, 0.3), (1100, 0.0), (1200, 0.0)):
        time.sleep(0.05 + late_s)
        lab.push(picture(0), device_ms * 1_000_000)
        frame = camera.read(1.0)
        assert frame is not None
        stamps.append(frame.stamp_ns)
    assert stamps == sorted(set(stamps))
    camera.close()


def test_an_absent_serial_is_refused_with_what_is_there():
    with pytest.raises(ComoError, match="camera '0815' is not plugged in; connected serials:"):
        find_device("0815")

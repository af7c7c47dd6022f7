"""What the lab draws is what the camera driver reads, pixel for pixel, with the moment it was true."""

import os
import time

import mujoco
import numpy as np
import pytest

from como_ros.drivers.realsense import RealSense, StreamConfig
from como_ros.lab import scene
from como_ros.lab.camera_faults import set_camera_fault
from como_ros.lab.feed import LabFeed
from como_ros.lab.render import Renderer, intrinsics
from como_ros.lab.shared_state import SharedState
from como_ros.lab.tasks import get_task
from policies.spaces import CAMERAS

CONFIG = StreamConfig(width=128, height=128, rate_hz=10)


@pytest.fixture
def state():
    model = scene.build_model(get_task("pick_place").objects_xml)
    state = SharedState.create(f"test_{os.getpid()}", scene.world_vector_size(model))
    yield state
    state.close()


@pytest.fixture
def feed(state):
    feed = LabFeed(f"test_{os.getpid()}", "pick_place", CAMERAS, CONFIG)
    yield feed
    feed.close()


def world(seed: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = scene.build_model(get_task("pick_place").objects_xml)
    data = mujoco.MjData(model)
    scene.set_arm_home(model, data)
    get_task("pick_place").place(model, data, get_task("pick_place").sample(seed))
    return model, data


def draw(seed: int) -> dict[str, np.ndarray]:
    model, data = world(seed)
    renderer = Renderer(model, (128, 128))
    frames = {name: renderer.colour(data, name) for name in CAMERAS}
    renderer.close()
    return frames


def newest(camera: RealSense, stamp_ns: int):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        frame = camera.read(0.5)
        if frame is not None and abs(frame.stamp_ns - stamp_ns) < 1000:
            return frame
    raise AssertionError("the frame of that moment never came")


def test_both_cameras_show_the_shared_world_pixel_for_pixel(state, feed):
    cameras = {name: RealSense(feed.cameras[name].device, CONFIG) for name in CAMERAS}
    for seed in (3, 4):
        model, data = world(seed)
        stamp_ns = time.time_ns()
        state.write(scene.world_vector(data, seed), stamp_ns)
        expected = draw(seed)
        for name, camera in cameras.items():
            np.testing.assert_array_equal(newest(camera, stamp_ns).color, expected[name])
            pinhole = intrinsics(model, name, (128, 128))
            assert camera.intrinsics.fx == pytest.approx(pinhole[0, 0], rel=1e-6)
    for camera in cameras.values():
        camera.close()


def test_a_world_that_stands_still_sends_no_new_frames(state, feed):
    camera = RealSense(feed.cameras["front"].device, CONFIG)
    _, data = world(5)
    stamp_ns = time.time_ns()
    state.write(scene.world_vector(data, 5), stamp_ns)
    newest(camera, stamp_ns)
    assert camera.read(0.5) is None
    camera.close()


def test_a_frozen_camera_sends_nothing_while_the_other_goes_on(state, feed):
    cameras = {name: RealSense(feed.cameras[name].device, CONFIG) for name in CAMERAS}
    _, data = world(5)
    set_camera_fault(state, "camera_freeze", True, camera="front")
    stamp_ns = time.time_ns()
    state.write(scene.world_vector(data, 5), stamp_ns)
    newest(cameras["wrist"], stamp_ns)
    assert cameras["front"].read(0.3) is None
    set_camera_fault(state, "camera_freeze", False)
    stamp_ns = time.time_ns()
    state.write(scene.world_vector(data, 5), stamp_ns)
    newest(cameras["front"], stamp_ns)
    for camera in cameras.values():
        camera.close()


def test_a_restarted_lab_is_seen_again_within_three_seconds(state, feed):
    camera = RealSense(feed.cameras["front"].device, CONFIG)
    model, data = world(6)
    state.write(scene.world_vector(data, 6), time.time_ns())
    restarted = SharedState.create(f"test_{os.getpid()}", scene.world_vector_size(model))
    begun, stamp_ns = time.monotonic(), time.time_ns()
    restarted.write(scene.world_vector(data, 6), stamp_ns)
    newest(camera, stamp_ns)
    assert time.monotonic() - begun < 3.0
    camera.close()

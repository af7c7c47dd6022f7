"""What the lab draws is what the camera driver reads, pixel for pixel, with the moment it was true."""

import os
import time

import mujoco
import numpy as np
import pytest
from ros_probe import Stalls, wait_until

from como_ros.drivers.realsense import RealSense, StreamConfig
from como_ros.lab import scene
from como_ros.lab.feed import LabFeed
from como_ros.lab.render import Renderer, intrinsics
from como_ros.lab.shared_state import SharedState
from como_ros.lab.tasks import RANGES, get_task
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


def world(seed: int, spread: str = "training") -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = scene.build_model(get_task("pick_place").objects_xml)
    data = mujoco.MjData(model)
    scene.set_arm_home(model, data)
    get_task("pick_place").place(model, data, get_task("pick_place").sample(seed, spread))
    return model, data


def newest(camera: RealSense, stamp_ns: int):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        frame = camera.read(0.5)
        if frame is not None and abs(frame.stamp_ns - stamp_ns) < 1000:
            return frame
    raise AssertionError("the frame of that moment never came")


@pytest.mark.parametrize("image_hw", [(128, 128), (480, 640)], ids=str)
def test_both_cameras_show_the_shared_world_pixel_for_pixel(state, image_hw):
    config = StreamConfig(width=image_hw[1], height=image_hw[0], rate_hz=10)
    feed = LabFeed(f"test_{os.getpid()}", "pick_place", CAMERAS, config)
    cameras = {name: RealSense(feed.device(name), config) for name in CAMERAS}
    for seed, spread in ((3, 0), (4, 1)):
        model, data = world(seed, RANGES[spread])
        stamp_ns = time.time_ns()
        state.write(scene.world_vector(data, seed, spread), stamp_ns)
        renderer = Renderer(model, image_hw)
        for name, camera in cameras.items():
            frame = newest(camera, stamp_ns)
            np.testing.assert_array_equal(frame.color, renderer.colour(data, name))
            assert frame.depth is None
            found, pinhole = camera.intrinsics, intrinsics(model, name, image_hw)
            expected = pinhole[[0, 1, 0, 1], [0, 1, 2, 2]]
            np.testing.assert_allclose([found.fx, found.fy, found.cx, found.cy], expected, rtol=1e-6)
        renderer.close()
    for camera in cameras.values():
        camera.close()
    feed.close()


def test_depth_comes_along_when_it_is_asked_for(state):
    config = StreamConfig(width=128, height=128, rate_hz=10, depth=True)
    feed = LabFeed(f"test_{os.getpid()}", "pick_place", ("front",), config)
    camera = RealSense(feed.device("front"), config)
    model, data = world(3)
    frame, deadline = None, time.monotonic() + 10
    while frame is None:  # librealsense spends the first pair on synchronising
        assert time.monotonic() < deadline, "no pair of colour and depth came"
        state.write(scene.world_vector(data, 3), time.time_ns())
        frame = camera.read(0.2)
    renderer = Renderer(model, (128, 128))
    np.testing.assert_array_equal(frame.color, renderer.colour(data, "front"))
    assert np.median(np.abs(frame.depth / 1000 - renderer.depth_m(data, "front"))) < 0.005
    renderer.close()
    camera.close()
    feed.close()


def test_a_world_that_stands_still_sends_no_new_frames(state, feed):
    camera = RealSense(feed.device("front"), CONFIG)
    _, data = world(5)
    stamp_ns = time.time_ns()
    state.write(scene.world_vector(data, 5), stamp_ns)
    newest(camera, stamp_ns)
    assert camera.read(0.5) is None
    camera.close()


def test_a_world_of_another_task_is_refused_and_a_fitting_one_taken(state, feed):
    other = SharedState.create(f"test_{os.getpid()}", 3)
    wait_until(lambda: "does not run 'pick_place'" in feed.error, "the refusal")
    camera = RealSense(feed.device("front"), CONFIG)
    model, data = world(6)
    fitting = SharedState.create(f"test_{os.getpid()}", scene.world_vector_size(model))
    stamp_ns = time.time_ns()
    fitting.write(scene.world_vector(data, 6), stamp_ns)
    newest(camera, stamp_ns)
    wait_until(lambda: not feed.error, "the end of the complaint")
    camera.close()
    other.close()
    fitting.close()


def test_a_restarted_lab_is_seen_again_within_three_seconds(state, feed):
    camera = RealSense(feed.device("front"), CONFIG)
    model, data = world(6)
    state.write(scene.world_vector(data, 6), time.time_ns())
    restarted = SharedState.create(f"test_{os.getpid()}", scene.world_vector_size(model))
    stalls, stamp_ns = Stalls(), time.time_ns()
    restarted.write(scene.world_vector(data, 6), stamp_ns)
    newest(camera, stamp_ns)
    stalls.close()
    took_s = (time.time_ns() - stamp_ns) / 1e9
    assert took_s < 3.0 + stalls.after(stamp_ns, 10.0)
    camera.close()

"""Depth as a D435 gives it: seen from beside the colour sensor, within a range, aligned by librealsense."""

import time

import cv2
import mujoco
import numpy as np
import pyrealsense2 as rs
import pytest

from como_ros.drivers.realsense import RealSense, StreamConfig
from como_ros.lab import scene
from como_ros.lab.render import DEPTH_BESIDE_M, DEPTH_ZOOM, Renderer, intrinsics
from como_ros.lab.software_camera import DEPTH_RANGE_M, SoftwareCamera
from como_ros.lab.tasks import get_task
from policies.spaces import CAMERAS

SIZES = [(128, 128), (480, 640)]
NEAR_M, FAR_M = DEPTH_RANGE_M
AROUND = np.ones((3, 3), np.uint8)


class View:
    """One camera of one world, as the feed draws it and hands it to librealsense."""

    def __init__(self, camera: str, image_hw: tuple[int, int]) -> None:
        task = get_task("pick_place")
        self.camera, self.model = camera, scene.build_model(task.objects_xml)
        self.data = mujoco.MjData(self.model)
        scene.set_arm_home(self.model, self.data)
        task.place(self.model, self.data, task.sample(5))
        renderer = Renderer(self.model, image_hw)
        self.color = renderer.colour(self.data, camera)
        self.depth_m = renderer.depth_m(self.data, camera, DEPTH_BESIDE_M, DEPTH_ZOOM)
        self.depth_from_color_m = renderer.depth_m(self.data, camera)
        renderer.close()
        self.pinhole = intrinsics(self.model, camera, image_hw)
        self.depth_pinhole = intrinsics(self.model, camera, image_hw, DEPTH_ZOOM)
        self.config = StreamConfig(image_hw[1], image_hw[0], 10, depth=True)
        self.lab = SoftwareCamera(camera, self.config, self.pinhole, self.depth_pinhole, DEPTH_BESIDE_M)

    def push(self, count: int = 1) -> None:
        start_ns = time.time_ns()
        for number in range(count):
            self.lab.push(self.color, start_ns + number * 100_000_000, self.depth_m)

    def ray_m(self, u: int, v: int) -> float:
        """By MuJoCo's ray caster, how far along the depth sensor's axis something visible is; -1: none."""
        axes = self.data.cam_xmat[self.model.camera(self.camera).id].reshape(3, 3)
        eye = self.data.cam_xpos[self.model.camera(self.camera).id] + DEPTH_BESIDE_M * axes[:, 0]
        x, y, _ = np.linalg.inv(self.depth_pinhole) @ [u, v, 1.0]
        ray = axes @ [x, -y, -1.0]
        visible, found = np.array([0, 1, 0, 0, 0, 0], np.uint8), np.zeros(1, np.int32)
        return mujoco.mj_ray(self.model, self.data, eye, ray, visible, 1, -1, found)


@pytest.fixture(scope="module", params=[(camera, size) for camera in CAMERAS for size in SIZES], ids=str)
def view(request) -> View:
    return View(*request.param)


def test_depth_is_as_far_as_a_ray_goes_at_every_edge(view):
    height, width = view.depth_m.shape
    rng = np.random.default_rng(0)
    pixels = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(400)]
    pixels += [(u, v) for u in range(0, width, width // 32) for v in (0, height - 1)]
    pixels += [(u, v) for v in range(0, height, height // 32) for u in (0, width - 1)]
    errors = [abs(view.depth_m[v, u] - far) for u, v in pixels if (far := view.ray_m(u, v)) > 0]
    assert len(errors) > 300
    assert np.mean(np.array(errors) < 1e-4) > 0.995  # a ray and a raster may fall on either side of an edge


def test_depth_leaves_librealsense_within_a_millimetre_over_the_whole_image(view):
    (sensor,) = [s for s in view.lab.device.query_sensors() if s.is_depth_sensor()]
    queue = rs.frame_queue(2)
    sensor.open(sensor.get_stream_profiles()[0])
    sensor.start(queue)
    view.push()
    arrived, frame = queue.try_wait_for_frame(1000)
    assert arrived
    depth_m = np.asarray(frame.get_data()) * frame.as_depth_frame().get_units()
    seen = (view.depth_m >= NEAR_M) & (view.depth_m <= FAR_M)
    assert np.abs(depth_m - view.depth_m)[seen].max() < 0.001
    assert (depth_m[~seen] == 0).all()
    assert seen.mean() > 0.7
    sensor.stop()
    sensor.close()


def test_aligned_depth_is_what_the_color_sensor_would_measure(view):
    camera = RealSense(view.lab.device, view.config)
    view.push(3)  # librealsense spends the first pair on synchronising
    frame = camera.read(1.0)
    camera.close()
    np.testing.assert_array_equal(frame.color, view.color)
    true_m, depth_m = view.depth_from_color_m, frame.depth / 1000
    seen = (true_m > NEAR_M) & (true_m < FAR_M)
    valued = seen & (depth_m > 0)
    # within a millimetre of what lies within one pixel: librealsense rounds to whole pixels
    low, high = cv2.erode(true_m, AROUND) - 0.001, cv2.dilate(true_m, AROUND) + 0.001
    assert np.mean((depth_m >= low)[valued] & (depth_m <= high)[valued]) > 0.95
    assert np.mean(hidden_from_depth(view, seen & (depth_m == 0))) > 0.95
    assert np.mean(seen & (depth_m == 0)) < 0.05


def hidden_from_depth(view: View, holes: np.ndarray) -> np.ndarray:
    """For each hole, whether the depth sensor really does not see what the colour sensor sees there."""
    v, u = np.nonzero(holes)
    depth = view.depth_from_color_m[v, u]
    points = np.linalg.inv(view.pinhole) @ (np.stack([u, v, np.ones_like(u)]) * depth)
    points[0] -= DEPTH_BESIDE_M
    at = np.round(view.depth_pinhole @ (points / points[2]))[:2].astype(int)
    height, width = view.depth_m.shape
    inside = (at[0] >= 1) & (at[0] < width - 1) & (at[1] >= 1) & (at[1] < height - 1)
    nearest = cv2.erode(view.depth_m, AROUND)[at[1].clip(0, height - 1), at[0].clip(0, width - 1)]
    return ~inside | (nearest < depth - 0.002)


def test_a_camera_without_depth_has_no_depth_sensor():
    config = StreamConfig(128, 128, 10)
    lab = SoftwareCamera("lab-front", config, np.eye(3), np.eye(3), DEPTH_BESIDE_M)
    assert [sensor.is_depth_sensor() for sensor in lab.device.query_sensors()] == [False]

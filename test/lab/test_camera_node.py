"""The camera node in a process of its own: lab world -> librealsense -> Fast DDS -> this process."""

import os
import threading
import time

import mujoco
import numpy as np
import pytest
from ros_probe import wait_until

from como_ros import wire
from como_ros.lab import scene
from como_ros.lab.render import Renderer, intrinsics
from como_ros.lab.shared_state import SharedState
from como_ros.lab.tasks import get_task

SEED = 11


class World:
    """Stands still, but its clock runs, as the lab's does: 200 looks a second."""

    def __init__(self) -> None:
        self.name = f"test_{os.getpid()}"
        self.model = scene.build_model(get_task("pick_place").objects_xml)
        self.data = mujoco.MjData(self.model)
        scene.set_arm_home(self.model, self.data)
        task = get_task("pick_place")
        task.place(self.model, self.data, task.sample(SEED))
        self.state = SharedState.create(self.name, scene.world_vector_size(self.model))
        self.frozen = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            if not self.frozen.is_set():
                self.state.write(scene.world_vector(self.data, SEED), time.time_ns())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.state.close()


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


def test_images_cross_the_process_border_unchanged_with_capture_stamps(world, probe, processes):
    images = {name: probe.listen(f"/{name}/color/image_raw") for name in ("front", "wrist")}
    infos = probe.listen("/front/color/camera_info")
    processes.node("camera", lab_state=world.name)
    wait_until(lambda: all(len(kept) >= 10 for kept in images.values()), "ten images of each camera", 40)
    renderer = Renderer(world.model, (128, 128))
    for name, kept in images.items():
        image = wire.image_from_msg(kept[-1][1])
        np.testing.assert_array_equal(image, renderer.colour(world.data, name))
        assert kept[-1][1].header.frame_id == f"{name}_color_optical_frame"
    renderer.close()
    both = [wire.stamp_ns(images[name][-1][1]) for name in images]
    assert abs(both[0] - both[1]) < 200_000_000
    age_s = time.time() - max(both) / 1e9
    assert 0 < age_s < 1.0
    np.testing.assert_allclose(
        wire.camera_matrix_from_msg(infos[-1][1]), intrinsics(world.model, "front", (128, 128)), rtol=1e-6
    )


def test_health_tells_rate_age_and_drops_and_names_a_silent_camera(world, probe, processes):
    health = probe.listen("/diagnostics")
    processes.node("camera", lab_state=world.name, names='["front"]')

    def newest():
        return health[-1][1].status[0] if health else None

    wait_until(lambda: newest() and newest().message == "ok", "a healthy camera", 40)
    time.sleep(2.0)
    figures = {pair.key: float(pair.value) for pair in newest().values}
    assert 7 < figures["front/rate_hz"] < 11
    assert 0 < figures["front/age_ms"] < 200
    assert figures["front/dropped"] == 0
    world.frozen.set()
    wait_until(lambda: newest().message == "no frames from front", "the complaint")
    assert newest().level == b"\x02"
    world.frozen.clear()
    wait_until(lambda: newest().message == "ok", "recovery")


def test_a_camera_that_is_not_plugged_in_is_reported_and_looked_for_again(probe, processes):
    health = probe.listen("/diagnostics")
    processes.node("camera", names='["front"]', serials='["0815"]')
    wait_until(lambda: health, "diagnostics", 40)
    assert "0815" in health[-1][1].status[0].message


def test_a_lab_that_is_not_there_is_named(probe, processes):
    health = probe.listen("/diagnostics")
    processes.node("camera", lab_state="nowhere")
    wait_until(lambda: any("nowhere" in m.status[0].message for _, m in health), "the complaint", 40)

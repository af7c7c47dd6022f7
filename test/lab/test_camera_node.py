"""The camera node in a process of its own: lab world -> librealsense -> Fast DDS -> this process."""

import time

import cv2
import numpy as np
import pytest
from ros_probe import wait_until
from standing_world import World

from como_ros import wire
from como_ros.bag_meta import read_meta
from como_ros.errors import ComoError
from como_ros.lab.camera_faults import set_camera_fault
from como_ros.lab.render import Renderer, intrinsics
from training.episodes import load_episodes


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
    assert probe.node.count_publishers("/front/aligned_depth_to_color/image_raw") == 0
    ages_s = [time.time() - (time.monotonic() - at) - wire.stamp_ns(m) / 1e9 for at, m in images["front"]]
    assert 0 < min(ages_s) < 0.5
    front, wrist = ([wire.stamp_ns(m) for _, m in kept] for kept in images.values())
    assert np.abs(np.subtract.outer(front, wrist)).min() < 1_000_000  # one look at the world serves both
    np.testing.assert_allclose(
        wire.camera_matrix_from_msg(infos[-1][1]), intrinsics(world.model, "front", (128, 128)), rtol=1e-6
    )


class Health:
    """The newest that the camera node said of itself."""

    def __init__(self, probe) -> None:
        self._heard = probe.listen("/diagnostics")

    @property
    def message(self) -> str:
        return self._heard[-1][1].status[0].message if self._heard else ""

    @property
    def ok(self) -> bool:
        return bool(self._heard) and self._heard[-1][1].status[0].level == b"\x00"

    def figure(self, key: str) -> str:
        return {pair.key: pair.value for pair in self._heard[-1][1].status[0].values}[key]


def test_health_tells_rate_age_and_drops_and_names_a_silent_camera(world, probe, processes):
    health = Health(probe)
    processes.node("camera", lab_state=world.name, names='["front"]')
    wait_until(lambda: health.message == "ok", "a healthy camera", 40)
    wait_until(lambda: 7 < float(health.figure("front/rate_hz")) < 11, "its rate")
    wait_until(lambda: 0 < float(health.figure("front/age_ms")) < 200, "pictures of now")
    assert (health.figure("front/dropped"), health.figure("front/state")) == ("0", "streaming")
    world.frozen.set()
    wait_until(lambda: health.message == "no frames from front", "the complaint")
    assert not health.ok
    assert health.figure("front/state") == "silent"
    world.frozen.clear()
    wait_until(lambda: health.message == "ok", "recovery")


def test_every_camera_fault_is_seen_on_the_wire_named_and_over_when_it_is_off(world, probe, processes):
    health = Health(probe)
    front, wrist = (probe.listen(f"/{name}/color/image_raw") for name in ("front", "wrist"))
    processes.node("camera", lab_state=world.name)
    wait_until(lambda: health.message == "ok", "two healthy cameras", 40)

    def fault(name: str, on: bool, value: float | None = None) -> None:
        set_camera_fault(world.state, name, on, value, "front")
        time.sleep(0.5)
        front.clear()
        wrist.clear()

    def over(name: str) -> None:
        fault(name, False)
        wait_until(lambda: health.ok and len(front) > 5, f"recovery from {name}")

    fault("camera_freeze", True)
    wait_until(lambda: health.message == "no frames from front", "the frozen camera's name")
    assert not front
    assert len(wrist) > 3
    over("camera_freeze")

    fault("camera_drop", True, 0.6)
    wait_until(lambda: health.message.startswith("front loses "), "the lossy camera's name")
    wait_until(lambda: len(wrist) > 20, "pictures of the other camera")
    assert 0 < len(front) < 0.9 * len(wrist)
    assert int(health.figure("front/dropped")) > 0
    assert health.figure("wrist/dropped") == "0"
    over("camera_drop")

    fault("camera_delay", True, 0.8)
    wait_until(lambda: health.message.startswith("frames of front are 0."), "the late camera's name")
    at_s, image = front[-1]
    assert time.time() - (time.monotonic() - at_s) - wire.stamp_ns(image) / 1e9 >= 0.8
    over("camera_delay")

    fault("camera_unplug", True)
    wait_until(lambda: "camera 'lab-front' is not plugged in" in health.message, "the lost camera's name")
    assert health.figure("front/state") == "gone"
    assert not front
    assert len(wrist) > 3
    reconnected = int(health.figure("front/reconnected"))
    over("camera_unplug")
    assert int(health.figure("front/reconnected")) == reconnected + 1


def test_a_camera_that_freezes_while_recorded_is_named_within_a_second_and_flags_the_episode(
    world, probe, processes, tmp_path, capsys
):
    images, health = probe.listen("/front/color/image_raw"), probe.listen("/diagnostics")
    processes.node("camera", lab_state=world.name)
    processes.node("recorder", out=tmp_path)
    wait_until(lambda: len(images) > 5, "pictures", 40)

    def recorder() -> list[str]:
        statuses = [status for _, message in list(health) for status in message.status]
        return [s.message for s in statuses if s.name == "recorder" and s.level != b"\x00"]

    assert probe.call("/recorder/start")[0]
    time.sleep(2.0)
    assert not any("images/front" in said for said in recorder())
    set_camera_fault(world.state, "camera_freeze", True, None, "front")
    frozen_ns = time.time_ns()
    wait_until(lambda: any("images/front silent" in said for said in recorder()), "the frozen camera's name")
    assert (time.time_ns() - frozen_ns) / 1e9 < 1.0 + probe.stalls.after(frozen_ns, 2.0)
    assert not any("images/wrist" in said for said in recorder())
    assert probe.call("/recorder/keep")[0]
    assert any(
        flag.startswith("images/front silent") for flag in read_meta(tmp_path / "episode_000000").flags
    )
    with pytest.raises(ComoError, match="no good episodes"):
        load_episodes(tmp_path)
    assert "images/front silent" in capsys.readouterr().err


def test_depth_is_published_as_realsense2_camera_does_when_it_is_on(world, probe, processes):
    color, aligned = "/front/color/image_raw", "/front/aligned_depth_to_color/image_raw"
    images, depths = probe.listen(color), probe.listen(aligned)
    processes.node("camera", lab_state=world.name, names='["front"]', depth="true")
    wait_until(lambda: len(depths) > 5 and len(images) > 5, "depth and colour", 40)
    message = depths[-1][1]
    assert (message.encoding, message.header.frame_id) == ("16UC1", "front_color_optical_frame")
    stamps = {wire.stamp_ns(image) for _, image in images}
    assert {wire.stamp_ns(depth) for _, depth in depths[:-1]} <= stamps
    depth_m = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width) / 1000
    renderer = Renderer(world.model, (128, 128))
    assert np.median(np.abs(depth_m - renderer.depth_m(world.data, "front"))) < 0.005
    renderer.close()


def test_a_vga_camera_serves_a_policy_s_squares_with_intrinsics_to_match(world, probe, processes):
    images, infos = (probe.listen(f"/front/color/{topic}") for topic in ("image_raw", "camera_info"))
    processes.node(
        "camera", lab_state=world.name, names='["front"]', width=640, height=480, image_hw="[128, 128]"
    )
    wait_until(lambda: len(images) > 3 and len(infos) > 3, "images", 40)
    renderer = Renderer(world.model, (480, 640))
    middle = renderer.colour(world.data, "front")[:, 80:560]
    renderer.close()
    expected = cv2.resize(middle, (128, 128), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(wire.image_from_msg(images[-1][1]), expected)
    square = intrinsics(world.model, "front", (128, 128))  # the same field of view from top to bottom
    np.testing.assert_allclose(wire.camera_matrix_from_msg(infos[-1][1]), square, rtol=1e-6)
    assert (infos[-1][1].height, infos[-1][1].width) == (128, 128)


def test_a_camera_that_is_not_plugged_in_is_reported_and_looked_for_again(probe, processes):
    health = probe.listen("/diagnostics")
    processes.node("camera", names='["front"]', serials='["0815"]')
    wait_until(lambda: health, "diagnostics", 40)
    assert "0815" in health[-1][1].status[0].message


def test_a_lab_that_is_not_there_is_named(probe, processes):
    health = probe.listen("/diagnostics")
    processes.node("camera", lab_state="nowhere")
    wait_until(lambda: any("nowhere" in m.status[0].message for _, m in health), "the complaint", 40)

"""What each camera fault does to the frames that the driver reads, and that all is well when it is over."""

import time

import pytest
from standing_world import World

from como_ros.drivers.realsense import Frame, StreamConfig
from como_ros.drivers.steady_camera import SteadyCamera
from como_ros.lab.camera_faults import set_camera_fault
from como_ros.lab.feed import LabFeed
from policies.spaces import CAMERAS

CONFIG = StreamConfig(width=128, height=128, rate_hz=20)


class Station:
    """Both cameras of a world, read in turns; `read` gives what came, by camera, with the time it came."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.feed = LabFeed(world.name, "pick_place", CAMERAS, CONFIG)
        self.cameras = {
            name: SteadyCamera(lambda name=name: self.feed.device(name), CONFIG) for name in CAMERAS
        }
        while not all(camera.received for camera in self.cameras.values()):
            self.read(0.1)

    def read(self, seconds: float) -> dict[str, list[tuple[Frame, float]]]:
        kept: dict[str, list[tuple[Frame, float]]] = {name: [] for name in CAMERAS}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, camera in self.cameras.items():
                if (frame := camera.read(0.01)) is not None:
                    kept[name].append((frame, time.time() - frame.stamp_ns / 1e9))
        return kept

    def fault(self, name: str, on: bool, value: float | None = None, camera: str | None = None) -> None:
        set_camera_fault(self.world.state, name, on, value, camera)
        self.read(0.3)  # the feed looks once a frame

    def close(self) -> None:
        for camera in self.cameras.values():
            camera.close()
        self.feed.close()


@pytest.fixture
def station():
    world = World()
    station = Station(world)
    yield station
    station.close()
    world.close()


def test_a_frozen_camera_sends_nothing_while_the_other_goes_on(station):
    station.fault("camera_freeze", True, camera="front")
    kept = station.read(1.2)
    assert not kept["front"]
    assert len(kept["wrist"]) > 8
    assert station.cameras["front"].state == "silent"
    station.fault("camera_freeze", False)
    kept = station.read(1.0)
    assert len(kept["front"]) > 8
    assert station.cameras["front"].state == "streaming"
    assert station.cameras["front"].dropped == 0


def test_a_dropping_camera_loses_its_share_of_frame_numbers(station):
    station.fault("camera_drop", True, 0.5)
    before = {name: (camera.received, camera.dropped) for name, camera in station.cameras.items()}
    station.read(3.0)
    for name, camera in station.cameras.items():
        received, dropped = camera.received - before[name][0], camera.dropped - before[name][1]
        assert 0.3 < dropped / (dropped + received) < 0.7
    station.fault("camera_drop", False)
    before = {name: camera.dropped for name, camera in station.cameras.items()}
    assert all(len(frames) > 8 for frames in station.read(1.0).values())
    assert before == {name: camera.dropped for name, camera in station.cameras.items()}


def test_a_delayed_camera_delivers_all_frames_late_with_their_capture_stamps(station):
    usual = station.read(0.5)["wrist"]
    station.fault("camera_delay", True, 0.4, "front")
    station.read(0.4)
    kept = station.read(1.5)
    ages = [age for _, age in kept["front"]]
    assert min(ages) >= 0.4
    assert sorted(ages)[len(ages) // 2] < 0.5
    assert min(age for _, age in kept["wrist"]) < 0.2
    stamps = [frame.stamp_ns for frame, _ in kept["front"]]
    assert stamps == sorted(set(stamps))
    assert len(kept["front"]) > 0.7 * len(usual) * 3
    station.fault("camera_delay", False)
    assert min(age for _, age in station.read(1.0)["front"]) < 0.2


def test_an_unplugged_camera_is_named_and_found_again_within_five_seconds(station):
    front = station.cameras["front"]
    received = front.received
    station.fault("camera_unplug", True, camera="front")
    end = time.monotonic() + 5
    while front.state != "gone":
        assert time.monotonic() < end
        station.read(0.1)
    assert "camera 'lab-front' is not plugged in; connected serials: ['lab-wrist']" in front.error
    assert len(station.read(1.0)["wrist"]) > 8
    plugged_in = time.monotonic()
    station.fault("camera_unplug", False)
    while front.state != "streaming":
        assert time.monotonic() - plugged_in < 5
        station.read(0.1)
    assert front.received > received
    assert (front.reconnected, station.cameras["wrist"].reconnected) == (1, 0)
    assert front.error == ""

"""What each camera fault does to the frames that the driver reads, and that all is well when it is over."""

import time
from collections.abc import Callable
from functools import partial

import pytest
from standing_world import World

from como_ros.drivers.realsense import Frame, StreamConfig
from como_ros.drivers.steady_camera import SteadyCamera
from como_ros.lab.camera_faults import set_camera_fault
from como_ros.lab.feed import LabFeed
from policies.spaces import CAMERAS

CONFIG = StreamConfig(width=128, height=128, rate_hz=15)
LIMIT_S = 10.0


class Station:
    """Both cameras of a world, read in turns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.feed = LabFeed(world.name, "pick_place", CAMERAS, CONFIG)
        self.cameras = {name: SteadyCamera(partial(self.feed.device, name), CONFIG) for name in CAMERAS}
        self.kept: dict[str, list[tuple[Frame, float]]] = {name: [] for name in CAMERAS}
        """What came since the last fault was set, with its age in seconds."""
        self.read(lambda: all(self.kept.values()))

    def read(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while not done():
            assert time.monotonic() < end, {name: camera.state for name, camera in self.cameras.items()}
            for name, camera in self.cameras.items():
                if (frame := camera.read(0.01)) is not None:
                    self.kept[name].append((frame, time.time() - frame.stamp_ns / 1e9))

    def read_frames(self, camera: str, count: int) -> list[tuple[Frame, float]]:
        self.read(lambda: len(self.kept[camera]) >= count)
        return self.kept[camera]

    def fault(self, name: str, on: bool, value: float | None = None, camera: str | None = None) -> None:
        set_camera_fault(self.world.state, name, on, value, camera)
        settled = time.monotonic() + 0.3  # the feed looks once a frame
        self.read(lambda: time.monotonic() > settled)
        for frames in self.kept.values():
            frames.clear()

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
    front = station.cameras["front"]
    station.fault("camera_freeze", True, camera="front")
    station.read(lambda: front.state == "silent")
    assert not station.kept["front"]
    assert len(station.kept["wrist"]) > 3
    station.fault("camera_freeze", False)
    numbers = [frame.number for frame, _ in station.read_frames("front", 5)]
    assert numbers[-1] - numbers[0] < 8  # it sends all that it numbers
    assert front.state == "streaming"


def lost_share(frames: list[tuple[Frame, float]]) -> float:
    first, last = frames[0][0].number, frames[-1][0].number
    return 1 - (len(frames) - 1) / (last - first)


def test_a_dropping_camera_loses_its_share_of_frame_numbers(station):
    front = station.cameras["front"]
    station.fault("camera_drop", True, 0.5, "front")
    dropped = front.dropped
    assert 0.2 < lost_share(station.read_frames("front", 15)) < 0.75
    assert front.dropped - dropped > 5
    assert lost_share(station.kept["wrist"]) < 0.2
    station.fault("camera_drop", False)
    assert lost_share(station.read_frames("front", 10)) < 0.2


def test_a_delayed_camera_delivers_late_with_capture_stamps_and_loses_nothing(station):
    station.fault("camera_delay", True, 0.4, "front")
    station.read(lambda: len(station.kept["front"]) > 10)
    ages = [age for _, age in station.kept["front"][2:]]
    assert min(ages) >= 0.4
    assert sorted(ages)[len(ages) // 2] < 0.6
    assert min(age for _, age in station.kept["wrist"]) < 0.2
    stamps = [frame.stamp_ns for frame, _ in station.kept["front"]]
    assert stamps == sorted(set(stamps))
    assert lost_share(station.kept["front"]) < 0.2
    station.fault("camera_delay", False)
    assert min(age for _, age in station.read_frames("front", 5)) < 0.2


def test_an_unplugged_camera_is_named_and_found_again_within_five_seconds(station, reaction):
    front = station.cameras["front"]
    station.fault("camera_unplug", True, camera="front")
    station.read(lambda: front.state == "gone")
    assert "camera 'lab-front' is not plugged in; connected serials: ['lab-wrist']" in front.error
    assert not station.kept["front"]
    assert len(station.kept["wrist"]) > 3
    plugged_in_s = time.monotonic()
    station.fault("camera_unplug", False)
    station.read(lambda: front.state == "streaming")
    reaction("camera unplugged", time.monotonic() - plugged_in_s, 5.0)
    assert (front.reconnected, station.cameras["wrist"].reconnected) == (1, 0)
    assert front.error == ""

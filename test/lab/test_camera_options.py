"""Exposure and preset reach the sensor, and what it does not take is refused with what it does."""

from dataclasses import replace

import numpy as np
import pyrealsense2 as rs
import pytest

from como_ros.drivers.realsense import RealSense, StreamConfig
from como_ros.errors import ComoError
from como_ros.lab.software_camera import SoftwareCamera

PINHOLE = np.array([[160.0, 0, 64], [0, 160.0, 48], [0, 0, 1]])
CONFIG = StreamConfig(width=128, height=96, rate_hz=10, depth=True)


def limits(least: float, most: float) -> rs.option_range:
    made = rs.option_range()
    made.min, made.max, made.default, made.step = least, most, least, 1
    return made


@pytest.fixture
def device():
    """With the options of a D435, as far as they count here."""
    camera = SoftwareCamera("options", CONFIG, PINHOLE)
    color, depth = camera._color[0], camera._depth[0]  # only these, the software sensors, take new options
    color.add_option(rs.option.exposure, limits(1, 10000), True)
    color.add_option(rs.option.enable_auto_exposure, limits(0, 1), True)
    depth.add_option(rs.option.visual_preset, limits(0, 5), True)
    color.set_option(rs.option.enable_auto_exposure, 1)
    return camera.device


def values(device) -> tuple[float, float, float]:
    color, depth = device.query_sensors()
    exposures = color.get_option(rs.option.exposure), color.get_option(rs.option.enable_auto_exposure)
    return (*exposures, depth.get_option(rs.option.visual_preset))


def test_exposure_and_preset_reach_the_sensors(device):
    RealSense(device, replace(CONFIG, exposure=166, preset="high_accuracy")).close()
    assert values(device) == (166, 0, int(rs.rs400_visual_preset.high_accuracy))


def test_nothing_is_touched_unless_asked_for(device):
    before = values(device)
    RealSense(device, CONFIG).close()
    assert values(device) == before


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ({"exposure": 20000}, "exposure 20000 is not between 1 and 10000"),
        (
            {"preset": "sharp"},
            "there is no depth preset 'sharp'; known: custom, default, hand, high_accuracy",
        ),
        ({"preset": "edge_enhancement"}, "preset 'edge_enhancement', number 7 is not between 0 and 5"),
    ],
)
def test_what_a_camera_does_not_take_is_refused_with_what_it_does(device, wanted, answer):
    with pytest.raises(ComoError, match=f"camera options cannot be opened: .*{answer}"):
        RealSense(device, replace(CONFIG, **wanted))


def test_a_camera_without_an_exposure_says_so():
    with pytest.raises(ComoError, match="takes none; leave it at 0"):
        RealSense(SoftwareCamera("plain", CONFIG, PINHOLE).device, replace(CONFIG, exposure=5))

"""Exposure and depth preset of a RealSense; what the camera does not take is refused with what it does."""

from __future__ import annotations

from typing import Any

import pyrealsense2 as rs

from como_ros.errors import ComoError

PRESETS = tuple(rs.rs400_visual_preset.__members__)


def set_exposure(sensor: Any, exposure: int) -> None:
    """In the colour sensor's own units, 0.1 ms for a D435; 0 leaves it automatic."""
    if not exposure:
        return
    if not sensor.supports(rs.option.exposure):
        raise ComoError(f"exposure {exposure} was asked for, but its colour sensor takes none; leave it at 0")
    _require_within("exposure", sensor.get_option_range(rs.option.exposure), exposure)
    if sensor.supports(rs.option.enable_auto_exposure):
        sensor.set_option(rs.option.enable_auto_exposure, 0)
    sensor.set_option(rs.option.exposure, exposure)


def set_preset(sensor: Any, preset: str) -> None:
    """How depth is measured, by the name that librealsense gives it; empty leaves it as it is."""
    if not preset:
        return
    if preset not in PRESETS:
        raise ComoError(f"there is no depth preset {preset!r}; known: {', '.join(PRESETS)}")
    if not sensor.supports(rs.option.visual_preset):
        raise ComoError(f"preset {preset!r} was asked for, but its depth sensor has none; leave it empty")
    number = int(rs.rs400_visual_preset.__members__[preset])
    _require_within(f"preset {preset!r}, number", sensor.get_option_range(rs.option.visual_preset), number)
    sensor.set_option(rs.option.visual_preset, number)


def _require_within(what: str, valid: Any, value: int) -> None:
    if not valid.min <= value <= valid.max:
        raise ComoError(f"{what} {value} is not between {valid.min:g} and {valid.max:g}; give one that is")

"""Faults of the lab's cameras, by name: set where the world is kept, obeyed where its cameras draw.

`camera_freeze`   the stream stalls: the device is there, but no frame leaves it (value: none)
`camera_drop`     this share of the frames is lost on the way; their numbers are missing
`camera_delay`    frames are delivered so many seconds late; their stamps stay those of the capture
`camera_unplug`   the device is gone from the bus (value: none)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from como_ros.errors import ComoError
from como_ros.lab.shared_state import SharedState
from policies.spaces import CAMERAS


@dataclass(frozen=True)
class FaultKind:
    """What a fault's value means and its largest sensible one; no unit means that it takes no value."""

    unit: str = ""
    largest: float = 1.0


CAMERA_FAULTS = {
    "camera_freeze": FaultKind(),
    "camera_drop": FaultKind("share of the frames", 1.0),
    "camera_delay": FaultKind("seconds", 10.0),
    "camera_unplug": FaultKind(),
}


def set_camera_fault(
    shared: SharedState, name: str, on: bool, value: float | None = None, camera: str | None = None
) -> None:
    """Switch a fault of one camera, or of all when `camera` is None."""
    if name not in CAMERA_FAULTS:
        raise ComoError(f"no camera fault {name!r}; known: {', '.join(CAMERA_FAULTS)}")
    if camera is not None and camera not in CAMERAS:
        raise ComoError(f"no camera {camera!r}; known: {', '.join(CAMERAS)}, or none for all")
    strength = _strength(name, value) if on else 0.0
    for one in CAMERAS if camera is None else (camera,):
        shared.settings[_place(name, one)] = strength


def camera_fault(shared: SharedState, name: str, camera: str) -> float:
    """The fault's value now; 1 for one that takes none, 0 when it is off."""
    return float(shared.settings[_place(name, camera)])


def _strength(name: str, value: float | None) -> float:
    kind = CAMERA_FAULTS[name]
    if not kind.unit:
        if value is not None:
            raise ComoError(f"{name} takes no value, got {value!r}")
        return 1.0
    number = np.nan if value is None or isinstance(value, bool | str) else float(value)
    if not 0 < number <= kind.largest:
        raise ComoError(
            f"{name} needs a value, {kind.unit} above 0 and up to {kind.largest:g}, got {value!r}"
        )
    return number


def _place(name: str, camera: str) -> int:
    return CAMERAS.index(camera) * len(CAMERA_FAULTS) + list(CAMERA_FAULTS).index(name)

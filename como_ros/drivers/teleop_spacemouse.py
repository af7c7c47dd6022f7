"""A 3Dconnexion SpaceMouse: lean on the cap to move, first button is the deadman, second the gripper.

The reports are parsed as published descriptions have them; no SpaceMouse has been plugged in to test this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from como_ros.drivers.teleop import Reading
from como_ros.errors import ComoError

VENDORS = (0x256F, 0x046D)
"""3Dconnexion, and Logitech, which sold the older ones."""
LOGITECH_PRODUCTS = range(0xC603, 0xC62C)
"""Logitech also makes ordinary mice."""
FULL_SCALE = 350.0
TRANSLATION, ROTATION, BUTTONS = 1, 2, 3
STALE_S = 0.2
"""A cap that is leaned on reports some 60 times a second: silence is rest, also out of radio range."""
BASE_FROM_DEVICE = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""The device counts right, towards the person and down; the person behind the arm looks along x."""
UDEV = (
    'echo \'KERNEL=="hidraw*", ATTRS{idVendor}=="256f|046d", MODE="0660", TAG+="uaccess"\' | '
    "sudo tee /etc/udev/rules.d/70-spacemouse.rules && sudo udevadm control --reload && sudo udevadm trigger"
)


@dataclass(frozen=True)
class CapState:
    """What the reports have said so far, in the device's own axes, -1 to 1."""

    lean6: tuple[float, ...] = (0.0,) * 6
    buttons: int = 0
    """Bit mask."""


def parse(state: CapState, report: bytes) -> CapState:
    """One HID report; older models send the three axes of translation and rotation apart, newer all six."""
    kind, body = report[0], report[1:]
    if kind == BUTTONS and body:
        return replace(state, buttons=int.from_bytes(body[:4], "little"))
    if kind == TRANSLATION and len(body) >= 12:
        return replace(state, lean6=_axes(body, 6))
    if kind == TRANSLATION and len(body) >= 6:
        return replace(state, lean6=(*_axes(body, 3), *state.lean6[3:]))
    if kind == ROTATION and len(body) >= 6:
        return replace(state, lean6=(*state.lean6[:3], *_axes(body, 3)))
    return state


def _axes(body: bytes, count: int) -> tuple[float, ...]:
    raw = np.frombuffer(body, "<i2", count) / FULL_SCALE
    return tuple(np.clip(raw, -1.0, 1.0).tolist())


def reading(state: CapState) -> Reading:
    lean = np.array(state.lean6)
    push6 = np.concatenate([BASE_FROM_DEVICE @ lean[:3], BASE_FROM_DEVICE @ lean[3:]])
    toggles = frozenset({"toggle"}) if state.buttons & 2 else frozenset()
    return Reading(held=bool(state.buttons & 1), push6=push6, buttons=toggles)


class SpaceMouse:
    """The first one found."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._device = _open(_find())
        self._state = CapState()
        self._heard_s = clock()

    def read(self) -> Reading:
        while report := self._device.read(64):
            self._state, self._heard_s = parse(self._state, bytes(report)), self._clock()
        if self._clock() - self._heard_s > STALE_S:
            self._state = replace(self._state, lean6=(0.0,) * 6)
        return reading(self._state)

    def close(self) -> None:
        self._device.close()


def is_spacemouse(row: dict[str, Any]) -> bool:
    """Whether a row of hidapi's listing is one; the same makers also sell keyboards."""
    vendor, product = row["vendor_id"], row["product_id"]
    if vendor not in VENDORS or (vendor == VENDORS[1] and product not in LOGITECH_PRODUCTS):
        return False
    return (row.get("usage_page"), row.get("usage")) in ((1, 8), (0, 0), (None, None))


def _find() -> bytes:
    rows = [row for row in _hid().enumerate() if is_spacemouse(row)]
    if not rows:
        raise ComoError("no SpaceMouse found; plug it in, and see whether `lsusb` lists 3Dconnexion")
    path: bytes = rows[0]["path"]
    return path


def _open(path: bytes) -> Any:
    device = _hid().device()
    try:
        device.open_path(path)
    except OSError as error:
        told = f"the SpaceMouse at {path.decode()} cannot be opened; allow it once with: {UDEV}"
        raise ComoError(told) from error
    device.set_nonblocking(True)
    return device


def _hid() -> Any:
    try:
        import hidraw  # the kernel's own driver: USB and Bluetooth alike
    except ImportError as error:
        raise ComoError("the SpaceMouse needs hidapi; pip install 'como_ros[devices]'") from error
    return hidraw

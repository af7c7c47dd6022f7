"""A gamepad: the left bumper is the deadman, sticks and cross move, A closes and B opens the hand.

Start begins an episode, X keeps it as a success, Y as a failure, Select discards it; pressing the left stick
re-arms after a stop, the middle (logo) button stops. The mapping follows the kernel's gamepad
specification and is tested through a virtual device; no gamepad of plastic has been tried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from como_ros.drivers.teleop import Reading
from como_ros.errors import ComoError

# numbers of the kernel's input-event-codes, so that the mapping can be read and tested without evdev
ABS_X, ABS_Y, ABS_RX, ABS_RY, ABS_HAT0X, ABS_HAT0Y = 0, 1, 3, 4, 16, 17
BTN_A, BTN_B, BTN_X, BTN_Y, BTN_TL = 0x130, 0x131, 0x133, 0x134, 0x136
BTN_SELECT, BTN_START, BTN_MODE, BTN_THUMBL = 0x13A, 0x13B, 0x13C, 0x13D
AXES = (ABS_X, ABS_Y, ABS_RX, ABS_RY, ABS_HAT0X, ABS_HAT0Y)
STICKS = {ABS_X, ABS_Y, ABS_RX, ABS_RY}
BUTTONS = {
    BTN_A: "close",
    BTN_B: "open",
    BTN_X: "success",
    BTN_Y: "failure",
    BTN_START: "start",
    BTN_SELECT: "discard",
    BTN_MODE: "stop",
    BTN_THUMBL: "rearm",
}
INPUTS = Path("/dev/input")


def reading(axes: Mapping[int, float], keys: frozenset[int]) -> Reading:
    """Axes in -1..1, positive right and down as the kernel counts; the person stands behind the arm."""
    x, y, rx, ry, hat_x, hat_y = (axes.get(code, 0.0) for code in AXES)
    push6 = -np.array([y, x, ry, -hat_x, hat_y, rx])
    buttons = frozenset(name for code, name in BUTTONS.items() if code in keys)
    return Reading(held=BTN_TL in keys, push6=push6, buttons=buttons)


def centred(value: int, low: int, high: int) -> float:
    """A raw axis value onto -1..1."""
    return 2.0 * (value - low) / (high - low) - 1.0 if high > low else 0.0


class Gamepad:
    """The first one found; its present state is asked of the kernel, so no event can be missed."""

    def __init__(self) -> None:
        self._device = _find(_evdev())
        held = dict(self._device.capabilities(absinfo=True))
        self._axes = [code for code, _ in held.get(_evdev().ecodes.EV_ABS, []) if code in AXES]

    def read(self) -> Reading:
        axes = {}
        for code in self._axes:
            told = self._device.absinfo(code)
            axes[code] = centred(told.value, told.min, told.max)
        return reading(axes, frozenset(self._device.active_keys()))

    def close(self) -> None:
        self._device.close()


def _find(evdev: Any) -> Any:
    codes = evdev.ecodes
    for path in evdev.list_devices():
        device = evdev.InputDevice(path)
        able = device.capabilities(absinfo=False)
        if set(able.get(codes.EV_ABS, [])) >= STICKS and BTN_A in able.get(codes.EV_KEY, []):
            return device
        device.close()
    if any(not os.access(path, os.R_OK | os.W_OK) for path in INPUTS.glob("event*")):
        raise ComoError(
            "no gamepad among the inputs this user may read, others are closed to it; allow them with "
            "`sudo usermod -aG input $USER`, log in again, and plug the gamepad in"
        )
    raise ComoError(
        "no gamepad with two sticks found; plug it in, and see whether `ls /dev/input/by-id` has it"
    )


def _evdev() -> Any:
    try:
        import evdev
    except ImportError as error:
        raise ComoError("the gamepad needs evdev; pip install 'como_ros[devices]'") from error
    return evdev

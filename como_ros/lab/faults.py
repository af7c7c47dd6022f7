"""What can go wrong in the lab, by name, switched on and off at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from franka_sim.comm_constraints import COMMUNICATION_CONSTRAINTS_VIOLATION_INDEX
from franka_sim.limits.tables import ERROR_NAMES

from como_ros.errors import ComoError
from como_ros.lab.camera_faults import CAMERA_FAULTS, set_camera_fault
from como_ros.lab.contacts import REFLEX_NAMES
from policies.spaces import CAMERAS

if TYPE_CHECKING:
    from como_ros.lab.fci import Lab

NONE = "none"
COMMUNICATION = {COMMUNICATION_CONSTRAINTS_VIOLATION_INDEX: "communication_constraints_violation"}
REFLEXES = {name: index for index, name in (ERROR_NAMES | REFLEX_NAMES | COMMUNICATION).items()}


@dataclass(frozen=True)
class Order:
    """A fault to switch: what the control socket was asked for."""

    name: str
    on: bool = True
    value: float | None = None
    kind: str | None = None
    """Which reflex."""
    camera: str | None = None
    """Which camera; none for all."""

    @classmethod
    def parse(cls, text: str) -> Order:
        """NAME or NAME=VALUE, for one that a lab starts with."""
        name, _, value = text.partition("=")
        if name not in FAULTS or not FAULTS[name].lasts:
            lasting = ", ".join(name for name, fault in FAULTS.items() if fault.lasts)
            raise ComoError(f"no lab can start with the fault {name!r}; it can with: {lasting}")
        try:
            return cls(name, value=float(value) if value else None)
        except ValueError:
            raise ComoError(f"the value of {text!r} is no number; for instance slow_physics=0.5") from None

    def given_value(self, low: float, high: float, usual: float, unit: str) -> float:
        value = usual if self.value is None else self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value <= high:
            raise ComoError(f"{self.name} needs a value, {unit} above {low:g} up to {high:g}, got {value!r}")
        return float(value)


@dataclass(frozen=True)
class Fault:
    """One of the faults: a sentence, how it is switched, what else an order may say, whether it lasts."""

    about: str
    switch: Callable[[Lab, Order], float]
    """Returns how strong it now is."""
    takes: tuple[str, ...] = ()
    lasts: bool = True


def _lose_packets(lab: Lab, order: Order) -> float:
    amount = order.given_value(0, 999, 0.2, "a share of the commands below 1 or the length of a run")
    if amount >= 1 and not amount.is_integer():
        raise ComoError(f"fci_packet_loss: a run of {amount:g} commands is no whole number")
    lab.server.loss.amount = amount if order.on else 0.0
    return amount


def _reflex(lab: Lab, order: Order) -> float:
    kind = order.kind or "controller_torque_discontinuity"
    if kind not in REFLEXES:
        raise ComoError(f"no reflex {kind!r}; known: {', '.join(sorted(REFLEXES))}")
    if order.on:
        lab.server._abort_with_error(REFLEXES[kind], f"fault: {kind}")
    return 1.0


def _stop(lab: Lab, order: Order) -> float:
    lab.server.user_stop(order.on)
    return 1.0


def _jam(lab: Lab, order: Order) -> float:
    lab.arm.fingers.jam(order.on)
    return 1.0


def _slow_down(lab: Lab, order: Order) -> float:
    factor = order.given_value(0.01, 1, 0.5, "a share of real time")
    lab.arm.pace = factor if order.on else 1.0
    return factor


def _camera(lab: Lab, order: Order) -> float:
    set_camera_fault(lab.arm.shared, order.name, order.on, order.value, order.camera)
    return 1.0 if order.value is None else float(order.value)


_CAMERA_ABOUT = {
    "camera_freeze": "the stream stalls: the device is there, but no frame leaves it",
    "camera_drop": "a share of the frames is lost on the way",
    "camera_delay": "frames are delivered so many seconds late",
    "camera_unplug": "the device is gone from the bus",
}

FAULTS = {
    "fci_packet_loss": Fault(
        "commands to the arm are lost: value is their share, or from 1 on the length of a run every second",
        _lose_packets,
        ("value",),
    ),
    "reflex": Fault("the arm stops by the reflex named in kind, once", _reflex, ("kind",), lasts=False),
    "user_stop": Fault("the user stop is pressed: motion ends, nothing moves or recovers", _stop),
    "gripper_jam": Fault("the fingers stay where they are and hand commands end unsuccessful", _jam),
    "slow_physics": Fault("the world runs at value times real time", _slow_down, ("value",)),
    **{name: Fault(_CAMERA_ABOUT[name], _camera, ("value", "camera")) for name in CAMERA_FAULTS},
}


class Faults:
    """The faults of one lab: `set` one, `clear` all, see which are `on`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.on: dict[str, float] = {}
        """Name, with the camera where it is a camera's, and value."""

    def set(self, order: Order) -> dict[str, Any]:
        if order.name == NONE:
            self.clear()
        else:
            self._switch(order)
        return {"fault": order.name, "on": order.on, "faults": dict(self.on)}

    def _switch(self, order: Order) -> None:
        if order.name not in FAULTS:
            raise ComoError(f"no fault {order.name!r}; known: {', '.join([*FAULTS, NONE])}")
        fault = FAULTS[order.name]
        for extra in ("value", "kind", "camera"):
            if getattr(order, extra) is not None and extra not in fault.takes:
                raise ComoError(f"{order.name} takes no {extra}, got {getattr(order, extra)!r}")
        value = fault.switch(self._lab, order)
        self._note(order, value, fault.lasts)

    def _note(self, order: Order, value: float, lasts: bool) -> None:
        cameras = CAMERAS if order.name in CAMERA_FAULTS else ()
        keys = [f"{order.name}:{camera}" for camera in cameras if order.camera in (None, camera)]
        keys = keys or [order.name]
        others = {key: strength for key, strength in self.on.items() if key not in keys}
        self.on = others | (dict.fromkeys(keys, value) if order.on and lasts else {})

    def clear(self) -> None:
        for key in list(self.on):
            name, _, camera = key.partition(":")
            self._switch(Order(name, on=False, camera=camera or None))

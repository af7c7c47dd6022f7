"""What every task of the lab is made of: things in a scene, seeded layouts, a success test, two operators.

A task says which objects stand on the table (`objects_xml`, bodies named in `things`), draws a `Layout` from
a seed and a range, judges, and knows how a robot's operator (`plan`) and a person's hand (`hand_plan`) do it.
Seeds below 10000 are for demonstrations and tuning, seeds from 10000 on for evaluation only. The `training`
range is what demonstrations are drawn from; `held_out` is wider in places, colours, light and surroundings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np

from como_ros.errors import ComoError
from como_ros.lab import scene
from como_ros.lab.operator import Plan
from como_ros.lab.surroundings import PLAIN, Surroundings
from policies import spaces

RANGES = ("training", "held_out")
LARGEST_SEED = 2**53
"""A world's seed travels as a float beside its poses."""
Moved = tuple[Mapping[str, np.ndarray], Mapping[str, float]]
"""(places, slides), as in a layout."""
Truth = Mapping[str, list[float]]
"""Where each thing is, (x, y, z, qx, qy, qz, qw) in the base frame, by body name."""


@dataclass(frozen=True)
class Layout:
    """One initial state: where things are, how all looks, the arm's starting joints, the words used."""

    seed: int
    spread: str
    instruction: str
    start_q: np.ndarray
    places: Mapping[str, np.ndarray]
    """Body name to pose7."""
    slides: Mapping[str, float] = field(default_factory=dict)
    """Joint name to metres."""
    colours: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Geom name to rgb."""
    surroundings: Surroundings = PLAIN


@dataclass(frozen=True)
class HandPlan:
    """How a person does it: the pinch's path, and where things are while it is followed."""

    plan: Plan
    things_at: Callable[[float, np.ndarray], Moved]
    """What has moved so far, from the time and the hand's pose7."""
    contact_s: tuple[float, float]
    """When the hand takes hold and lets go."""


class Task(ABC):
    """One thing to do; its methods keep no state."""

    name: str
    time_limit_s: float = 20.0
    instructions: tuple[str, ...]
    objects_xml: str
    """MJCF bodies of the things, for <worldbody>."""
    things: tuple[str, ...]
    """Bodies worth knowing the place of; the first is the one that is moved."""

    @abstractmethod
    def sample(self, seed: int, spread: str = "training") -> Layout:
        """The initial state of a seed."""

    def require_seeds(self, first: int, count: int, spread: str) -> None:
        """Refuse a wrong seed or range of a run before its workers start."""
        for end in (first, first + count - 1):
            self.sample(end, spread)

    @abstractmethod
    def success(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, str]:
        """(done, why not)."""

    @abstractmethod
    def plan(self, truth: Truth, start_xyz: np.ndarray, seed: int) -> Plan:
        """The scripted operator: from the true places of things to a timed motion of the gripper."""

    @abstractmethod
    def hand_plan(self, layout: Layout, seed: int) -> HandPlan:
        """A person's hand doing the same in its own way."""

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, layout: Layout) -> None:
        """Put the things where the layout says, leaving the arm alone."""
        for name, pose7 in layout.places.items():
            scene.set_body(model, data, name, pose7)
        for name, metres in layout.slides.items():
            joint = model.joint(name)
            data.qpos[joint.qposadr[0]], data.qvel[joint.dofadr[0]] = metres, 0.0
        self.paint(model, layout)
        layout.surroundings.furnish(model, data)
        mujoco.mj_forward(model, data)

    def paint(self, model: mujoco.MjModel, layout: Layout) -> None:
        """Colours and light of a layout; the camera process does the same from seed and range alone."""
        for name, rgb in layout.colours.items():
            model.geom_rgba[model.geom(name).id, :3] = rgb
        layout.surroundings.paint(model)

    def truth(self, data: mujoco.MjData) -> dict[str, list[float]]:
        """Where the things are now."""
        bodies = {name: data.body(name) for name in self.things}
        return {name: [*body.xpos, *body.xquat[[1, 2, 3, 0]]] for name, body in bodies.items()}


def seeded(seed: int, spread: str, stream: int) -> np.random.Generator:
    """The generator of one task's layouts; the ranges share no draws."""
    if spread not in RANGES:
        raise ComoError(f"no range {spread!r}; known ranges: {', '.join(RANGES)}")
    if not 0 <= seed <= LARGEST_SEED:
        raise ComoError(f"seed {seed} is not between 0 and {LARGEST_SEED}")
    return np.random.default_rng([seed, stream] if spread == "training" else [seed, stream, 1])


def upright(xy: np.ndarray, z: float, yaw: float = 0.0) -> np.ndarray:
    """A pose7 turned about the vertical only."""
    return np.array([xy[0], xy[1], z, 0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)])


def yaw_of(pose7: list[float] | np.ndarray) -> float:
    turn = spaces.matrix_from_quaternion(np.asarray(pose7[3:7], float))
    return float(np.arctan2(turn[1, 0], turn[0, 0]))


def open_hand_width(data: mujoco.MjData) -> float:
    return sum(float(data.joint(name).qpos[0]) for name in scene.FINGER_JOINTS)

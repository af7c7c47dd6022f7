"""A small cabinet with a drawer: its boards, where it may stand, and the line its drawer moves on.

The cabinet opens away from the arm, towards the `front` camera. It is a mocap body, so that a layout can put
it anywhere; the drawer is its child on a slide joint with friction and damping, moved by contacts alone.
The cabinet's frame lies on the table below the middle of its front, x pointing out of it; the drawer's frame
is the same one, moved out along x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from como_ros.lab import scene
from como_ros.lab.surroundings import Surroundings, mild, wild
from como_ros.lab.tasks.base import Layout, Task, Truth, seeded, upright, yaw_of

TRAVEL_M = 0.16
HANDLE_X_M, HANDLE_Z_M, BAR_HALF_M = 0.048, 0.114, 0.009
"""Middle of the upright bar that a hand takes: out of the drawer's front, above the table; its half width."""
GRASP_Z_M = 0.113
"""Of the gripper's TCP: its pads press from 2 to 18 mm above it, its palm is 37 mm above it."""

CABINET_XY = np.array([0.44, -0.04])
BODY_RGB, FRONT_RGB = np.array([0.20, 0.36, 0.38]), np.array([0.84, 0.78, 0.64])
INSIDE_RGB, HANDLE_RGB = np.array([0.62, 0.50, 0.36]), np.array([0.13, 0.13, 0.14])
UP = np.array([0.0, 0.0, 1.0])


def _box(name: str, half: str, at: str, rgb: np.ndarray, mass_kg: float = 0.3) -> str:
    """A board; the robot runs into it, other boards do not."""
    colour = " ".join(f"{value:g}" for value in rgb)
    shape = f'type="box" size="{half}" pos="{at}" mass="{mass_kg}" contype="0"'
    return f'<geom name="{name}" {shape} rgba="{colour} 1"/>'


_SHELL = (
    _box("cabinet_top", "0.092 0.130 0.004", "-0.092 0 0.1515", BODY_RGB),
    _box("cabinet_bottom", "0.092 0.130 0.006", "-0.092 0 0.006", BODY_RGB),
    _box("cabinet_left", "0.092 0.005 0.068", "-0.092 0.125 0.0798", BODY_RGB),
    _box("cabinet_right", "0.092 0.005 0.068", "-0.092 -0.125 0.0798", BODY_RGB),
    _box("cabinet_back", "0.004 0.120 0.068", "-0.180 0 0.0798", BODY_RGB),
    _box("cabinet_shelf", "0.088 0.120 0.003", "-0.090 0 0.0790", BODY_RGB),
)
_LOWER_FRONT = _box("cabinet_front", "0.006 0.117 0.0295", "-0.004 0 0.0430", FRONT_RGB)
_UPPER_FRONT = _box("drawer_front", "0.006 0.117 0.0300", "-0.004 0 0.1155", FRONT_RGB, 0.2)
_TRAY = (
    _box("drawer_floor", "0.080 0.105 0.003", "-0.086 0 0.0900", INSIDE_RGB, 0.1),
    _box("drawer_left", "0.080 0.004 0.023", "-0.086 0.105 0.1130", INSIDE_RGB, 0.05),
    _box("drawer_right", "0.080 0.004 0.023", "-0.086 -0.105 0.1130", INSIDE_RGB, 0.05),
    _box("drawer_back", "0.004 0.105 0.023", "-0.166 0 0.1130", INSIDE_RGB, 0.05),
)
_HANDLE = (
    _box("handle_upper", "0.020 0.007 0.005", "0.021 0 0.1280", HANDLE_RGB, 0.01),
    _box("handle_lower", "0.020 0.007 0.005", "0.021 0 0.1000", HANDLE_RGB, 0.01),
    _box("handle_bar", "0.009 0.009 0.020", "0.048 0 0.1140", HANDLE_RGB, 0.03),
)
_LOWER_HANDLE = _box("cabinet_handle", "0.006 0.009 0.020", "0.008 0 0.0430", HANDLE_RGB)


@dataclass(frozen=True)
class Slide:
    """The drawer's line: where the bar's middle is for an opening."""

    foot: np.ndarray
    """The cabinet's origin."""
    yaw: float

    @property
    def axis(self) -> np.ndarray:
        return np.array([np.cos(self.yaw), np.sin(self.yaw), 0.0])

    def bar(self, opening_m: float, ahead_m: float = 0.0) -> np.ndarray:
        """The bar's middle, or a place straight in front of it."""
        return self.foot + (HANDLE_X_M + opening_m + ahead_m) * self.axis + HANDLE_Z_M * UP

    def gripper(self, opening_m: float, ahead_m: float = 0.0) -> np.ndarray:
        """Where the TCP is when the pads are level with the bar."""
        return self.bar(opening_m, ahead_m) + (GRASP_Z_M - HANDLE_Z_M) * UP


def slide_of(cabinet_pose7: np.ndarray | list[float]) -> Slide:
    return Slide(np.array(cabinet_pose7[:3], float), yaw_of(cabinet_pose7))


def seen(truth: Truth) -> tuple[Slide, float]:
    """The drawer's line and how far it is open."""
    slide = slide_of(truth["cabinet"])
    return slide, float((np.array(truth["drawer"][:3]) - slide.foot) @ slide.axis)


class CabinetTask(Task):
    """What opening and closing share: the cabinet and where it may stand."""

    things = ("drawer", "cabinet")
    objects_xml = f"""
    <body name="cabinet" mocap="true">
      {"".join((*_SHELL, _LOWER_FRONT, _LOWER_HANDLE))}
      <body name="drawer">
        <joint name="drawer_slide" type="slide" axis="1 0 0" range="0 {TRAVEL_M}"
               damping="6" frictionloss="2.5"/>
        {"".join((*_TRAY, _UPPER_FRONT, *_HANDLE))}
      </body>
    </body>
    """
    stream: int
    """Of the layouts' random numbers."""
    openings_m: tuple[float, float]
    """How far the drawer may be open at first."""

    def sample(self, seed: int, spread: str = "training") -> Layout:
        rng = seeded(seed, spread, self.stream)
        reach, turn, tint = (0.025, 8, 0.04) if spread == "training" else (0.045, 15, 0.14)
        xy = CABINET_XY + rng.uniform(-reach, reach, 2)
        cabinet = upright(xy, 0.0, float(rng.uniform(-1, 1) * np.deg2rad(turn)))
        opening = float(rng.uniform(*self.openings_m))
        start_q = scene.HOME_Q + rng.uniform(-1, 1, 7) * 0.03
        instruction = str(rng.choice(self.instructions))
        colours = _colours(rng, tint)
        light = float(rng.uniform(0.9, 1.1))
        around = replace(mild(rng), light=light) if spread == "training" else _elsewhere(rng, cabinet)
        return Layout(
            seed=seed,
            spread=spread,
            instruction=instruction,
            start_q=start_q,
            places={"cabinet": cabinet},
            slides={"drawer_slide": opening},
            colours=colours,
            surroundings=around,
        )


def _elsewhere(rng: np.random.Generator, cabinet: np.ndarray) -> Surroundings:
    slide = slide_of(cabinet)
    body, way = slide.foot - 0.09 * slide.axis, slide.foot + 0.14 * slide.axis
    return wild(rng, ((body[0], body[1], 0.17), (way[0], way[1], 0.16)))


def _colours(rng: np.random.Generator, tint: float) -> dict[str, np.ndarray]:
    body, front = (np.clip(rgb + rng.uniform(-tint, tint, 3), 0, 1) for rgb in (BODY_RGB, FRONT_RGB))
    shell = {f"cabinet_{part}": body for part in ("top", "bottom", "left", "right", "back", "shelf")}
    return shell | {"cabinet_front": front, "drawer_front": front}

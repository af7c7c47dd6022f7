"""The lab without robot, with a person's hand and forearm that can be put anywhere.

The hand is drawn, not simulated: for each picture its capsules are placed from the pinch's pose and aperture.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

import mujoco
import numpy as np

from como_ros.lab import scene
from como_ros.lab.render import Renderer
from como_ros.lab.surroundings import wild
from como_ros.lab.tasks import Task
from policies import spaces

FINGER_X = (0.028, 0.006, -0.014, -0.032)
PARTS = (
    *(
        f"{finger}_{part}"
        for finger in ("thumb", "index", "middle", "ring", "little")
        for part in ("low", "high")
    ),
    *(f"palm_{i}" for i in range(5)),
    "wrist",
    "sleeve",
)
SKINS = np.array(
    [[0.96, 0.80, 0.69], [0.87, 0.67, 0.53], [0.71, 0.50, 0.36], [0.47, 0.31, 0.21], [0.31, 0.20, 0.14]]
)
ELSEWHERE, PATTERNED = 0.25, 0.4
"""Share of clips filmed in another room than the lab's own, and of those the share with patterns in it."""
SWAY_RAD_S = np.array([1.1, 1.7, 0.8])
TOWARDS_ELBOW = np.array([-0.42, 0.0, 0.52])
Segment = tuple[np.ndarray, np.ndarray, float]
"""Start, end and radius of a capsule."""


class HandScene:
    """One world to draw clips in."""

    def __init__(self, task: Task, size_px: int) -> None:
        self.task = task
        self.model = scene.compiled(_hand_xml(task.objects_xml))
        self.data = mujoco.MjData(self.model)
        self._renderer = Renderer(self.model, (size_px, size_px))
        self._capsules = [self.model.geom(f"hand_{part}").id for part in PARTS]
        self._camera = self.model.camera("front").id
        self._camera_pos = self.model.cam_pos[self._camera].copy()

    def dress(self, seed: int, spread: str = "training") -> None:
        """The layout of a seed, and what the seed makes of skin, sleeve, room, light and camera."""
        rng = np.random.default_rng([seed, 29])
        mujoco.mj_resetData(self.model, self.data)
        self.task.place(self.model, self.data, self.task.sample(seed, spread))
        skin = SKINS[rng.integers(len(SKINS))] * rng.uniform(0.92, 1.06)
        self.model.geom_rgba[self._capsules, :3] = np.clip(skin, 0, 1)
        self.model.geom_rgba[self._capsules[-1], :3] = rng.uniform(0.1, 0.9, 3)
        self._decorate(seed, rng)
        self._eye = self._camera_pos + rng.uniform(-0.05, 0.05, 3)
        self._phase = rng.uniform(0, 2 * np.pi, 3)

    def _decorate(self, seed: int, rng: np.random.Generator) -> None:
        """The lab's table before walls of any colour, or another room altogether."""
        table = self.model.geom_rgba[self.model.geom("table").id, :3]
        table[:] = np.clip(table * rng.uniform(0.75, 1.2) + rng.uniform(-0.06, 0.06, 3), 0.05, 1)
        for name in ("floor", "backdrop"):
            rgb = rng.uniform(0.05, 0.7) + rng.uniform(-0.15, 0.15, 3)
            self.model.geom_rgba[self.model.geom(name).id, :3] = np.clip(rgb, 0.03, 1)
        self.model.light_diffuse[0] = 0.55 * rng.uniform(0.7, 1.25)
        room = np.random.default_rng([seed, 59])
        if room.random() < ELSEWHERE:
            wild(room, patterned=room.random() < PATTERNED).paint(self.model)

    def move_things(self, places: Mapping[str, np.ndarray], slides: Mapping[str, float]) -> None:
        for name, place in places.items():
            scene.set_body(self.model, self.data, name, place)
        for name, metres in slides.items():
            self.data.qpos[self.model.joint(name).qposadr[0]] = metres

    def draw(
        self, pose7: np.ndarray, aperture_m: float, elbow: np.ndarray, time_s: float, sway_m: float
    ) -> np.ndarray:
        """What the camera in the filming person's other hand sees."""
        sway = np.sin(self._phase + time_s * SWAY_RAD_S)
        self.model.cam_pos[self._camera] = self._eye + sway_m * sway
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        segments = hand_segments(pose7, aperture_m, elbow)
        for geom, segment in zip(self._capsules, segments, strict=True):
            self._place_capsule(geom, *segment)
        return self._renderer.colour(self.data, "front")

    def _place_capsule(self, geom: int, start: np.ndarray, end: np.ndarray, radius: float) -> None:
        axis = end - start
        length = np.linalg.norm(axis)
        z = axis / length
        x = np.cross([0, 1, 0] if abs(z[1]) < 0.9 else [1, 0, 0], z)
        x /= np.linalg.norm(x)
        self.data.geom_xpos[geom] = (start + end) / 2
        self.data.geom_xmat[geom] = np.stack([x, np.cross(z, x), z], 1).reshape(-1)
        self.model.geom_size[geom] = [radius, length / 2, 0]

    def close(self) -> None:
        self._renderer.close()


def _hand_xml(objects_xml: str) -> str:
    world = scene.bare_world(objects_xml)
    body = scene.find(world, "worldbody")
    body.remove(scene.find(body, "geom[@name='pedestal']"))
    world.remove(scene.find(world, "contact"))
    unfelt = {"type": "capsule", "size": "0.01 0.02", "group": "1", "contype": "0", "conaffinity": "0"}
    for part in PARTS:
        ET.SubElement(body, "geom", {"name": f"hand_{part}", **unfelt})
    return ET.tostring(world, encoding="unicode")


def hand_segments(pose7: np.ndarray, aperture_m: float, elbow: np.ndarray) -> list[Segment]:
    """Capsules of the hand in the world, in the order of `PARTS`.

    The pinch closes along y at the pose's origin: thumb from below y, fingers from above; z points to what is
    grasped.
    """
    rotation, origin = spaces.matrix_from_quaternion(pose7[3:7]), pose7[:3]
    local = [*_digits(aperture_m / 2), *_palm()]
    segments = [(origin + rotation @ start, origin + rotation @ end, radius) for start, end, radius in local]
    wrist = segments[-1][1]
    cuff = wrist + 0.02 * (elbow - wrist) / np.linalg.norm(elbow - wrist)
    return [*segments, (cuff, elbow, 0.037)]


def _digits(half_m: float) -> Iterator[Segment]:
    """Thumb, then index to little finger, each in two parts."""
    yield from _bones(
        (0.020, -0.030, -0.070), (0.022, -half_m - 0.030, -0.040), (0.012, -half_m - 0.009, 0.002), 0.0115
    )
    for i, x in enumerate(FINGER_X):
        aside = 0.0 if i < 2 else 0.018 * (i - 1)
        middle = (x * 0.95, half_m + 0.040 + aside, -0.050)
        tip = (x * 0.6, half_m + 0.009 + aside, 0.002 - 0.6 * aside)
        yield from _bones((x, 0.022, -0.088), middle, tip, 0.0102 - 0.0006 * i)


def _bones(knuckle: tuple, middle: tuple, tip: tuple, radius: float) -> Iterator[Segment]:
    yield np.array(knuckle), np.array(middle), radius
    yield np.array(middle), np.array(tip), radius * 0.9


def _palm() -> Iterator[Segment]:
    """Ball of the thumb, the back of the hand as four bones side by side, the wrist."""
    yield np.array((0.010, -0.020, -0.130)), np.array((0.020, -0.030, -0.075)), 0.0160
    for x in FINGER_X:
        yield np.array((0.55 * x - 0.002, -0.006, -0.140)), np.array((x, 0.019, -0.090)), 0.0140
    yield np.array((0.0, -0.008, -0.140)), np.array((-0.008, -0.004, -0.190)), 0.0265

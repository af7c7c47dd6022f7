"""How the world around the things looks in one layout: table, wall, floor, light, and what stands about.

`mild` is what a lab looks like from one day to the next, `wild` a lab elsewhere. Both draw from the seed's
generator, so that the camera process, which knows only seed and range, paints the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from como_ros.lab.textures import MATERIALS

LAMP_DIFFUSE = 0.55
RGB = tuple[float, float, float]
Circle = tuple[float, float, float]
"""x, y and radius on the table in the base frame, metres."""

DISTRACTORS = {"cup": 0.045, "ball": 0.04, "book": 0.12, "bottle": 0.035}
"""Radius that each takes up on the table, m."""
PARKED_Z_M = -3.0
TABLE_LOW, TABLE_HIGH = (0.24, -0.50), (0.86, 0.50)
CAMERA_XY = (1.12, 0.07)
ARM_REACHES: tuple[Circle, ...] = ((0.1, 0.0, 0.22), (0.3, 0.0, 0.17), (0.46, 0.0, 0.12))
"""Where the arm itself stands and hangs, on its way to anywhere."""
PLACES_TRIED = 60


@dataclass(frozen=True)
class Surface:
    """Colour, and the pattern it is multiplied into."""

    rgb: RGB
    material: str = ""
    """One of `textures.MATERIALS`; empty for none."""


@dataclass(frozen=True)
class Light:
    """The lamp above the table and the light that comes from everywhere."""

    lamp_rgb: RGB = (1.0, 1.0, 1.0)
    lamp_xyz: tuple[float, float, float] = (0.4, 0.3, 1.8)
    lamp_towards: tuple[float, float, float] = (0.05, -0.15, -1.0)
    everywhere: float = 0.35


@dataclass(frozen=True)
class Distractor:
    """One everyday thing that has nothing to do with the task."""

    name: str
    xy: tuple[float, float]
    yaw_rad: float
    rgb: RGB


@dataclass(frozen=True)
class Surroundings:
    """All that is not the task; the defaults are the lab's own table on an ordinary day."""

    table_rgb: RGB = (0.72, 0.62, 0.50)
    light: float = 1.0
    """Of the lamp, 1 is the ordinary one."""
    table_material: str = ""
    floor: Surface = Surface((0.33, 0.34, 0.36))
    backdrop: Surface = Surface((0.62, 0.65, 0.68))
    lamp: Light = Light()
    distractors: tuple[Distractor, ...] = ()

    def paint(self, model: mujoco.MjModel) -> None:
        """Colours, patterns and light; whatever another layout painted is painted over."""
        _cover(model, "table", Surface(self.table_rgb, self.table_material))
        _cover(model, "floor", self.floor)
        _cover(model, "backdrop", self.backdrop)
        _cover(model, "wall", self.backdrop)
        model.geom_rgba[model.geom("wall").id, 3] = bool(self.backdrop.material)
        lamp = model.light("lamp").id
        model.light_diffuse[lamp] = LAMP_DIFFUSE * self.light * np.array(self.lamp.lamp_rgb)
        model.light_pos[lamp] = self.lamp.lamp_xyz
        model.light_dir[lamp] = np.array(self.lamp.lamp_towards) / np.linalg.norm(self.lamp.lamp_towards)
        model.vis.headlight.ambient[:] = model.vis.headlight.diffuse[:] = self.lamp.everywhere
        for thing in self.distractors:
            for geom in _geoms(model, thing.name):
                model.geom_rgba[geom, :3] = thing.rgb

    def furnish(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Put what stands about where it stands, and the rest out of sight below the floor."""
        stands = {thing.name: thing for thing in self.distractors}
        for name in DISTRACTORS:
            mocap = int(model.body(name).mocapid[0])
            thing = stands.get(name)
            data.mocap_pos[mocap] = [*thing.xy, 0.0] if thing else [0.0, 0.0, PARKED_Z_M]
            half = thing.yaw_rad / 2 if thing else 0.0
            data.mocap_quat[mocap] = [np.cos(half), 0.0, 0.0, np.sin(half)]


PLAIN = Surroundings()


def mild(rng: np.random.Generator) -> Surroundings:
    """What a lab looks like from one day to the next."""
    table = np.clip(np.array(PLAIN.table_rgb) * rng.uniform(0.92, 1.08, 3), 0, 1)
    return Surroundings(table_rgb=_rgb(table))


def wild(rng: np.random.Generator, keep_clear: Sequence[Circle] = (), patterned: bool = True) -> Surroundings:
    """A lab elsewhere: other furniture, other light, and things standing about.

    `keep_clear` are circles (x, y, radius_m) on the table where the task happens; nothing stands in one, nor
    between one and the front camera.
    """
    return Surroundings(
        table_rgb=_rgb(_colour(rng, 0.35, 0.9)),
        table_material=_material(rng, 0.7 * patterned),
        floor=Surface(_rgb(_colour(rng, 0.15, 0.7)), _material(rng, 0.6 * patterned)),
        backdrop=Surface(_rgb(_colour(rng, 0.3, 0.9)), _material(rng, 0.6 * patterned)),
        light=float(rng.uniform(0.7, 1.3)),
        lamp=_lamp(rng),
        distractors=_scatter(rng, keep_clear),
    )


def _lamp(rng: np.random.Generator) -> Light:
    where = np.array(PLAIN.lamp.lamp_xyz) + rng.uniform((-0.8, -0.9, -0.4), (0.6, 0.6, 0.4))
    towards = np.array([0.5, 0.0, 0.0]) + rng.uniform(-0.15, 0.15, 3) - where
    warm = rng.uniform(-0.12, 0.12)
    return Light(
        _rgb(np.array([1 + warm, 1.0, 1 - warm])),
        tuple(where),
        tuple(towards),
        float(rng.uniform(0.25, 0.45)),
    )


def _scatter(rng: np.random.Generator, keep_clear: Sequence[Circle]) -> tuple[Distractor, ...]:
    """Two or three things, each where there is room; one that finds none stays away."""
    taken, things = [*keep_clear, *ARM_REACHES], []
    for name in rng.permutation(list(DISTRACTORS))[: rng.integers(2, 4)]:
        radius = DISTRACTORS[name]
        tried = rng.uniform(TABLE_LOW, TABLE_HIGH, (PLACES_TRIED, 2))
        yaw, rgb = float(rng.uniform(-np.pi, np.pi)), _rgb(_colour(rng, 0.15, 0.95))
        free = (xy for xy in tried if _fits(xy, radius, taken) and not _hides(xy, radius, keep_clear))
        if (xy := next(free, None)) is not None:
            things.append(Distractor(str(name), (float(xy[0]), float(xy[1])), yaw, rgb))
            taken.append((*things[-1].xy, radius))
    return tuple(things)


def _fits(xy: np.ndarray, radius: float, taken: Sequence[Circle]) -> bool:
    return all(np.hypot(*(xy - circle[:2])) > radius + circle[2] + 0.01 for circle in taken)


def _hides(xy: np.ndarray, radius: float, keep_clear: Sequence[Circle]) -> bool:
    """Whether it stands between the front camera and a place that must be seen."""
    eye = np.array(CAMERA_XY)
    for circle in keep_clear:
        ray = circle[:2] - eye
        along = np.clip((xy - eye) @ ray / (ray @ ray), 0, 1)
        if np.hypot(*(eye + along * ray - xy)) < radius + circle[2] * along:
            return True
    return False


def _colour(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Mostly dull: a grey with some colour in it."""
    return np.clip(rng.uniform(low, high) + rng.uniform(-0.2, 0.2, 3), 0.05, 1.0)


def _material(rng: np.random.Generator, share: float) -> str:
    chosen, plain = str(rng.choice(MATERIALS)), rng.random() >= share
    return "" if plain else chosen


def _rgb(values: np.ndarray) -> RGB:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def _cover(model: mujoco.MjModel, name: str, surface: Surface) -> None:
    geom = model.geom(name).id
    model.geom_rgba[geom, :3] = surface.rgb
    model.geom_matid[geom] = model.material(surface.material).id if surface.material else -1


def _geoms(model: mujoco.MjModel, body: str) -> list[int]:
    """What of a thing has its colour: all but the geoms named `..._trim`."""
    first, count = int(model.body(body).geomadr[0]), int(model.body(body).geomnum[0])
    return [geom for geom in range(first, first + count) if not model.geom(geom).name.endswith("_trim")]

"""How the world around the things looks in one layout: table, wall, lamp."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

LAMP_DIFFUSE = 0.55


@dataclass(frozen=True)
class Surroundings:
    """Colours and light of what is not the task."""

    table_rgb: tuple[float, float, float] = (0.72, 0.62, 0.50)
    light: float = 1.0
    """Of the lamp, 1 is the ordinary one."""

    def paint(self, model: mujoco.MjModel) -> None:
        model.geom_rgba[model.geom("table").id, :3] = self.table_rgb
        model.light_diffuse[model.light("lamp").id] = LAMP_DIFFUSE * self.light

    def furnish(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Put what stands about where it stands."""


PLAIN = Surroundings()


def mild(rng: np.random.Generator) -> Surroundings:
    """What a lab looks like from one day to the next."""
    table = np.clip(np.array(PLAIN.table_rgb) * rng.uniform(0.92, 1.08, 3), 0, 1)
    return Surroundings(table_rgb=tuple(table))

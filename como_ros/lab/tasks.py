"""What the lab asks of the arm: seeded initial states, instructions, a success test with a reason.

Seeds below 10000 are for demonstrations and tuning, seeds from 10000 on for evaluation only. Both are drawn
from the same declared ranges: an evaluation seed is new but not out of distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from como_ros.errors import ComoError
from como_ros.lab import scene


@dataclass(frozen=True)
class Layout:
    """One initial state: object poses, paint, the arm's starting joints, the words used."""

    seed: int
    cube_xy: tuple[float, float]
    cube_yaw: float
    tray_xy: tuple[float, float]
    start_q: tuple[float, ...]
    instruction: str
    table_rgb: tuple[float, float, float]
    cube_rgb: tuple[float, float, float]
    light: float


@dataclass(frozen=True)
class PickPlace:
    """Put the cube into the tray."""

    name: str = "pick_place"
    time_limit_s: float = 20.0
    cube_centre: tuple[float, float] = (0.50, -0.05)
    cube_half_range_m: float = 0.08
    cube_yaw_rad: float = np.deg2rad(20)
    tray_centre: tuple[float, float] = (0.50, 0.28)
    tray_half_range_m: float = 0.03
    start_noise_rad: float = 0.03
    instructions: tuple[str, ...] = (
        "put the red cube in the tray",
        "pick up the cube and place it in the blue tray",
        "move the red block into the tray",
        "place the cube in the tray",
        "take the red cube and drop it into the blue tray",
    )

    def sample(self, seed: int) -> Layout:
        rng = np.random.default_rng([seed, 71])
        half = self.cube_half_range_m
        return Layout(
            seed=seed,
            cube_xy=tuple(np.add(self.cube_centre, rng.uniform(-half, half, 2))),
            cube_yaw=float(rng.uniform(-self.cube_yaw_rad, self.cube_yaw_rad)),
            tray_xy=tuple(np.add(self.tray_centre, rng.uniform(-1, 1, 2) * self.tray_half_range_m)),
            start_q=tuple(scene.HOME_Q + rng.uniform(-1, 1, 7) * self.start_noise_rad),
            instruction=str(rng.choice(self.instructions)),
            table_rgb=tuple(np.clip(np.array([0.72, 0.62, 0.50]) * rng.uniform(0.92, 1.08, 3), 0, 1)),
            cube_rgb=tuple(np.clip(np.array([0.80, 0.12, 0.10]) + rng.uniform(-0.05, 0.05, 3), 0, 1)),
            light=float(rng.uniform(0.9, 1.1)),
        )

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, layout: Layout) -> None:
        """Put the objects where the layout says, leaving the arm alone."""
        address = model.jnt_qposadr[model.joint("cube_free").id]
        dof = model.jnt_dofadr[model.joint("cube_free").id]
        half = layout.cube_yaw / 2
        data.qpos[address : address + 7] = [
            *layout.cube_xy,
            scene.CUBE_HALF_M,
            np.cos(half),
            0,
            0,
            np.sin(half),
        ]
        data.qvel[dof : dof + 6] = 0
        data.mocap_pos[model.body("tray").mocapid[0]] = [*layout.tray_xy, 0.0]
        self.paint(model, layout.seed)
        mujoco.mj_forward(model, data)

    def paint(self, model: mujoco.MjModel, seed: int) -> None:
        """Colours and light of a seed; the camera process does the same from the seed alone."""
        layout = self.sample(seed)
        model.geom_rgba[model.geom("table").id, :3] = layout.table_rgb
        model.geom_rgba[model.geom("cube").id, :3] = layout.cube_rgb
        model.light_diffuse[model.light("lamp").id] = 0.55 * layout.light

    def success(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, str]:
        """(done, why not): the cube lies in the tray and the hand has let go."""
        cube, tray = data.body("cube").xpos, data.body("tray").xpos
        off = np.abs(cube[:2] - tray[:2]).max()
        width = sum(float(data.joint(name).qpos[0]) for name in scene.FINGER_JOINTS)
        if off > scene.TRAY_HALF_M - 0.01:
            return False, f"cube is {off * 100:.1f} cm from the tray's centre"
        if cube[2] > 0.04:
            return False, f"cube is {cube[2] * 100:.1f} cm above the table"
        if width < 0.05:
            return False, f"gripper is still closed to {width * 100:.1f} cm"
        return True, ""


TASKS = {"pick_place": PickPlace()}


def get_task(name: str) -> PickPlace:
    if name not in TASKS:
        raise ComoError(f"no task named {name!r}; known tasks: {', '.join(sorted(TASKS))}")
    return TASKS[name]

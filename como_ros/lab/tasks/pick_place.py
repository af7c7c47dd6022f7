"""Put the red cube into the blue tray."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np

from como_ros.lab import scene
from como_ros.lab.operator import CLOSED_M, OPEN_M, Plan, Script, approach
from como_ros.lab.surroundings import mild, wild
from como_ros.lab.tasks.base import (
    HandPlan,
    Layout,
    Moved,
    Task,
    Truth,
    open_hand_width,
    seeded,
    upright,
    yaw_of,
)

CUBE_HALF_M, TRAY_HALF_M = 0.02, 0.08
GRASP_Z_M, PLACE_Z_M = 0.017, 0.035
CUBE_RGB = np.array([0.80, 0.12, 0.10])


class PickPlace(Task):
    """The thinnest useful task."""

    name = "pick_place"
    things = ("cube", "tray")
    instructions = (
        "put the red cube in the tray",
        "pick up the cube and place it in the blue tray",
        "move the red block into the tray",
        "place the cube in the tray",
        "take the red cube and drop it into the blue tray",
    )
    objects_xml = """
    <body name="cube" pos="0.5 -0.05 0.02">
      <freejoint name="cube_free"/>
      <geom name="cube" type="box" size="0.02 0.02 0.02" mass="0.05" rgba="0.80 0.12 0.10 1"
            friction="1 0.01 0.0001" condim="4"/>
    </body>
    <body name="tray" pos="0.5 0.28 0" mocap="true">
      <geom name="tray_floor" type="box" size="0.08 0.08 0.003" pos="0 0 0.003" rgba="0.20 0.33 0.62 1"/>
      <geom name="tray_w" type="box" size="0.004 0.08 0.010" pos="-0.08 0 0.010" rgba="0.16 0.27 0.52 1"/>
      <geom name="tray_e" type="box" size="0.004 0.08 0.010" pos="0.08 0 0.010" rgba="0.16 0.27 0.52 1"/>
      <geom name="tray_s" type="box" size="0.08 0.004 0.010" pos="0 -0.08 0.010" rgba="0.16 0.27 0.52 1"/>
      <geom name="tray_n" type="box" size="0.08 0.004 0.010" pos="0 0.08 0.010" rgba="0.16 0.27 0.52 1"/>
    </body>
    """

    def sample(self, seed: int, spread: str = "training") -> Layout:
        rng = seeded(seed, spread, 71)
        reach, turn, tray_reach = (0.08, 20, 0.03) if spread == "training" else (0.11, 40, 0.05)
        cube_xy = np.add((0.50, -0.05), rng.uniform(-reach, reach, 2))
        yaw = float(rng.uniform(-1, 1) * np.deg2rad(turn))
        tray_xy = np.add((0.50, 0.28), rng.uniform(-1, 1, 2) * tray_reach)
        start_q = scene.HOME_Q + rng.uniform(-1, 1, 7) * 0.03
        instruction = str(rng.choice(self.instructions))
        ordinary = mild(rng)
        cube_rgb = np.clip(CUBE_RGB + rng.uniform(-0.05, 0.05, 3), 0, 1)
        light = float(rng.uniform(0.9, 1.1))
        return Layout(
            seed=seed,
            spread=spread,
            instruction=instruction,
            start_q=start_q,
            places={"cube": upright(cube_xy, CUBE_HALF_M, yaw), "tray": upright(tray_xy, 0.0)},
            colours={"cube": cube_rgb},
            surroundings=(
                replace(ordinary, light=light)
                if spread == "training"
                else wild(rng, ((*cube_xy, 0.12), (*tray_xy, 0.16), (0.50, 0.12, 0.14)))
            ),
        )

    def success(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, str]:
        """The cube lies in the tray and the hand has let go."""
        cube, tray = data.body("cube").xpos, data.body("tray").xpos
        off, width = np.abs(cube[:2] - tray[:2]).max(), open_hand_width(data)
        if off > TRAY_HALF_M - 0.01:
            return False, f"cube is {off * 100:.1f} cm from the tray's centre"
        if cube[2] > 0.04:
            return False, f"cube is {cube[2] * 100:.1f} cm above the table"
        if width < 0.05:
            return False, f"gripper is still closed to {width * 100:.1f} cm"
        return True, ""

    def plan(self, truth: Truth, start_xyz: np.ndarray, seed: int) -> Plan:
        """Hover, (sometimes miss and correct,) descend, grasp, lift, carry in an arc, lower, let go."""
        rng = np.random.default_rng([seed, 13])
        yaw = yaw_of(truth["cube"])
        script = Script(np.asarray(start_xyz, float), rng.uniform(0.30, 0.45))
        tilt = rng.uniform(-0.04, 0.04, 2)
        grasp = np.array([*truth["cube"][:2], GRASP_Z_M]) + [
            *rng.normal(0, 0.0015, 2),
            rng.uniform(-0.002, 0.003),
        ]
        hover = grasp + [0, 0, rng.uniform(0.06, 0.12)]
        approach(script, rng, hover, yaw, tilt)
        script.go(grasp, yaw, tilt, OPEN_M, slow=0.6)
        script.wait(rng.uniform(0.15, 0.3), OPEN_M)
        script.wait(rng.uniform(0.55, 0.7), CLOSED_M)  # 0.4 s to close on the cube
        script.go(grasp + [0, 0, rng.uniform(0.10, 0.16)], yaw, tilt, CLOSED_M, slow=0.8)
        _deliver(script, rng, np.array(truth["tray"][:3]), tilt)
        return script.plan()

    def hand_plan(self, layout: Layout, seed: int) -> HandPlan:
        rng = np.random.default_rng([seed, 41])
        cube_at, tray_at = layout.places["cube"], layout.places["tray"]
        script = Script(np.array([0.35, 0.08, 0.28]) + rng.uniform(-0.10, 0.10, 3), rng.uniform(0.45, 0.80))
        tilt, yaw = rng.uniform(-0.25, 0.25, 2), yaw_of(cube_at) + rng.normal(0, 0.1)
        grasp = np.array([*cube_at[:2], 0.022]) + rng.normal(0, 0.002, 3)
        tray = np.array([*tray_at[:2], 0.045]) + [*rng.uniform(-0.03, 0.03, 2), rng.uniform(0, 0.02)]
        pinch = 2 * CUBE_HALF_M
        if rng.random() < 0.6:
            script.wait(rng.uniform(0.1, 0.6), OPEN_M)
        script.go(grasp + [*rng.normal(0, 0.02, 2), rng.uniform(0.04, 0.09)], yaw, tilt, OPEN_M)
        script.go(grasp, yaw, tilt, OPEN_M)
        script.wait(rng.uniform(0.10, 0.25), pinch)
        grasped_s = script.time_s
        lift = rng.uniform(0.08, 0.18)
        script.go((grasp + tray) / 2 + [*rng.normal(0, 0.03, 2), lift], yaw / 2, tilt, pinch)
        script.go(tray, rng.normal(0, 0.15), tilt, pinch)
        script.wait(rng.uniform(0.10, 0.25), OPEN_M)
        released_s = script.time_s
        script.go(np.array([0.36, 0.15, 0.25]) + rng.uniform(-0.08, 0.08, 3), 0.0, tilt, OPEN_M)
        script.wait(rng.uniform(0.1, 0.4), OPEN_M)
        plan = script.plan()
        grip = cube_at[:3] - plan.at(grasped_s)[0][:3]
        last = plan.at(released_s)[0][:3] + grip

        def things_at(time_s: float, hand_pose7: np.ndarray) -> Moved:
            if time_s < grasped_s:
                place = cube_at[:3]
            elif time_s < released_s:
                place = hand_pose7[:3] + grip
            else:
                place = np.array([*last[:2], 0.006 + CUBE_HALF_M])
            return {"cube": np.concatenate([place, cube_at[3:]])}, {}

        return HandPlan(plan, things_at, (grasped_s, released_s))


def _deliver(script: Script, rng: np.random.Generator, tray: np.ndarray, tilt: np.ndarray) -> None:
    place = tray + [*rng.uniform(-0.025, 0.025, 2), PLACE_Z_M + rng.uniform(0, 0.012)]
    above = place + [0, 0, rng.uniform(0.07, 0.12)]
    yaw = rng.normal(0, 0.1)
    if rng.random() < 0.4:
        script.go(above + [*rng.normal(0, 0.03, 2), rng.uniform(0, 0.04)], yaw, tilt, CLOSED_M)
    script.go(above, yaw, tilt, CLOSED_M)
    script.go(place, yaw, tilt, CLOSED_M, slow=0.7)
    script.wait(rng.uniform(0.1, 0.25), CLOSED_M)
    script.wait(rng.uniform(0.3, 0.45), OPEN_M)
    script.go(above + [0, 0, 0.03], yaw, tilt, OPEN_M)
    script.wait(0.5, OPEN_M)

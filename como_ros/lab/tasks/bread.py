"""Take the slice of bread out of its rack and put it into a slot of the toaster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import mujoco
import numpy as np

from como_ros.lab import scene
from como_ros.lab.operator import CLOSED_M, OPEN_M, Plan, Script, approach
from como_ros.lab.surroundings import Surroundings, mild, wild
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
from como_ros.lab.tasks.toaster import (
    OBJECTS_XML,
    RACK_FLOOR_M,
    RIM_M,
    SLICE_HALF_M,
    SLICE_HALF_THICK_M,
    SLOT_FLOOR_M,
    SLOT_HALF_LENGTH_M,
    SLOT_HALF_M,
    SLOT_YS_M,
    tints,
)

RACK_XY, TOASTER_XY, RACK_YAW_DEG = (0.50, -0.14), (0.48, 0.21), -30.0
"""Turned so that the front camera sees the slice's face."""
REACHES = {"training": (0.03, 12, 8, 0.04), "held_out": (0.045, 25, 16, 0.12)}
"""Either way: of rack and toaster m, of their yaws degrees, of colours."""
DEEP_ENOUGH_M, LEAN_LIMIT_DEG, LET_GO_M = 0.04, 15.0, 0.035


class InsertBread(Task):
    """A contact task: four millimetres of air on either side, and lips that forgive a little more."""

    name = "insert_bread"
    things = ("bread", "toaster", "rack")
    instructions = (
        "put the slice of bread into the toaster",
        "take the bread from the rack and put it in the toaster",
        "insert the bread into the toaster's slot",
        "pick up the slice of toast and slide it into the toaster",
        "place the bread in the toaster",
        "load the toaster with the slice from the rack",
    )
    objects_xml = OBJECTS_XML

    def sample(self, seed: int, spread: str = "training") -> Layout:
        rng = seeded(seed, spread, 79)
        reach, rack_turn, toaster_turn, tint = REACHES[spread]
        rack_xy, toaster_xy = (np.add(xy, rng.uniform(-reach, reach, 2)) for xy in (RACK_XY, TOASTER_XY))
        turns = ((RACK_YAW_DEG, rack_turn), (0.0, toaster_turn))
        rack_yaw, toaster_yaw = (np.deg2rad(middle + rng.uniform(-1, 1) * turn) for middle, turn in turns)
        along = _turned(rack_yaw, rng.uniform(-0.008, 0.008), 0.0, RACK_FLOOR_M + SLICE_HALF_M)
        return Layout(
            seed=seed,
            spread=spread,
            start_q=scene.HOME_Q + rng.uniform(-1, 1, 7) * 0.03,
            instruction=str(rng.choice(self.instructions)),
            places={
                "bread": upright(rack_xy + along[:2], along[2], rack_yaw),
                "rack": upright(rack_xy, 0.0, rack_yaw),
                "toaster": upright(toaster_xy, 0.0, toaster_yaw),
            },
            colours=tints(rng, tint),
            surroundings=_around(rng, spread, rack_xy, toaster_xy),
        )

    def success(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, str]:
        """The slice stands in a slot, deep enough, and the hand has let go."""
        bread, toaster = data.body("bread"), data.body("toaster")
        frame, up = toaster.xmat.reshape(3, 3), bread.xmat.reshape(3, 3)[:, 2]
        centre, lower = ((p - toaster.xpos) @ frame for p in (bread.xpos, bread.xpos - SLICE_HALF_M * up))
        across = float(min(abs(centre[1] - y) for y in SLOT_YS_M))
        off, deep = float(np.hypot(centre[0], across)), float(RIM_M - lower[2])
        lean, width = float(np.rad2deg(np.arccos(np.clip(up[2], -1, 1)))), open_hand_width(data)
        if across > SLOT_HALF_M or abs(centre[0]) > SLOT_HALF_LENGTH_M - SLICE_HALF_M + 0.005:
            return False, f"bread is {off * 100:.1f} cm from the middle of the nearest slot"
        if deep < DEEP_ENOUGH_M:
            enough = f"{DEEP_ENOUGH_M * 100:.0f} cm are needed"
            return False, f"bread's lower edge is {deep * 100:.1f} cm below the slot's rim, {enough}"
        if lean > LEAN_LIMIT_DEG:
            return False, f"bread leans by {lean:.0f} degrees"
        if width < LET_GO_M:
            return False, f"gripper is still closed to {width * 100:.1f} cm"
        return True, ""

    def plan(self, truth: Truth, start_xyz: np.ndarray, seed: int) -> Plan:
        """Hover, grasp, lift clear of everything, carry over and turn, lower, insert, let go."""
        rng = np.random.default_rng([seed, 17])
        script = Script(np.asarray(start_xyz, float), rng.uniform(0.30, 0.45))
        tilt, grip_m = rng.uniform(-0.03, 0.03, 2), rng.uniform(0.014, 0.018)
        yaw, along = yaw_of(truth["bread"]), rng.normal(0, 0.003)
        aim = _turned(yaw, along, rng.normal(0, 0.0015), SLICE_HALF_M - grip_m)
        grasp = np.array(truth["bread"][:3]) + aim
        approach(script, rng, grasp + [0, 0, rng.uniform(0.08, 0.13)], yaw, tilt)
        script.go(grasp, yaw, tilt, OPEN_M, slow=0.6)
        script.wait(rng.uniform(0.15, 0.3), OPEN_M)
        script.wait(rng.uniform(0.85, 1.0), CLOSED_M)
        hang = 2 * SLICE_HALF_M - grip_m
        clear = RIM_M + hang + rng.uniform(0.025, 0.06)
        script.go(np.array([*grasp[:2], clear]), yaw, tilt, CLOSED_M, slow=0.9)
        slot, slot_yaw = _nearest_slot(truth)
        rim = slot + _turned(slot_yaw, along + rng.uniform(-0.006, 0.006), 0.0, hang)
        _insert(script, rng, rim, slot_yaw)
        return script.plan()

    def hand_plan(self, layout: Layout, seed: int) -> HandPlan:
        rng = np.random.default_rng([seed, 43])
        bread_at = layout.places["bread"]
        hang = 2 * SLICE_HALF_M - rng.uniform(0.014, 0.024)
        script = Script(np.array([0.35, 0.05, 0.28]) + rng.uniform(-0.10, 0.10, 3), rng.uniform(0.45, 0.80))
        tilt, askew, pinch = rng.uniform(-0.2, 0.2, 2), rng.normal(0, 0.06), 2 * SLICE_HALF_THICK_M
        along, yaw = rng.normal(0, 0.006), yaw_of(bread_at) + askew
        grasp = bread_at[:3] + _turned(yaw_of(bread_at), along, 0.0, hang - SLICE_HALF_M)
        slot, slot_yaw = _nearest_slot(layout.places)
        over = slot + _turned(slot_yaw, along + rng.uniform(-0.006, 0.006), 0.0, hang + 0.004)
        inside = over - [0, 0, rng.uniform(0.048, 0.058)]
        if rng.random() < 0.6:
            script.wait(rng.uniform(0.1, 0.6), OPEN_M)
        script.go(grasp + [*rng.normal(0, 0.02, 2), rng.uniform(0.04, 0.09)], yaw, tilt, OPEN_M)
        script.go(grasp, yaw, tilt, OPEN_M)
        script.wait(rng.uniform(0.20, 0.30), pinch)
        grasped_s = script.time_s
        script.go(grasp + [0, 0, rng.uniform(0.09, 0.15)], yaw, tilt, pinch)
        yaw = slot_yaw + askew
        script.go(over + [*rng.normal(0, 0.01, 2), rng.uniform(0.015, 0.05)], yaw, tilt, pinch)
        script.go(over, yaw, tilt, pinch)
        script.go(inside, yaw, tilt, pinch, slow=0.6)
        script.wait(rng.uniform(0.10, 0.25), OPEN_M)
        released_s = script.time_s
        script.go(inside + [0, 0, rng.uniform(0.06, 0.10)], yaw, tilt, OPEN_M)
        script.go(np.array([0.36, 0.15, 0.30]) + rng.uniform(-0.08, 0.08, 3), 0.0, tilt, OPEN_M)
        script.wait(rng.uniform(0.1, 0.4), OPEN_M)
        return _with_the_hand(script.plan(), bread_at, grasped_s, released_s)


def _around(rng: np.random.Generator, spread: str, rack: np.ndarray, toaster: np.ndarray) -> Surroundings:
    if spread == "training":
        return replace(mild(rng), light=float(rng.uniform(0.9, 1.1)))
    between = (rack + toaster) / 2
    return wild(rng, ((*rack, 0.13), (*toaster, 0.18), (*between, 0.14)))


def _with_the_hand(plan: Plan, bread_at: np.ndarray, grasped_s: float, released_s: float) -> HandPlan:
    """The slice stays upright and keeps its place in the pinch, then drops onto the slot's floor."""
    first = plan.at(grasped_s)[0]
    grip, askew = _turned(-yaw_of(first), *(bread_at[:3] - first[:3])), yaw_of(bread_at) - yaw_of(first)

    def things_at(time_s: float, hand_pose7: np.ndarray) -> Moved:
        if time_s < grasped_s:
            return {"bread": bread_at}, {}
        hand = hand_pose7 if time_s < released_s else plan.at(released_s)[0]
        place = hand[:3] + _turned(yaw_of(hand), *grip)
        height = place[2] if time_s < released_s else SLOT_FLOOR_M + SLICE_HALF_M
        return {"bread": upright(place[:2], height, yaw_of(hand) + askew)}, {}

    return HandPlan(plan, things_at, (grasped_s, released_s))


def _turned(yaw: float, along: float, across: float, up: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([c * along - s * across, s * along + c * across, up])


def _nearest_slot(places: Mapping[str, list[float]] | Mapping[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """The middle of a slot at its rim, and its direction: the slot on the bread's side."""
    bread, toaster = np.asarray(places["bread"]), np.asarray(places["toaster"])
    yaw = yaw_of(toaster)
    middles = [toaster[:3] + _turned(yaw, 0.0, y, RIM_M) for y in SLOT_YS_M]
    return min(middles, key=lambda at: float(np.linalg.norm(at[:2] - bread[:2]))), yaw


def _insert(script: Script, rng: np.random.Generator, rim: np.ndarray, yaw: float) -> None:
    """Over the slot, not always right at first; then down between the lips and let go.

    `rim` is where the hand is when the slice's lower edge is level with the rim.
    """
    tilt = rng.uniform(-0.01, 0.01, 2)
    above = rim + [0, 0, rng.uniform(0.02, 0.04)]
    if rng.random() < 0.4:
        last = script.rows[-1]
        bow = [*rng.normal(0, 0.03, 2), rng.uniform(0.0, 0.05)]
        script.go((last[1] + above) / 2 + bow, (last[2] + yaw) / 2, tilt, CLOSED_M)
    for _ in range(int(rng.integers(0, 3))):
        miss = np.array([*rng.normal(0, 0.012, 2), rng.uniform(0.0, 0.02)])
        script.go(above + miss, yaw + rng.normal(0, 0.10), tilt, CLOSED_M)
    script.go(above, yaw, tilt, CLOSED_M)
    entry = rim + [*rng.normal(0, 0.001, 2), 0.006]
    script.go(entry, yaw + rng.normal(0, 0.01), tilt, CLOSED_M, slow=0.6)
    script.wait(rng.uniform(0.1, 0.3), CLOSED_M)
    inside = entry - [0, 0, 0.006 + rng.uniform(0.046, 0.053)]
    script.go(inside, yaw, tilt, CLOSED_M, slow=0.3)
    script.wait(rng.uniform(0.1, 0.25), CLOSED_M)
    script.wait(rng.uniform(0.6, 0.75), OPEN_M)
    script.go(inside + [0, 0, rng.uniform(0.08, 0.12)], yaw, tilt, OPEN_M)
    script.wait(0.5, OPEN_M)

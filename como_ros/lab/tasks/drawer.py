"""Open the upper drawer of the cabinet, and close it."""

from __future__ import annotations

import mujoco
import numpy as np

from como_ros.lab.operator import CLOSED_M, OPEN_M, Plan, Script, approach
from como_ros.lab.tasks.base import HandPlan, Layout, Moved, Truth, open_hand_width
from como_ros.lab.tasks.cabinet import BAR_HALF_M, TRAVEL_M, UP, CabinetTask, Slide, seen, slide_of

OPENED_M, SHUT_M = 0.12, 0.01
"""From here on the drawer counts as open, and up to here as shut."""
GRIPPER_REACH_M, FINGERS_REACH_M = BAR_HALF_M + 0.008, BAR_HALF_M + 0.026
"""From the bar's middle to that of a gripper or a person's fingers that touch its face from the front."""
CLEAR_M = 0.05
"""A hand this far from the bar has let go of it."""

RISEN_M = 0.17
"""Of the TCP: the fingers are then above the cabinet."""


class OpenDrawer(CabinetTask):
    """Take the handle and pull the drawer out."""

    name = "open_drawer"
    instructions = (
        "open the drawer",
        "pull the drawer open",
        "take the handle and pull the drawer out",
        "open the top drawer of the cabinet",
        "slide the upper drawer out",
    )
    stream, openings_m = 73, (0.0, 0.012)

    def success(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, str]:
        """The drawer is out, and the hand has let go and risen."""
        opening, width = float(data.joint("drawer_slide").qpos[0]), open_hand_width(data)
        if opening < OPENED_M:
            return False, f"drawer is open {opening * 100:.1f} cm of the {OPENED_M * 100:.0f} cm wanted"
        away = float(np.linalg.norm(data.site("tcp").xpos - data.geom("handle_bar").xpos))
        if width < 0.05 and away < CLEAR_M:
            return False, f"gripper still holds the handle, closed to {width * 100:.1f} cm"
        return _risen(data)

    def plan(self, truth: Truth, start_xyz: np.ndarray, seed: int) -> Plan:
        """Hover, (sometimes miss and correct,) descend over the bar, grasp, pull, let go, rise."""
        rng = np.random.default_rng([seed, 17])
        slide, opening = seen(truth)
        script = Script(np.asarray(start_xyz, float), rng.uniform(0.30, 0.45))
        tilt, yaw = rng.uniform(-0.04, 0.04, 2), slide.yaw + rng.normal(0, 0.03)
        off = np.array([*rng.normal(0, 0.0015, 2), rng.uniform(-0.003, 0.003)])
        grasp = slide.gripper(opening) + off
        approach(script, rng, grasp + rng.uniform(0.09, 0.13) * UP, yaw, tilt)
        script.go(grasp, yaw, tilt, OPEN_M, slow=0.5)
        script.wait(rng.uniform(0.15, 0.3), OPEN_M)
        script.wait(rng.uniform(0.75, 0.9), CLOSED_M)  # 0.6 s to close on the bar
        pulled = slide.gripper(rng.uniform(0.138, 0.152)) + off
        if rng.random() < 0.3:  # in two pulls
            script.go(grasp + (pulled - grasp) * rng.uniform(0.3, 0.7), yaw, tilt, CLOSED_M, slow=0.5)
            script.wait(rng.uniform(0.05, 0.25), CLOSED_M)
        script.go(pulled, yaw, tilt, CLOSED_M, slow=rng.uniform(0.4, 0.6))
        script.wait(rng.uniform(0.1, 0.25), CLOSED_M)
        script.wait(rng.uniform(0.3, 0.45), OPEN_M)
        script.go(pulled + rng.uniform(0.09, 0.15) * UP, yaw, tilt, OPEN_M)
        script.wait(0.5, OPEN_M)
        return script.plan()

    def hand_plan(self, layout: Layout, seed: int) -> HandPlan:
        rng = np.random.default_rng([seed, 43])
        slide, opening = slide_of(layout.places["cabinet"]), layout.slides["drawer_slide"]
        script, yaw, tilt = _hand_sets_out(rng, slide, OPEN_M)
        pinch, off = 2 * BAR_HALF_M, rng.normal(0, 0.002, 3)
        grasp = slide.bar(opening) + off
        script.go(grasp + [*rng.normal(0, 0.02, 2), rng.uniform(0.05, 0.09)], yaw, tilt, OPEN_M)
        script.go(grasp, yaw, tilt, OPEN_M)
        script.wait(rng.uniform(0.10, 0.25), pinch)
        taken_s = script.time_s
        script.go(slide.bar(rng.uniform(0.13, 0.155)) + off, yaw, tilt, pinch, slow=rng.uniform(0.6, 0.9))
        script.wait(rng.uniform(0.10, 0.25), OPEN_M)
        return _hand_goes_home(rng, script, slide, opening, taken_s, OPEN_M)


class CloseDrawer(CabinetTask):
    """Push the drawer in."""

    name = "close_drawer"
    instructions = (
        "close the drawer",
        "push the drawer shut",
        "shut the top drawer of the cabinet",
        "push the open drawer back in",
        "slide the upper drawer in until it is closed",
    )
    stream, openings_m = 79, (0.12, 0.155)

    def success(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, str]:
        """The drawer is in, and the hand has risen."""
        opening = float(data.joint("drawer_slide").qpos[0])
        if opening > SHUT_M:
            return False, f"drawer is still open {opening * 100:.1f} cm"
        return _risen(data)

    def plan(self, truth: Truth, start_xyz: np.ndarray, seed: int) -> Plan:
        """Close the hand on the way to the front of the bar, touch it, push it home, come away."""
        rng = np.random.default_rng([seed, 19])
        slide, opening = seen(truth)
        script = Script(np.asarray(start_xyz, float), rng.uniform(0.30, 0.45))
        tilt, yaw = rng.uniform(-0.04, 0.04, 2), slide.yaw + rng.normal(0, 0.03)
        off = np.array([*rng.normal(0, 0.002, 2), rng.uniform(-0.003, 0.003)])
        ahead = GRIPPER_REACH_M + rng.uniform(0.025, 0.045)
        before = slide.gripper(opening, ahead) + off
        approach(script, rng, before + rng.uniform(0.08, 0.12) * UP, yaw, tilt, CLOSED_M)
        script.go(before, yaw, tilt, CLOSED_M, slow=0.6)
        if rng.random() < 0.3:
            script.wait(rng.uniform(0.05, 0.3), CLOSED_M)
        script.go(slide.gripper(opening, GRIPPER_REACH_M + 0.002) + off, yaw, tilt, CLOSED_M, slow=0.3)
        home = slide.gripper(-rng.uniform(0.001, 0.0035), GRIPPER_REACH_M) + off
        script.go(home, yaw, tilt, CLOSED_M, slow=rng.uniform(0.3, 0.45))
        script.wait(rng.uniform(0.2, 0.4), CLOSED_M)
        away = slide.gripper(0.0, ahead) + off
        script.go(away, yaw, tilt, CLOSED_M, slow=0.6)
        script.go(away + rng.uniform(0.08, 0.14) * UP, yaw, tilt, CLOSED_M)
        script.wait(0.3, CLOSED_M)
        return script.plan()

    def hand_plan(self, layout: Layout, seed: int) -> HandPlan:
        rng = np.random.default_rng([seed, 47])
        slide, opening = slide_of(layout.places["cabinet"]), layout.slides["drawer_slide"]
        fist = float(rng.uniform(0.005, 0.02))
        script, yaw, tilt = _hand_sets_out(rng, slide, fist)
        off = np.array([*rng.normal(0, 0.003, 2), rng.uniform(-0.01, 0.0)])
        before = slide.bar(opening, FINGERS_REACH_M + rng.uniform(0.03, 0.05)) + off
        script.go(before + [*rng.normal(0, 0.02, 2), rng.uniform(0.05, 0.09)], yaw, tilt, fist)
        script.go(before, yaw, tilt, fist)
        script.go(slide.bar(opening, FINGERS_REACH_M) + off, yaw, tilt, fist)
        taken_s = script.time_s
        script.go(slide.bar(0.0, FINGERS_REACH_M) + off, yaw, tilt, fist, slow=rng.uniform(0.6, 0.9))
        script.wait(rng.uniform(0.05, 0.2), fist)
        return _hand_goes_home(rng, script, slide, opening, taken_s, fist)


def _risen(data: mujoco.MjData) -> tuple[bool, str]:
    """(done, why not): the hand is clear of the cabinet, so that the arm can sweep home."""
    height_m = float(data.site("tcp").xpos[2])
    if height_m < RISEN_M:
        return False, f"hand is still at the drawer, {height_m * 100:.1f} cm above the table"
    return True, ""


def _hand_sets_out(rng: np.random.Generator, slide: Slide, width: float) -> tuple[Script, float, np.ndarray]:
    """(script, yaw, tilt) of a person's hand that starts somewhere above the near side of the table."""
    start = np.array([0.38, 0.06, 0.34]) + rng.uniform(-0.08, 0.08, 3)
    script = Script(start, rng.uniform(0.45, 0.80))
    if rng.random() < 0.6:
        script.wait(rng.uniform(0.1, 0.6), width)
    return script, slide.yaw + rng.normal(0, 0.1), rng.uniform(-0.2, 0.2, 2)


def _hand_goes_home(
    rng: np.random.Generator, script: Script, slide: Slide, opening: float, taken_s: float, width: float
) -> HandPlan:
    """Up and back; the drawer goes with the hand from the moment it was taken until now."""
    left_s, (_, last, yaw, tilt, _) = script.time_s, script.rows[-1]
    script.go(last + [*(0.03 * slide.axis[:2]), rng.uniform(0.08, 0.12)], yaw, tilt, width)
    script.go(np.array([0.40, 0.12, 0.32]) + rng.uniform(-0.08, 0.08, 3), 0.0, tilt, width)
    script.wait(rng.uniform(0.1, 0.4), width)
    plan = script.plan()
    taken_at, left_at = (plan.at(time_s)[0][:3] for time_s in (taken_s, left_s))

    def things_at(time_s: float, hand_pose7: np.ndarray) -> Moved:
        hand = taken_at if time_s < taken_s else hand_pose7[:3] if time_s < left_s else left_at
        moved = opening + float((hand - taken_at) @ slide.axis)
        return {}, {"drawer_slide": float(np.clip(moved, 0.0, TRAVEL_M))}

    return HandPlan(plan, things_at, (taken_s, left_s))

"""What the arm node says of itself: one sentence, and the figures of its diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np

from como_ros.control.mandate import INACTIVE as DEAF
from como_ros.drivers.arm_loop import CONNECTING, FAULT, ArmLoop
from como_ros.drivers.errands import HOMING
from como_ros.nodes.arm_commands import Commands
from como_ros.nodes.health import Health

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"
"""Of the node's lifecycle."""
NEXT = {
    UNCONFIGURED: "configure it: ros2 lifecycle set /arm configure",
    INACTIVE: "activate it: ros2 lifecycle set /arm activate",
    FINALIZED: "start it again",
}


def health(stage: str, loop: ArmLoop | None, commands: Commands, refusal: str) -> Health:
    """`refusal`: why the node could not do what it was last asked, or nothing."""
    if loop is None:
        said = "; ".join(filter(None, (asleep(stage), refusal)))
        return Health(said, False, {"mode": stage, "lifecycle": stage, "alarm": said})
    figures = {"lifecycle": stage, **_of_loop(loop), **_of_commands(loop, commands)}
    faults = (loop.mode in (CONNECTING, FAULT), loop.hand.fault, figures["alarm"], loop.link.complaint)
    return Health(sentence(loop), not any(faults), figures)


def asleep(stage: str) -> str:
    """Why nothing can be asked of a node that is not active."""
    return f"the arm node is {stage}; {NEXT[stage]}"


def sentence(loop: ArmLoop) -> str:
    if loop.mode in (CONNECTING, FAULT) or loop.servo is None:
        said = f"{loop.mode}: {loop.waits or loop.fault or 'looking for the arm'}"
        return said + ("" if loop.active else f"; {DEAF}")
    reason = loop.servo.reason
    said = f"{loop.mode}, {loop.servo.activity}" + (f": {reason}" if reason else "")
    return "; ".join(filter(None, (said, loop.link.complaint, loop.hand.fault)))


def news(stage: str, loop: ArmLoop | None) -> tuple[str, str, int, str]:
    """Mode, driver, how many alarms so far, alarm: what is said as soon as it changes."""
    if loop is None:
        return stage, "", 0, ""
    alarms = loop.servo.mandate.alarms if loop.servo else 0
    return loop.mode, driver(loop), alarms, alarm(loop)


def driver(loop: ArmLoop) -> str:
    """Whose command the arm follows."""
    return "" if loop.mode in (CONNECTING, FAULT, HOMING) else loop.pace.driver


def alarm(loop: ArmLoop) -> str:
    """What the supervisor must stop for."""
    if not loop.active:
        return DEAF
    mandate = loop.servo.mandate if loop.servo else None
    return (mandate.alarm or mandate.unheard) if mandate else ""


def _of_loop(loop: ArmLoop) -> dict[str, Any]:
    pace, mandate = loop.pace, loop.servo.mandate if loop.servo else None
    return {
        "mode": loop.mode,
        "rounds": pace.rounds,
        "missed": pace.missed,
        "late": pace.late,
        "worst_late_ms": pace.worst_late_ms,
        "success_rate": loop.success_rate,
        "still_since_ns": pace.still_since_ns,
        "driver": driver(loop),
        "alarm": alarm(loop),
        "last_alarm": mandate.last_alarm if mandate else "",
        "supervisor_silence_ms": mandate.longest_silence_ns / 1e6 if mandate else 0.0,
        "yielded_ns": pace.yielded_ns,
        "steepest_m_s": pace.peaks.step_m_s,
        "linear": _row(pace.peaks.linear),
        "angular": _row(pace.peaks.angular),
        "hand": loop.hand.fault or "ok",
        "auto_cleared": loop.mending.auto_cleared,
        "robot_silences": loop.link.silences,
    }


def _of_commands(loop: ArmLoop, commands: Commands) -> dict[str, Any]:
    return {
        "commanders_watched": commands.commanders.alive,
        "last_refusal": loop.servo.last_refusal if loop.servo else "",
        "last_malformed": commands.refused.last,
        "refused_malformed": commands.refused.count,
        **{name.replace(" ", "_"): n for name, n in loop.counters.items()},
    }


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.4g}" for value in values)

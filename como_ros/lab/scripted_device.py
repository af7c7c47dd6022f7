"""The scripted operator as a teleop device: looks at the lab's truth once, then drives its plan."""

from __future__ import annotations

import numpy as np

from como_ros.drivers.teleop import TeleopCommand
from como_ros.errors import ComoError
from como_ros.lab.client import LabClient
from como_ros.lab.operator import Plan
from como_ros.lab.tasks import get_task

WAITS_BEYOND_M = 0.04


class ScriptedDevice:
    """Privileged, hence for demonstrations and tests only."""

    def __init__(self, control: str) -> None:
        if not control:
            raise ComoError("the scripted device needs the lab's control socket; give control:=PATH")
        self._control = control
        self._plan: Plan | None = None
        self._plan_s = self._elapsed_s = 0.0

    def engage(self, ee_pose7: np.ndarray) -> None:
        self._plan_s = self._elapsed_s = 0.0
        lab = LabClient(self._control)
        truth = lab.truth()
        lab.close()
        task = get_task(truth["task"])
        self._plan = task.plan(truth["things"], ee_pose7[:3], int(truth["seed"]))

    def command(self, elapsed_s: float, ee_pose7: np.ndarray) -> TeleopCommand:
        """The next set-point; like a person, waits for an arm that has fallen behind."""
        assert self._plan is not None, "engage comes first"
        behind_m = np.linalg.norm(self._plan.at(self._plan_s)[0][:3] - ee_pose7[:3])
        if behind_m < WAITS_BEYOND_M:
            self._plan_s += min(elapsed_s - self._elapsed_s, 0.1)
        self._elapsed_s = elapsed_s
        pose7, _, width_m = self._plan.at(self._plan_s)
        return TeleopCommand(pose7, width_m, held=True)

    def disengage(self) -> None:
        self._plan = None

    def pressed(self) -> tuple[str, ...]:
        """A script presses no buttons."""
        return ()

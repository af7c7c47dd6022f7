"""The tasks of the lab, by name."""

from como_ros.errors import ComoError
from como_ros.lab.tasks.base import RANGES, HandPlan, Layout, Task, Truth
from como_ros.lab.tasks.bread import InsertBread
from como_ros.lab.tasks.drawer import CloseDrawer, OpenDrawer
from como_ros.lab.tasks.pick_place import PickPlace

__all__ = ["RANGES", "TASKS", "HandPlan", "Layout", "Task", "Truth", "get_task"]

TASKS: dict[str, Task] = {
    task.name: task for task in (PickPlace(), OpenDrawer(), CloseDrawer(), InsertBread())
}


def get_task(name: str) -> Task:
    if name not in TASKS:
        raise ComoError(f"no task named {name!r}; known tasks: {', '.join(sorted(TASKS))}")
    return TASKS[name]

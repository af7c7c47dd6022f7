"""A lab's world that stands still while its clock runs, as the lab's does: 200 looks a second."""

from __future__ import annotations

import os
import threading
import time

import mujoco

from como_ros.lab import scene
from como_ros.lab.shared_state import SharedState
from como_ros.lab.tasks import RANGES, get_task


class World:
    """Shows itself in shared memory until it is closed."""

    def __init__(self, seed: int = 11, spread: str = "training") -> None:
        self.name = f"test_{os.getpid()}"
        task = get_task("pick_place")
        self.model = scene.build_model(task.objects_xml)
        self.data = mujoco.MjData(self.model)
        scene.set_arm_home(self.model, self.data)
        task.place(self.model, self.data, task.sample(seed, spread))
        self.vector = scene.world_vector(self.data, seed, RANGES.index(spread))
        self.state = SharedState.create(self.name, self.vector.size)
        self.frozen = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            if not self.frozen.is_set():
                self.state.write(self.vector, time.time_ns())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.state.close()

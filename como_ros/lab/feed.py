"""What the lab's cameras see: the shared world, drawn at the cameras' rate, handed to librealsense.

Software devices live inside one process, so the process that hosts the camera node hosts this thread too.
The capture stamp is the moment of the world that was drawn, never the moment the drawing was done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import mujoco

from como_ros.drivers.realsense import StreamConfig
from como_ros.lab import scene
from como_ros.lab.camera_faults import camera_fault
from como_ros.lab.render import Renderer, intrinsics
from como_ros.lab.shared_state import SharedState
from como_ros.lab.software_camera import SoftwareCamera
from como_ros.lab.tasks import RANGES, get_task

REATTACH_AFTER_S = 1.0


class LabFeed:
    """One thread that draws for all cameras, so that they share one look at the world and one context."""

    def __init__(self, state_name: str, task: str, cameras: Sequence[str], config: StreamConfig) -> None:
        self._task = get_task(task)
        self._config = config
        self._state_name = state_name
        self._model = scene.build_model(self._task.objects_xml)
        self._data = mujoco.MjData(self._model)
        self._painted: tuple[int, int] | None = None
        self._drawn_ns = 0
        image_hw = (config.height, config.width)
        self.cameras = {
            name: SoftwareCamera(f"lab-{name}", config, intrinsics(self._model, name, image_hw))
            for name in cameras
        }
        self.error = ""
        """Why there is nothing to see, for the camera node to report."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        renderer = Renderer(self._model, (self._config.height, self._config.width))
        state: SharedState | None = None
        due = moved = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self._config.rate_hz, time.monotonic())
            if state is not None and self._draw(state, renderer):
                self.error, moved = "", time.monotonic()
            elif state is None or time.monotonic() - moved > REATTACH_AFTER_S:
                state, moved = self._attach(), time.monotonic()
        renderer.close()

    def _attach(self) -> SharedState | None:
        """A restarted lab makes a new block; the old one never moves again."""
        try:
            return SharedState.attach(self._state_name)
        except FileNotFoundError:
            self.error = f"no lab world named {self._state_name!r}; start one with `como lab`"
            return None

    def _draw(self, state: SharedState, renderer: Renderer) -> bool:
        """Whether there was anything new to see: a world that has not moved on sends no light."""
        vector, stamp_ns = state.read()
        if stamp_ns <= self._drawn_ns:
            return False
        self._drawn_ns = stamp_ns
        paint = scene.set_world(self._model, self._data, vector)
        if paint != self._painted:
            self._task.paint(self._model, self._task.sample(paint[0], RANGES[paint[1]]))
            self._painted = paint
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        for name, camera in self.cameras.items():
            if camera_fault(state, "camera_freeze", name):
                continue
            color = renderer.colour(self._data, name)
            depth_m = renderer.depth_m(self._data, name) if self._config.depth else None
            camera.push(color, stamp_ns, depth_m)
        return True

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

"""What the lab's cameras see: the shared world, drawn at the cameras' rate, handed to librealsense.

Software devices live inside one process, so the process that hosts the camera node hosts this thread too.
The capture stamp is the moment of the world that was drawn, never the moment the drawing was done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import mujoco
import numpy as np

from como_ros.drivers.realsense import StreamConfig, not_plugged_in
from como_ros.errors import ComoError
from como_ros.lab import scene
from como_ros.lab.camera_cable import CameraCable
from como_ros.lab.render import DEPTH_BESIDE_M, DEPTH_ZOOM, Renderer, intrinsics
from como_ros.lab.shared_state import SharedState
from como_ros.lab.software_camera import SoftwareCamera
from como_ros.lab.tasks import RANGES, get_task

REATTACH_AFTER_S = 1.0
LATE_POLL_S = 0.005
"""How often to look after frames that are held back."""


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
        self._cables = {name: CameraCable(name, partial(self._camera, name)) for name in cameras}
        self.error = ""
        """Why there is nothing to see, for the camera node to report."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab feed", daemon=True)
        self._thread.start()

    def _camera(self, name: str) -> SoftwareCamera:
        image_hw = (self._config.height, self._config.width)
        color, depth = (intrinsics(self._model, name, image_hw, zoom) for zoom in (1.0, DEPTH_ZOOM))
        return SoftwareCamera(serial(name), self._config, color, depth, DEPTH_BESIDE_M)

    def device(self, name: str) -> Any:
        """The camera's device, as long as it is plugged in."""
        camera = self._cables[name].camera
        if camera is None:
            raise not_plugged_in(serial(name), [serial(n) for n, c in self._cables.items() if c.camera])
        return camera.device

    def _run(self) -> None:
        renderer = Renderer(self._model, (self._config.height, self._config.width))
        state: SharedState | None = None
        due = moved = time.monotonic()
        while not self._stop.wait(self._pause_s(due)):
            for cable in self._cables.values():
                cable.deliver(time.time_ns())
            if time.monotonic() < due:
                continue
            due = max(due + 1 / self._config.rate_hz, time.monotonic())
            try:
                if state is not None and self._draw(state, renderer):
                    self.error, moved = "", time.monotonic()
                elif state is None or time.monotonic() - moved > REATTACH_AFTER_S:
                    state, moved = self._attach(), time.monotonic()
            except ComoError as error:
                self.error, state = str(error), None
        renderer.close()

    def _pause_s(self, due_s: float) -> float:
        late = any(cable.late for cable in self._cables.values())
        return min(LATE_POLL_S if late else float("inf"), max(0.0, due_s - time.monotonic()))

    def _attach(self) -> SharedState:
        """A restarted lab makes a new block; the old one never moves again."""
        try:
            state = SharedState.attach(self._state_name)
        except FileNotFoundError:
            raise ComoError(f"no lab world named {self._state_name!r}; start one with `como lab`") from None
        if state.size != scene.world_vector_size(self._model):
            raise ComoError(
                f"the lab named {self._state_name!r} does not run {self._task.name!r}; give both one task"
            )
        return state

    def _draw(self, state: SharedState, renderer: Renderer) -> bool:
        """Whether there was anything new to see: a world that has not moved on sends no light."""
        for cable in self._cables.values():
            cable.obey(state)
        vector, stamp_ns = state.read()
        if stamp_ns <= self._drawn_ns:
            return False
        self._drawn_ns = stamp_ns
        self._arrange(vector)
        for name, cable in self._cables.items():
            if cable.wants_frame():
                color, depth_m = renderer.colour(self._data, name), None
                if self._config.depth:
                    depth_m = renderer.depth_m(self._data, name, DEPTH_BESIDE_M, DEPTH_ZOOM)
                cable.send(color, depth_m, stamp_ns)
        return True

    def _arrange(self, vector: np.ndarray) -> None:
        paint = scene.set_world(self._model, self._data, vector)
        if paint != self._painted:
            self._task.paint(self._model, self._task.sample(paint[0], RANGES[paint[1]]))
            self._painted = paint
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def serial(camera: str) -> str:
    """Of the software device that stands for a camera of the lab."""
    return f"lab-{camera}"

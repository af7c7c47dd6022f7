"""Pictures drawn beforehand, handed to librealsense at a camera's pace: for `como bench camera`.

Each picture's first pixels hold its number, so that whoever gets it can count what is missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from como_ros.drivers.realsense import StreamConfig, not_plugged_in
from como_ros.errors import ComoError
from como_ros.lab import scene
from como_ros.lab.render import Renderer
from como_ros.lab.software_camera import SoftwareCamera
from como_ros.lab.tasks import get_task
from policies.spaces import CAMERAS

NUMBER_BYTES = 4
PICTURES = 8


class CannedFeed:
    """One thread that pushes for all cameras; stands where a `LabFeed` does."""

    def __init__(self, file: str, cameras: Sequence[str], config: StreamConfig) -> None:
        """`file` holds (N, h, w, 3) pictures for each camera, by name."""
        self.error = ""
        self._period_s = 1 / config.rate_hz
        self._pictures = {name: _pictures(Path(file), name, config) for name in cameras}
        pinhole = np.array([[600.0, 0, config.width / 2], [0, 600.0, config.height / 2], [0, 0, 1]])
        self._cameras = {name: SoftwareCamera(f"canned-{name}", config, pinhole) for name in cameras}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canned feed", daemon=True)
        self._thread.start()

    def device(self, name: str) -> Any:
        if name not in self._cameras:
            raise not_plugged_in(name, self._cameras)
        return self._cameras[name].device

    def _run(self) -> None:
        begun, number = time.monotonic(), 0
        while not self._stop.wait(max(0.0, begun + number * self._period_s - time.monotonic())):
            for name, pictures in self._pictures.items():
                picture = pictures[number % len(pictures)]
                picture.reshape(-1)[:NUMBER_BYTES] = np.array([number], "<u4").view(np.uint8)
                self._cameras[name].push(picture, time.time_ns())
            number += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def _pictures(file: Path, name: str, config: StreamConfig) -> np.ndarray:
    with np.load(file) as stored:
        pictures = np.array(stored[name])
    if pictures.shape[1:] != (config.height, config.width, 3) or pictures.dtype != np.uint8:
        raise ComoError(
            f"{file}: pictures of {name} are {pictures.shape[1:]} {pictures.dtype}, the camera's are "
            f"{(config.height, config.width, 3)} uint8"
        )
    return pictures


def draw_pictures(file: Path, hw: tuple[int, int]) -> Path:
    """The lab as both cameras see it, in a few layouts."""
    task = get_task("pick_place")
    model = scene.build_model(task.objects_xml)
    data = mujoco.MjData(model)
    scene.set_arm_home(model, data)
    renderer = Renderer(model, hw)
    seen: dict[str, list[np.ndarray]] = {camera: [] for camera in CAMERAS}
    for seed in range(PICTURES):
        task.place(model, data, task.sample(seed))
        mujoco.mj_forward(model, data)
        for camera, pictures in seen.items():
            pictures.append(renderer.colour(data, camera).copy())
    renderer.close()
    arrays: dict[str, Any] = {camera: np.stack(pictures) for camera, pictures in seen.items()}
    np.savez(file, **arrays)
    return file

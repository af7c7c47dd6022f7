"""Draw what a camera of the lab would see: colour and depth, no sites, no collision shapes."""

from __future__ import annotations

import atexit

import mujoco
import numpy as np


class Renderer:
    """One offscreen context; frames are copies the caller owns."""

    def __init__(self, model: mujoco.MjModel, image_hw: tuple[int, int]) -> None:
        self._renderer = mujoco.Renderer(model, *image_hw)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = (0, 1, 0, 0, 0, 0)
        self._option.sitegroup[:] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        atexit.register(self.close)  # a context freed after EGL itself prints a traceback at exit

    def colour(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""
        self._renderer.update_scene(data, camera, self._option)
        return self._renderer.render().copy()

    def depth_m(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(h, w) float32 distance along the optical axis."""
        self._renderer.enable_depth_rendering()
        self._renderer.update_scene(data, camera, self._option)
        depth = self._renderer.render().copy()
        self._renderer.disable_depth_rendering()
        return depth

    def close(self) -> None:
        atexit.unregister(self.close)
        self._renderer.close()


def intrinsics(model: mujoco.MjModel, camera: str, image_hw: tuple[int, int]) -> np.ndarray:
    """(3, 3) pinhole matrix of a lab camera."""
    height, width = image_hw
    focal = 0.5 * height / np.tan(np.deg2rad(model.cam_fovy[model.camera(camera).id]) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])

"""Draw what a camera of the lab would see: colour and depth, no sites, no collision shapes."""

from __future__ import annotations

import atexit

import mujoco
import numpy as np

DEPTH_BESIDE_M = 0.015
"""The depth sensor sits so far to the right of the colour sensor, as in a D435, and looks the same way."""
DEPTH_ZOOM = 0.8
"""The depth sensor's focal length in those of the colour sensor: it sees wider, to cover the image."""

NEAREST_M = 0.01
"""The wrist camera has the hand 5 cm before its lens; with MuJoCo's usual clipping it would look through."""


class Renderer:
    """One offscreen context; frames are copies the caller owns."""

    def __init__(self, model: mujoco.MjModel, image_hw: tuple[int, int]) -> None:
        model.vis.map.znear = NEAREST_M / model.stat.extent
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

    def depth_m(
        self, data: mujoco.MjData, camera: str, beside_m: float = 0.0, zoom: float = 1.0
    ) -> np.ndarray:
        """(h, w) float32 distance along the optical axis, as seen from so far to the right of the camera."""
        self._renderer.update_scene(data, camera, self._option)
        for eye in self._renderer.scene.camera:
            eye.pos += beside_m * np.cross(eye.forward, eye.up)
            eye.frustum_bottom, eye.frustum_top = eye.frustum_bottom / zoom, eye.frustum_top / zoom
        self._renderer.enable_depth_rendering()
        depth = self._renderer.render().copy()
        self._renderer.disable_depth_rendering()
        return depth

    def close(self) -> None:
        atexit.unregister(self.close)
        self._renderer.close()


def intrinsics(
    model: mujoco.MjModel, camera: str, image_hw: tuple[int, int], zoom: float = 1.0
) -> np.ndarray:
    """(3, 3) pinhole matrix of a lab camera; whole numbers are the centres of pixels, as in OpenCV."""
    height, width = image_hw
    focal = 0.5 * zoom * height / np.tan(np.deg2rad(model.cam_fovy[model.camera(camera).id]) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])

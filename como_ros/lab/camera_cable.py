"""Between a lab camera's lens and librealsense: where frames get lost or late and plugs are pulled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from como_ros.lab.camera_faults import camera_fault
from como_ros.lab.shared_state import SharedState
from como_ros.lab.software_camera import SoftwareCamera
from policies.spaces import CAMERAS


@dataclass(frozen=True)
class _Capture:
    color: np.ndarray
    depth_m: np.ndarray | None
    stamp_ns: int
    skip: int


class CameraCable:
    """One camera's way to the driver, as good or as bad as the faults say."""

    def __init__(self, name: str, make: Callable[[], SoftwareCamera]) -> None:
        """`make` gives a new device: one that comes back is not the one that went."""
        self.name = name
        self.camera: SoftwareCamera | None = make()
        """None while it is unplugged."""
        self.late: deque[_Capture] = deque()
        """Frames held back, oldest first."""
        self._make = make
        self._luck = np.random.default_rng(CAMERAS.index(name))
        self._frozen = False
        self._lost_share = 0.0
        self._delay_ns = 0
        self._skip = 0

    def obey(self, state: SharedState) -> None:
        """Take over the faults that are set now."""
        self._frozen = bool(camera_fault(state, "camera_freeze", self.name))
        self._lost_share = camera_fault(state, "camera_drop", self.name)
        self._delay_ns = round(camera_fault(state, "camera_delay", self.name) * 1e9)
        unplugged = bool(camera_fault(state, "camera_unplug", self.name))
        if unplugged:
            self.camera, self._skip = None, 0
            self.late.clear()
        elif self.camera is None:
            self.camera = self._make()

    def wants_frame(self) -> bool:
        """Whether a frame captured now would ever arrive; one that is lost on the way keeps its number."""
        if self.camera is None or self._frozen:
            return False
        lost = bool(self._luck.random() < self._lost_share)
        self._skip += lost
        return not lost

    def send(self, color: np.ndarray, depth_m: np.ndarray | None, stamp_ns: int) -> None:
        """A frame sets out; without a delay it arrives at once."""
        self.late.append(_Capture(color, depth_m, stamp_ns, self._skip))
        self._skip = 0
        self.deliver(stamp_ns)

    def deliver(self, now_ns: int) -> None:
        """Hand over the frames whose time has come."""
        while self.camera and self.late and self.late[0].stamp_ns + self._delay_ns <= now_ns:
            capture = self.late.popleft()
            self.camera.push(capture.color, capture.stamp_ns, capture.depth_m, capture.skip)

"""A camera that may go and come back: opened when it is there, closed when it falls silent, looked for again.

A pulled plug, a stalled stream and a hub without power look alike from here: no frames. The camera is then
closed and opened anew, for as long as it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from como_ros.drivers.realsense import Frame, Intrinsics, RealSense, StreamConfig
from como_ros.errors import ComoError

SILENT_S = 1.0
REOPEN_AFTER_S = 2.0
"""A camera silent for so long is closed and looked for again."""


class SteadyCamera:
    """Reads one camera for ever; `state` and `error` say why there is nothing to read."""

    def __init__(self, find: Callable[[], Any], config: StreamConfig) -> None:
        """`find` gives the device or raises a `ComoError` that says why it is not there."""
        self._find, self.config = find, config
        self._camera: RealSense | None = None
        self._dropped = self._opened = self._opened_at_last_frame = 0
        self._heard_s = self._opened_s = time.monotonic()
        self.error = ""
        """Why the device cannot be opened or read."""
        self.received = self.reconnected = 0
        """Frames so far, and how often they came again from a device opened anew."""

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the colour image; known as soon as there was a frame."""
        if self._camera is None:
            raise ComoError(f"the camera is not open: {self.error}")
        return self._camera.intrinsics

    @property
    def dropped(self) -> int:
        """Frames that the device numbered and that never came, over all connections."""
        camera = self._camera
        return self._dropped + (camera.dropped if camera else 0)

    @property
    def state(self) -> str:
        """gone | silent | streaming."""
        if self.error:
            return "gone"
        heard = self.received and time.monotonic() - self._heard_s < SILENT_S
        return "streaming" if heard else "silent"

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None when none came in time, whatever the reason."""
        try:
            camera = self._camera or self._open()
            frame = camera.read(timeout_s)
        except (ComoError, RuntimeError) as error:
            self.error = str(error)
            self.close()
            time.sleep(timeout_s)
            return None
        if frame is not None:
            self._note_frame()
        elif time.monotonic() - max(self._heard_s, self._opened_s) > REOPEN_AFTER_S:
            self.close()
        return frame

    def _open(self) -> RealSense:
        self._camera = RealSense(self._find(), self.config)
        self._opened, self._opened_s = self._opened + 1, time.monotonic()
        self.error = ""
        return self._camera

    def _note_frame(self) -> None:
        self._heard_s = time.monotonic()
        self.reconnected += bool(self.received) and self._opened != self._opened_at_last_frame
        self.received, self._opened_at_last_frame = self.received + 1, self._opened

    def close(self) -> None:
        """Release the device; the next `read` opens it again."""
        if self._camera is not None:
            self._dropped += self._camera.dropped
            self._camera.close()
            self._camera = None

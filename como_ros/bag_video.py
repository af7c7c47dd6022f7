"""A recorded episode as a short mp4: both cameras side by side, with the time and the gripper's width."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from como_ros.bags import read_events, read_meta
from como_ros.errors import ComoError
from policies.spaces import CAMERAS, image_key

SCALE = 3
CAPTION_PX = 36


def write_video(bag: Path, out: Path) -> dict:
    """Draw the bag's frames in stamp order; the rate is the one they were captured at."""
    rows = _rows(bag)
    if len(rows) < 2:
        raise ComoError(f"{bag} holds {len(rows)} pairs of camera frames; a video needs at least 2")
    rate = round((len(rows) - 1) / max((rows[-1][0] - rows[0][0]) / 1e9, 1e-3))
    title = read_meta(bag).instruction
    out.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(out), "w") as container:
        stream = container.add_stream(
            "libx264", rate=max(rate, 1), options={"crf": "20", "preset": "veryfast"}
        )
        stream.pix_fmt = "yuv420p"
        for stamp_ns, images, width_m in rows:
            frame = _draw(images, title, (stamp_ns - rows[0][0]) / 1e9, width_m)
            if not stream.codec_context.is_open:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return {"video": str(out), "frames": len(rows), "rate_hz": rate}


def _rows(bag: Path) -> list[tuple[int, dict[str, np.ndarray], float]]:
    """(stamp, camera -> image, gripper width) at every frame of the first camera, once all have one."""
    newest: dict[str, np.ndarray] = {}
    width_m, rows = float("nan"), []
    for key, stamp_ns, value in read_events(bag):
        if key == "joints":
            width_m = float(value[7])
        elif key.startswith("images/"):
            newest[key] = value
            if key == image_key(CAMERAS[0]) and len(newest) == len(CAMERAS):
                rows.append((stamp_ns, dict(newest), width_m))
    return rows


def _draw(images: dict[str, np.ndarray], title: str, time_s: float, width_m: float) -> np.ndarray:
    views = np.concatenate([images[image_key(camera)] for camera in CAMERAS], 1)
    views = cv2.resize(views, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    bar = np.full((CAPTION_PX, views.shape[1], 3), 24, np.uint8)
    text = f"{time_s:5.1f} s   gripper {width_m * 1000:3.0f} mm   {title}"
    cv2.putText(bar, text, (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return np.ascontiguousarray(np.concatenate([views, bar], 0))

"""Human video of the lab's tasks: a hand with forearm, no robot, no action labels, as mp4.

The hand is drawn, not simulated: each frame its capsules are placed from the pinch pose and the aperture.
Its motion has its own style (faster, straighter, other start poses); skin, sleeve, table, wall, light, camera
pose and sway vary with the seed. True hand motion goes to a sibling folder `<out>.truth`, for metrics only.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import mujoco
import numpy as np

from como_ros.errors import ComoError
from como_ros.lab import scene
from como_ros.lab.operator import Plan
from como_ros.lab.render import Renderer
from como_ros.lab.tasks import Task, get_task
from policies import spaces

FINGER_X = (0.028, 0.006, -0.014, -0.032)
SKINS = np.array(
    [[0.96, 0.80, 0.69], [0.87, 0.67, 0.53], [0.71, 0.50, 0.36], [0.47, 0.31, 0.21], [0.31, 0.20, 0.14]]
)


@dataclass(frozen=True)
class VideoConfig:
    """How the clips are drawn."""

    fps: int = 15
    size_px: int = 224
    sway_m: float = 0.004


class HandScene:
    """The lab without robot, with a hand that can be put anywhere."""

    def __init__(self, task: Task, size_px: int) -> None:
        self.task = task
        self.model = scene.compiled(_hand_xml(task.objects_xml))
        self.data = mujoco.MjData(self.model)
        self._renderer = Renderer(self.model, (size_px, size_px))
        self._capsules = [i for i in range(self.model.ngeom) if self.model.geom(i).name.startswith("hand_")]
        self._camera = self.model.camera("front").id
        self._camera_pos = self.model.cam_pos[self._camera].copy()
        self._camera_quat = self.model.cam_quat[self._camera].copy()

    def dress(self, seed: int) -> None:
        """Skin, sleeve, table, walls, light and camera pose of a clip."""
        rng = np.random.default_rng([seed, 29])
        self.task.place(self.model, self.data, self.task.sample(seed))
        skin = SKINS[rng.integers(len(SKINS))] * rng.uniform(0.92, 1.06)
        for geom in self._capsules:
            self.model.geom_rgba[geom, :3] = np.clip(skin, 0, 1)
        self.model.geom_rgba[self.model.geom("hand_sleeve").id, :3] = rng.uniform(0.1, 0.9, 3)
        for name in ("table", "floor", "backdrop"):
            tint = self.model.geom_rgba[self.model.geom(name).id, :3]
            tint[:] = np.clip(tint * rng.uniform(0.75, 1.2) + rng.uniform(-0.06, 0.06, 3), 0.05, 1)
        self.model.light_diffuse[0] = 0.55 * rng.uniform(0.7, 1.25)
        self._eye = self._camera_pos + rng.uniform(-0.05, 0.05, 3)
        self._phase = rng.uniform(0, 2 * np.pi, 3)

    def move_things(self, places: Mapping[str, np.ndarray], slides: Mapping[str, float]) -> None:
        for name, place in places.items():
            scene.set_body(self.model, self.data, name, place)
        for name, metres in slides.items():
            self.data.qpos[self.model.joint(name).qposadr[0]] = metres

    def draw(
        self,
        pose7: np.ndarray,
        aperture_m: float,
        elbow: np.ndarray,
        time_s: float,
        sway_m: float,
    ) -> np.ndarray:
        self.model.cam_pos[self._camera] = self._eye + sway_m * np.sin(
            self._phase + time_s * np.array([1.1, 1.7, 0.8])
        )
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        for geom, (start, end, radius) in zip(
            self._capsules, _hand_segments(pose7, aperture_m, elbow), strict=True
        ):
            self._place_capsule(geom, start, end, radius)
        return self._renderer.colour(self.data, "front")

    def _place_capsule(self, geom: int, start: np.ndarray, end: np.ndarray, radius: float) -> None:
        axis = end - start
        length = np.linalg.norm(axis)
        z = axis / length
        x = np.cross([0, 1, 0] if abs(z[1]) < 0.9 else [1, 0, 0], z)
        x /= np.linalg.norm(x)
        self.data.geom_xpos[geom] = (start + end) / 2
        self.data.geom_xmat[geom] = np.stack([x, np.cross(z, x), z], 1).reshape(-1)
        self.model.geom_size[geom] = [radius, length / 2, 0]

    def close(self) -> None:
        self._renderer.close()


def _hand_xml(objects_xml: str) -> str:
    world = scene.bare_world(objects_xml)
    body = scene.find(world, "worldbody")
    body.remove(scene.find(body, "geom[@name='pedestal']"))
    world.remove(scene.find(world, "contact"))
    names = [f"hand_{part}{i}" for i in range(5) for part in ("low", "high")] + [
        "hand_palm",
        "hand_heel",
        "hand_sleeve",
    ]
    for name in names:
        ET.SubElement(
            body, "geom", name=name, type="capsule", size="0.01 0.02", group="1", contype="0", conaffinity="0"
        )
    return ET.tostring(world, encoding="unicode")


def _hand_segments(
    pose7: np.ndarray, aperture_m: float, elbow: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Capsules (start, end, radius) of thumb, four fingers, palm, heel and forearm in the world."""
    half = aperture_m / 2
    local = [((0.020, -0.030, -0.070), (0.022, -half - 0.030, -0.040), (0.012, -half - 0.009, 0.002), 0.0105)]
    for i, x in enumerate(FINGER_X):
        spread = 0.0 if i < 2 else 0.018 * (i - 1)
        knuckle, middle = (x, 0.022, -0.088), (x * 0.95, half + 0.040 + spread, -0.050)
        local.append(
            (knuckle, middle, (x * 0.6, half + 0.009 + spread, 0.002 - 0.6 * spread), 0.0092 - 0.0006 * i)
        )
    rotation, origin = spaces.matrix_from_quaternion(pose7[3:7]), pose7[:3]
    segments = []
    for low, middle, tip, radius in local:
        a, b, c = (origin + rotation @ np.array(p) for p in (low, middle, tip))
        segments += [(a, b, radius), (b, c, radius * 0.9)]
    palm_a, palm_b, heel, wrist = (
        origin + rotation @ np.array(p)
        for p in ((0.018, 0.0, -0.105), (-0.022, 0.0, -0.100), (0.0, -0.012, -0.125), (-0.01, 0.0, -0.165))
    )
    return [*segments, (palm_a, palm_b, 0.032), (heel, wrist, 0.029), (wrist, elbow, 0.036)]


def _smooth_aperture(plan: Plan, time_s: float) -> float:
    """A hand opens and closes over about 0.2 s, where a plan's width jumps."""
    return float(np.mean([plan.at(time_s - lag)[2] for lag in np.linspace(0, 0.2, 5)]))


def _clip_frames(hand: HandScene, seed: int, config: VideoConfig) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames and the truth: time, pose7, aperture per frame."""
    layout = hand.task.sample(seed)
    how = hand.task.hand_plan(layout, seed)
    hand.dress(seed)
    elbow_side = np.random.default_rng([seed, 53]).uniform(-0.12, 0.12)
    frames, truth = [], []
    for k in range(int(how.plan.duration_s * config.fps)):
        time_s = k / config.fps
        pose7, _, _ = how.plan.at(time_s)
        hand.move_things(*how.things_at(time_s, pose7))
        aperture = _smooth_aperture(how.plan, time_s)
        elbow = pose7[:3] + np.array([-0.26, elbow_side, 0.32])
        frames.append(hand.draw(pose7, aperture, elbow, time_s, config.sway_m))
        truth.append(np.concatenate([[time_s], pose7, [aperture]]))
    return frames, np.array(truth)


def _write_mp4(path: Path, frames: list[np.ndarray], fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=fps, options={"crf": "18", "preset": "veryfast", "threads": "1"}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def make_videos(task: str, clips: int, seed: int, out: Path, config: VideoConfig = VideoConfig()) -> dict:
    """Write `clips` mp4 files and an index of their instructions; truth goes beside, never inside."""
    if clips < 1:
        raise ComoError(f"--clips must be at least 1, got {clips}")
    known = get_task(task)
    truth_folder = out.with_name(out.name + ".truth")
    for folder in (out, truth_folder):
        folder.mkdir(parents=True, exist_ok=True)
    hand, total, index = HandScene(known, config.size_px), 0, {}
    for clip_seed in range(seed, seed + clips):
        frames, truth = _clip_frames(hand, clip_seed, config)
        name = f"{task}_{clip_seed:06d}"
        _write_mp4(out / f"{name}.mp4", frames, config.fps)
        np.savez_compressed(truth_folder / f"{name}.npz", truth=truth)
        index[f"{name}.mp4"] = known.sample(clip_seed).instruction
        total += len(frames)
    hand.close()
    (out / "index.json").write_text(json.dumps({"config": asdict(config), "instructions": index}, indent=1))
    return {"clips": clips, "frames": total}

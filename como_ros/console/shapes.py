"""What the arm looks like in the 3-D view: the lab's meshes where they are installed, else plain tubes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import trimesh

from como_ros.control.kinematics import link_frames
from como_ros.lab.meshes import cluster, read_mesh

Mesh = tuple[np.ndarray, np.ndarray]
HAND = 8
"""Index of the hand in `link_frames`; the fingers slide along its y."""
GRID_M, HAND_GRID_M = 0.02, 0.012
"""Without a GPU every corner costs time; the hand is what one looks at."""
RADIUS_M = (0.065, 0.06, 0.06, 0.055, 0.055, 0.05, 0.05, 0.045)
FINGER_Z_M, FINGER_LENGTH_M = 0.0584, 0.045


def meshes() -> tuple[list[Mesh], Mesh]:
    """Nine bodies, in the frames of `link_frames`, and a finger that opens along its own y."""
    found = importlib.util.find_spec("robosuite")
    if found is None or found.origin is None:
        return plain_meshes()
    return _lab_meshes(Path(found.origin).parent / "models/assets")


def _lab_meshes(assets: Path) -> tuple[list[Mesh], Mesh]:
    arm, hand = assets / "robots/panda/meshes", assets / "grippers/meshes/panda_gripper"
    paths = [*(arm / f"link{i}_vis.stl" for i in range(8)), hand / "hand_vis.stl"]
    grids_m = [GRID_M] * HAND + [HAND_GRID_M]
    bodies = [cluster(*read_mesh(path), grid_m) for path, grid_m in zip(paths, grids_m, strict=True)]
    return bodies, cluster(*read_mesh(hand / "finger_vis.stl"), HAND_GRID_M)


def plain_meshes() -> tuple[list[Mesh], Mesh]:
    """Tubes from joint to joint, by forward kinematics alone."""
    frames = link_frames(np.zeros(7))
    bodies = []
    for i in range(HAND):
        end = (np.linalg.inv(frames[i]) @ frames[i + 1])[:3, 3]
        ball = trimesh.creation.icosphere(2, RADIUS_M[i])
        tube = [_tube(end, RADIUS_M[i] * 0.9)] if np.linalg.norm(end) > 1e-3 else []
        bodies.append(_joined([ball, *tube]))
    palm = trimesh.creation.box((0.05, 0.20, 0.06))
    palm.apply_translation((0.0, 0.0, 0.03))
    finger = trimesh.creation.box((0.02, 0.012, FINGER_LENGTH_M))
    finger.apply_translation((0.0, 0.006, FINGER_LENGTH_M / 2))
    return [*bodies, _joined([palm])], _joined([finger])


def _tube(end: np.ndarray, radius_m: float) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius_m, segment=[np.zeros(3), end], sections=24)


def _joined(parts: list[trimesh.Trimesh]) -> Mesh:
    counts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, counts[:-1], strict=True)]
    return np.concatenate([part.vertices for part in parts]), np.concatenate(faces)

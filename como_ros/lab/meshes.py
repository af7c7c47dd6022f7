"""Robot meshes light enough to render on a CPU: vertices clustered on a grid finer than a pixel.

Rendering time here is spent on vertices, not pixels, and at 128 pixels a 5 mm grid cannot be told from the
original. Collision meshes are left alone: they are convex hulls already and physics depends on them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

GRID_M = 0.005


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of an .obj or binary .stl file."""
    return _read_obj(path) if path.suffix == ".obj" else _read_stl(path)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        if line.startswith("v "):
            vertices.append([float(number) for number in line.split()[1:4]])
        elif line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            faces += [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
    return np.array(vertices), np.array(faces, int)


def _read_stl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    raw = path.read_bytes()
    count = int(np.frombuffer(raw, "<u4", 1, 80)[0])
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.frombuffer(raw, record, count, 84)["corners"].reshape(-1, 3).astype(float)
    return corners, np.arange(len(corners)).reshape(-1, 3)


def cluster(vertices: np.ndarray, faces: np.ndarray, grid_m: float = GRID_M) -> tuple[np.ndarray, np.ndarray]:
    """Merge the vertices of each grid cell into their mean and drop triangles that collapse."""
    _, cell = np.unique(np.round(vertices / grid_m).astype(int), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    counts = np.bincount(cell)
    merged = np.stack([np.bincount(cell, vertices[:, axis]) / counts for axis in range(3)], 1)
    triangles = cell[faces]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    triangles = np.unique(np.sort(triangles, 1), axis=0, return_index=True)[1] if len(triangles) else []
    kept = cell[faces][(a != b) & (b != c) & (a != c)][triangles]
    used, compact = np.unique(kept, return_inverse=True)
    return merged[used], compact.reshape(-1, 3)


def light_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The clustered mesh, or the original where clustering would flatten it to nothing."""
    vertices, faces = read_mesh(path)
    light_vertices, light_faces = cluster(vertices, faces)
    flat = (
        len(light_vertices) < 8
        or np.linalg.matrix_rank(light_vertices - light_vertices.mean(0), tol=1e-3) < 3
    )
    return (vertices, faces) if flat else (light_vertices, light_faces)

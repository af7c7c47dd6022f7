"""Robot meshes light enough to render on a CPU: vertices clustered on a grid finer than a pixel.

Rendering time here is spent on vertices, not pixels, and at 128 pixels a 5 mm grid cannot be told from the
original. Collision meshes are left alone: they are convex hulls already and physics depends on them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

GRID_M = 0.005
VERTEX, FACE = re.compile(r"^v (.*)", re.MULTILINE), re.compile(r"^f (.*)", re.MULTILINE)
BEHIND_SLASH = re.compile(r"/\S*")
"""Of a corner, which names its vertex first, then texture and normal."""


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of an .obj or binary .stl file."""
    return _read_obj(path) if path.suffix == ".obj" else _read_stl(path)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """In whole columns: read word by word, fifty meshes took most of the time in which a lab starts."""
    text = path.read_text()
    vertices = _table(VERTEX.findall(text), float)[:, :3]
    corners = _table(FACE.findall(text), int) - 1
    fans = [corners[:, [0, i, i + 1]] for i in range(1, corners.shape[1] - 1)]
    return vertices, np.stack(fans, 1).reshape(-1, 3)


def _table(rows: list[str], dtype: type) -> np.ndarray:
    """As many numbers in every row; a mesh of mixed polygons has none of our robots."""
    numbers = BEHIND_SLASH.sub("", " ".join(rows))
    return np.fromstring(numbers, dtype, sep=" ").reshape(len(rows), -1)


def _read_stl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    raw = path.read_bytes()
    count = int(np.frombuffer(raw, "<u4", 1, 80)[0])
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.frombuffer(raw, record, count, 84)["corners"].reshape(-1, 3).astype(float)
    return corners, np.arange(len(corners)).reshape(-1, 3)


def _keys(rows: np.ndarray) -> np.ndarray:
    """One number for each (N, 3) row of small integers, in the same order."""
    from_zero = rows - rows.min(0)
    _, height, width = from_zero.max(0) + 1
    return (from_zero[:, 0] * height + from_zero[:, 1]) * width + from_zero[:, 2]


def cluster(vertices: np.ndarray, faces: np.ndarray, grid_m: float = GRID_M) -> tuple[np.ndarray, np.ndarray]:
    """Merge the vertices of each grid cell into their mean and drop triangles that collapse."""
    _, cell = np.unique(_keys(np.round(vertices / grid_m).astype(int)), return_inverse=True)
    counts = np.bincount(cell)
    merged = np.stack([np.bincount(cell, vertices[:, axis]) / counts for axis in range(3)], 1)
    triangles = cell[faces]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    triangles = np.unique(_keys(np.sort(triangles, 1)), return_index=True)[1] if len(triangles) else []
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

"""What tables, walls and floors are made of: grey patterns drawn with numpy, multiplied into a colour.

Each pattern is a texture and one material a scale, compiled into every world of the lab and used by none
until a layout says so. Seeded once and for all: a pattern has the same bytes in every process.
"""

from __future__ import annotations

import mujoco
import numpy as np

SIZE_PX = 256
SCALES = (1, 2, 4)
"""Tiles a metre."""


def wood() -> np.ndarray:
    """Planks with a grain that runs along them and knots that bend it."""
    y, x = np.mgrid[0 : 1 : SIZE_PX * 1j, 0 : 1 : SIZE_PX * 1j]
    plank = np.floor(y * 4)
    bend = 0.012 * np.sin(2 * np.pi * (x + 0.37 * plank)) + 0.004 * np.sin(6 * np.pi * x + plank)
    grain = np.sin(2 * np.pi * (30 * (y + bend) + 0.3 * _noise(3, 8)))
    tone = np.array([0.86, 0.94, 0.80, 0.90])[plank.astype(int) % 4]
    seam = 1 - 0.35 * (np.abs(y * 4 - np.round(y * 4)) < 0.02)
    return (tone + 0.04 * grain + 0.05 * _noise(4, 32)) * seam


def cloth() -> np.ndarray:
    """A weave of broad and narrow stripes both ways."""
    t = np.arange(SIZE_PX)
    stripe = 0.16 * (t // 32 % 2) + 0.10 * (t // 8 % 8 == 0)
    thread = 0.05 * ((t[:, None] // 2 + t // 2) % 2)
    return 0.95 - stripe[:, None] - stripe - thread


def stone() -> np.ndarray:
    """Clouds of grey with dark specks and a few veins."""
    clouds = 0.5 * _noise(11, 4) + 0.3 * _noise(12, 16) + 0.2 * _noise(13, 64)
    veins = np.exp(-(((_noise(14, 6) + 0.3 * _noise(15, 32)) / 0.05) ** 2))
    return 0.78 + 0.20 * clouds - 0.22 * veins - 0.25 * (_noise(16, 128) > 0.75)


def checks() -> np.ndarray:
    """A tablecloth's squares."""
    side = np.arange(SIZE_PX) // 64 % 2
    return np.where(side[:, None] == side, 0.95, 0.55)


PATTERNS = {make.__name__: make for make in (wood, cloth, stone, checks)}
MATERIALS = tuple(f"{name}_{scale}" for name in PATTERNS for scale in SCALES)
ASSETS_XML = "".join(
    f'<texture name="{name}" type="2d" builtin="flat" rgb1="1 1 1" width="{SIZE_PX}" height="{SIZE_PX}"/>'
    + "".join(
        f'<material name="{name}_{scale}" texture="{name}" texrepeat="{scale} {scale}" texuniform="true"/>'
        for scale in SCALES
    )
    for name in PATTERNS
)


def draw_textures(model: mujoco.MjModel) -> None:
    """Fill the patterns in; before a renderer is made, which copies them."""
    for name, make in PATTERNS.items():
        grey = np.clip(make() * 255, 0, 255).astype(np.uint8)
        texture = model.texture(name).id
        start, channels = model.tex_adr[texture], model.tex_nchannel[texture]
        model.tex_data[start : start + grey.size * channels] = np.repeat(grey.reshape(-1), channels)


def _noise(seed: int, cells: int) -> np.ndarray:
    """Smooth noise in -1..1 that repeats at the edges."""
    grid = np.random.default_rng([seed, cells]).uniform(-1, 1, (cells, cells))
    at = np.arange(SIZE_PX) * cells / SIZE_PX
    low, part = at.astype(int), at % 1
    part = part * part * (3 - 2 * part)
    high = (low + 1) % cells
    rows = grid[low] * (1 - part[:, None]) + grid[high] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, high] * part

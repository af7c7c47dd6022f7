"""A slice of bread, a toast rack and a toaster, of boxes and three cylinders; sizes near life."""

from __future__ import annotations

import numpy as np

SLICE_HALF_M, SLICE_HALF_THICK_M, CORNER_M, CRUST_M = 0.045, 0.008, 0.024, 0.004
RACK_FLOOR_M, RACK_TOP_M, RACK_GAP_HALF_M = 0.012, 0.052, 0.0105
RIM_M, SLOT_FLOOR_M = 0.150, 0.090
"""Heights above the table."""
SLOT_YS_M, SLOT_HALF_M, SLOT_HALF_LENGTH_M = (-0.030, 0.030), 0.012, 0.060
FLARE_M, FLARE_DEEP_M = 0.006, 0.008
"""By how much, each side, and how far down the slots widen."""
TOASTER_HALF_M, TOASTER_FOOT_M, TOASTER_ROUND_M = (0.120, 0.080), 0.014, 0.016

CRUST_RGB, CRUMB_RGB, METAL_RGB = (0.52, 0.32, 0.15), (1.0, 0.92, 0.73), (0.70, 0.72, 0.74)
DARK_RGB, STEEL_RGB, CHINA_RGB = (0.06, 0.06, 0.07), (0.30, 0.31, 0.34), (0.90, 0.90, 0.88)
GHOST = 'contype="0" conaffinity="0" mass="0"'
"""Of a part that only shows."""
HIDDEN = 'group="3"'
"""Of a part to touch that no camera sees."""
SLICK = 'friction="0.4 0.005 0.0001"'
"""Of metal; the fingers' pads have 2, all else 1."""

Triple = tuple[float, float, float]


def _words(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{x:.5f}" for x in numbers)


def _box(name: str, half: Triple, at: Triple, rgb: Triple, more: str = "") -> str:
    where = f'size="{_words(half)}" pos="{_words(at)}"'
    return f'<geom name="{name}" type="box" {where} rgba="{_words(rgb)} 1" {more}/>\n'


def _rod(name: str, radius: float, half_length: float, at: Triple, rgb: Triple) -> str:
    """A cylinder along x."""
    where = f'size="{radius} {half_length}" pos="{_words(at)}" euler="0 1.570796 0"'
    return f'<geom name="{name}" type="cylinder" {where} rgba="{_words(rgb)} 1"/>\n'


def _outline(name: str, border: float, half_thick: float, rgb: Triple) -> str:
    """A square with its upper corners cut, less a border, of boxes that only show."""
    half, low = SLICE_HALF_M - border, SLICE_HALF_M - CORNER_M
    tip, turned = (CORNER_M - border) / np.sqrt(2), f'euler="0 0.785398 0" {GHOST}'
    return (
        _box(f"{name}_low", (half, half_thick, (half + low) / 2), (0, 0, (low - half) / 2), rgb, GHOST)
        + _box(f"{name}_top", (low, half_thick, half), (0, 0, 0), rgb, GHOST)
        + _box(f"{name}_left", (tip, half_thick, tip), (-low, 0, low), rgb, turned)
        + _box(f"{name}_right", (tip, half_thick, tip), (low, 0, low), rgb, turned)
    )


def _bread_xml() -> str:
    """One box to touch, eight to see."""
    half = (SLICE_HALF_M, SLICE_HALF_THICK_M, SLICE_HALF_M)
    touch = f'{HIDDEN} {SLICK} mass="0.03" condim="4"'
    return (
        _box("bread_solid", half, (0, 0, 0), CRUST_RGB, touch)
        + _outline("crust", 0.0, SLICE_HALF_THICK_M, CRUST_RGB)
        + _outline("crumb", CRUST_M, SLICE_HALF_THICK_M + 0.0003, CRUMB_RGB)
    )


def _rack_xml() -> str:
    """A base and four wire frames; the slice stands in the middle one of three bays."""
    wire, high = 0.002, (RACK_TOP_M - RACK_FLOOR_M) / 2
    inner, outer = RACK_GAP_HALF_M + wire, 3 * RACK_GAP_HALF_M + 3 * wire
    base = (0.060, outer + 0.006, RACK_FLOOR_M / 2)
    parts = _box("rack_base", base, (0, 0, RACK_FLOOR_M / 2), CHINA_RGB)
    for i, y in enumerate((-outer, -inner, inner, outer)):
        parts += _box(f"rack_rail{i}", (0.044, wire, wire), (0, y, RACK_TOP_M - wire), STEEL_RGB)
        for side, x in (("a", -0.042), ("b", 0.042)):
            parts += _box(f"rack_post{i}{side}", (wire, wire, high), (x, y, RACK_FLOOR_M + high), STEEL_RGB)
    return parts


def _metal(
    name: str, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], more: str = SLICK
) -> str:
    """A part of the toaster's shell, from where to where."""
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    half, middle = (
        ((x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2),
        ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2),
    )
    return _box(f"toaster_{name}", half, middle, METAL_RGB, more)


def _shell_xml() -> str:
    """Two ends, two sides rounded at the top, and three bars that leave two slots and narrow at the rims."""
    (length, width), slot = TOASTER_HALF_M, SLOT_HALF_LENGTH_M
    core, cheek, shoulder = width - TOASTER_ROUND_M, RIM_M - TOASTER_ROUND_M, RIM_M - FLARE_DEEP_M
    whole, edges = (TOASTER_FOOT_M, RIM_M), [y + s * SLOT_HALF_M for y in SLOT_YS_M for s in (-1, 1)]
    parts = _metal("front", (slot, length), (-core, core), whole)
    parts += _metal("back", (-length, -slot), (-core, core), whole)
    for i, side in enumerate((-1, 1)):
        cheeks = (min(side * core, side * width), max(side * core, side * width))
        parts += _metal(f"side{i}", (-length, length), cheeks, (TOASTER_FOOT_M, cheek))
        parts += _rod(f"toaster_edge{i}", TOASTER_ROUND_M, length, (0, side * core, cheek), METAL_RGB)
    bars = ((-core, edges[0]), (edges[1], edges[2]), (edges[3], core))
    for i, (left, right) in enumerate(bars):
        narrow = (left + FLARE_M * (i > 0) - 0.0004, right - FLARE_M * (i < 2) + 0.0004)
        parts += _metal(
            f"bar{i}", (-slot, slot), (left, right), (TOASTER_FOOT_M, shoulder), f"{HIDDEN} {SLICK}"
        )
        parts += _metal(f"top{i}", (-slot, slot), narrow, (shoulder, RIM_M))
    return parts


def _slots_xml() -> str:
    """Slanted lips that guide a slice in, floors it stands on, and darkness in between."""
    slope, thick, along = np.arctan2(FLARE_M, FLARE_DEEP_M), 0.002, np.hypot(FLARE_M, FLARE_DEEP_M) / 2
    length, parts = SLOT_HALF_LENGTH_M, ""
    for i, y in enumerate(SLOT_YS_M):
        parts += _box(
            f"slot_floor{i}", (length, SLOT_HALF_M, 0.01), (0, y, SLOT_FLOOR_M - 0.01), DARK_RGB, HIDDEN
        )
        parts += _box(
            f"slot_dark{i}", (length, SLOT_HALF_M, 0.001), (0, y, RIM_M - FLARE_DEEP_M), DARK_RGB, GHOST
        )
        for name, side in (("w", -1), ("e", 1)):
            across = SLOT_HALF_M + FLARE_M / 2 + thick * np.cos(slope)
            at = (0, y + side * across, RIM_M - FLARE_DEEP_M / 2 - thick * np.sin(slope))
            turned = f'euler="{-side * slope:.5f} 0 0" {SLICK}'
            parts += _box(f"slot_{name}{i}", (length, thick, along), at, STEEL_RGB, turned)
    return parts


def _trim_xml() -> str:
    """What makes it a toaster to the eye: a dark base on feet, a lever in its groove, a knob."""
    (length, width), parts = TOASTER_HALF_M, ""
    for i, (side, end) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        at = (end * (length - 0.025), side * (width - 0.020), 0.005)
        parts += _box(f"toaster_foot{i}", (0.012, 0.012, 0.005), at, DARK_RGB, GHOST)
    parts += _box("toaster_base", (length + 0.002, width + 0.002, 0.008), (0, 0, 0.018), DARK_RGB, GHOST)
    parts += _box("toaster_groove", (0.002, 0.004, 0.040), (length + 0.001, -0.018, 0.088), DARK_RGB, GHOST)
    parts += _box("toaster_lever", (0.012, 0.020, 0.007), (length + 0.013, -0.018, 0.114), DARK_RGB)
    return parts + _rod("toaster_knob", 0.013, 0.009, (length + 0.007, 0.036, 0.062), DARK_RGB)


OBJECTS_XML = f"""
<body name="bread" pos="0.5 -0.15 0.057"><freejoint name="bread_free"/>
{_bread_xml()}</body>
<body name="rack" pos="0.5 -0.15 0" mocap="true">
{_rack_xml()}</body>
<body name="toaster" pos="0.5 0.2 0" mocap="true">
{_shell_xml()}{_slots_xml()}{_trim_xml()}</body>
"""


def tints(rng: np.random.Generator, spread: float) -> dict[str, np.ndarray]:
    """Bread more or less baked, metal more or less bright: geom name to rgb, every part of a thing alike."""
    bake, shine = (
        rng.uniform(-spread, spread) + rng.uniform(-spread, spread, 3) / 2,
        rng.uniform(-spread, spread),
    )
    loaf, sides = ("low", "top", "left", "right"), ("side", "edge", "bar", "top")
    shell = ("front", "back", *(f"{part}{i}" for part in sides for i in range(3 if part in sides[2:] else 2)))
    colours = {f"crust_{part}": np.add(CRUST_RGB, bake) for part in loaf}
    colours |= {f"crumb_{part}": np.add(CRUMB_RGB, bake / 2) for part in loaf}
    colours |= {f"toaster_{part}": np.add(METAL_RGB, shine) for part in shell}
    return {name: np.clip(rgb, 0, 1) for name, rgb in colours.items()}

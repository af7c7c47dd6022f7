"""A picture cut and shrunk to a policy's size shows the same things where its new intrinsics say."""

import numpy as np
import pytest

from como_ros.drivers.realsense import Frame, Intrinsics
from como_ros.errors import ComoError

pytest.importorskip("cv2")
from como_ros.drivers.framing import Framing
from policies.framing import fit

PINHOLE = Intrinsics(640, 480, 600.0, 610.0, 321.5, 236.5)


def frame(color: np.ndarray, depth: np.ndarray | None = None) -> Frame:
    return Frame(color, depth, 7, 3)


def test_the_middle_square_is_kept_and_averaged_over_its_area():
    color = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    small = Framing((480, 640), (120, 120)).frame(frame(color))
    blocks = color[:, 80:560].reshape(120, 4, 120, 4, 3).mean((1, 3))
    assert np.abs(small.color - blocks).max() <= 0.5
    assert (small.stamp_ns, small.number, small.depth) == (7, 3, None)


@pytest.mark.parametrize("image_hw", [(128, 128), (240, 320), (100, 250), (480, 640)])
def test_a_point_lands_where_the_new_intrinsics_say(image_hw):
    framing, focus = Framing((480, 640), image_hw), PINHOLE
    color = np.zeros((480, 640, 3), np.uint8)
    x, y = 0.11, -0.08
    u, v = round(focus.fx * x + focus.cx), round(focus.fy * y + focus.cy)
    color[v - 8 : v + 9, u - 8 : u + 9] = 200
    mass = framing.frame(frame(color)).color[..., 0].astype(float)
    rows, columns = np.indices(mass.shape)
    found = (columns * mass).sum() / mass.sum(), (rows * mass).sum() / mass.sum()
    new = framing.intrinsics(focus)
    assert (new.height, new.width) == image_hw == mass.shape
    x, y = (u - focus.cx) / focus.fx, (v - focus.cy) / focus.fy
    np.testing.assert_allclose(found, (new.fx * x + new.cx, new.fy * y + new.cy), atol=0.05)


def test_depth_is_measured_never_mixed():
    depth = np.where(np.arange(640) < 333, 500, 2000).astype(np.uint16) * np.ones((480, 1), np.uint16)
    small = Framing((480, 640), (128, 128)).frame(frame(np.zeros((480, 640, 3), np.uint8), depth))
    assert small.depth is not None
    assert small.depth.dtype == np.uint16
    assert set(np.unique(small.depth)) == {500, 2000}


def test_the_camera_s_own_size_changes_nothing():
    color = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    framing = Framing((480, 640), (480, 640))
    np.testing.assert_array_equal(framing.frame(frame(color)).color, color)
    assert framing.intrinsics(PINHOLE) == PINHOLE


@pytest.mark.parametrize("image_hw", [(481, 100), (0, 10)])
def test_a_size_that_does_not_fit_is_refused(image_hw):
    with pytest.raises(ComoError, match=r"does not fit into the camera's \[480, 640\]"):
        Framing((480, 640), image_hw)


def test_a_picture_that_is_not_larger_stays_as_it_is():
    for image_hw in ((128, 128), (100, 640), (64, 64)):
        image = np.ones((*image_hw, 3), np.uint8)
        assert fit(image, (128, 128)) is image

"""Masks from motion alone: a moving thing is found, the camera's motion is not; images carry their masks."""

import numpy as np
import pytest

from como_ros.errors import ComoError
from training.features import Augmentation, augmented
from training.latent_motion.config import PRESETS
from training.latent_motion.data import patches_and_coverage
from training.masks import changes, flow_masks, masks_of, overlap

PX = 128


def room(seed: int = 0) -> np.ndarray:
    """(160, 160, 3): a wall with large soft spots, that optical flow can follow."""
    import cv2

    rng = np.random.default_rng(seed)
    return cv2.resize(
        rng.integers(40, 200, (20, 20, 3), dtype=np.uint8), (160, 160), interpolation=cv2.INTER_CUBIC
    )


def clip(frames: int = 18, sway: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A dark square crosses the room by 4 px a frame; the camera sways by up to `sway` px."""
    images, masks = [], []
    for t in range(frames):
        wall, square = room().copy(), np.zeros((160, 160), np.uint8)
        square[60:90, 20 + 4 * t : 44 + 4 * t] = 255
        wall[square > 0] = (90, 10, 10)
        x = 10 + round(sway * np.sin(t))
        images.append(wall[10 : 10 + PX, x : x + PX])
        masks.append(square[10 : 10 + PX, x : x + PX])
    return np.stack(images), np.stack(masks)


@pytest.mark.parametrize("sway", [0, 3])
def test_what_moves_is_found_whether_or_not_the_camera_sways(sway):
    frames, true = clip(sway=sway)
    found = flow_masks(frames)
    assert np.mean([overlap(a, b) for a, b in zip(found, true, strict=True)]) > 0.6


def test_a_camera_that_moves_alone_leaves_nothing():
    wall = room()
    assert changes(wall[10:138, 10:138], wall[12:140, 14:142]).mean() < 0.01


def test_a_mask_goes_where_its_image_goes():
    true = clip()[1]
    marked = np.where(true[..., None] > 0, np.uint8(255), np.uint8(0)).repeat(3, -1)
    how = Augmentation(copies=3, jitter=0.0)
    batches = list(augmented(np.concatenate([marked, true[..., None]], -1), how, np.zeros(len(true), int)))
    assert [copy for copy, _, _ in batches] == [0, 1, 2]
    for _, _, batch in batches:
        assert (batch[..., 0] == batch[..., 3]).all()
    assert not (batches[1][2] == batches[0][2]).all()


def test_coverage_and_pixels_come_from_the_same_augmented_copy():
    true = clip()[1]
    black = np.where(true[..., None] > 0, np.uint8(255), np.uint8(0)).repeat(3, -1)
    how = Augmentation(copies=2, jitter=0.0)
    patches, coverage = patches_and_coverage(black, true, how, np.zeros(len(true), int), PRESETS["lab"])
    assert coverage.shape == (2, len(true), 64)
    assert np.abs((patches.mean(-1) + 1) / 2 - coverage).max() < 2e-3
    assert not np.array_equal(coverage[0], coverage[1])


def test_precomputed_masks_are_read_by_name_and_must_fit(tmp_path):
    frames, true = clip()
    np.savez(tmp_path / "one.npz", masks=true > 0)
    assert np.array_equal(masks_of("precomputed", [("one", frames)], tmp_path, tmp_path), true)
    with pytest.raises(ComoError, match=r"two\.npz is missing"):
        masks_of("precomputed", [("two", frames)], tmp_path, tmp_path)
    with pytest.raises(ComoError, match="masks of shape"):
        masks_of("precomputed", [("one", frames[:5])], tmp_path, tmp_path)
    with pytest.raises(ComoError, match="give it with --masks"):
        masks_of("precomputed", [("one", frames)], None, tmp_path)


def test_flow_masks_are_made_once_for_a_set_of_frames(tmp_path):
    frames, _ = clip()
    first = masks_of("flow", [("one", frames)], None, tmp_path)
    made = next(tmp_path.glob("masks-*.npy"))
    stamp = made.stat().st_mtime_ns
    assert np.array_equal(first, masks_of("flow", [("one", frames)], None, tmp_path))
    assert made.stat().st_mtime_ns == stamp
    masks_of("flow", [("one", frames[1:])], None, tmp_path)
    assert len(list(tmp_path.glob("masks-*.npy"))) == 2


def test_a_segmenter_that_is_not_here_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ComoError, match="give them as 'precomputed', or take 'flow'"):
        masks_of("sam2", [("one", clip()[0])], None, tmp_path)

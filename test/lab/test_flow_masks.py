"""Flow masks against the lab's truth: the pixels that a clip loses when its hand is not drawn."""

import numpy as np

from como_ros.lab.hand_scene import PARTS, HandScene
from como_ros.lab.hands import VideoConfig, clip_frames
from como_ros.lab.tasks import get_task
from training.masks import flow_masks, overlap

CONFIG = VideoConfig(fps=10, size_px=128)


def clip_and_truth(seed: int) -> tuple[np.ndarray, np.ndarray]:
    hand = HandScene(get_task("pick_place"), CONFIG.size_px)
    frames = np.stack(clip_frames(hand, seed, CONFIG)[0])
    hand.model.geom_rgba[[hand.model.geom(f"hand_{part}").id for part in PARTS], 3] = 0
    bare = np.stack(clip_frames(hand, seed, CONFIG)[0])
    hand.close()
    return frames, np.abs(frames.astype(int) - bare).max(-1) > 8


def test_flow_masks_lie_on_the_hand():
    overlaps = []
    for seed in (610, 611):
        frames, true = clip_and_truth(seed)
        overlaps += [overlap(a, b) for a, b in zip(flow_masks(frames), true, strict=True)]
    assert np.mean(overlaps) > 0.5
    assert np.median(overlaps) > 0.6

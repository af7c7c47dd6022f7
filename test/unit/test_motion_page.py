"""The page about a motion model: one file with everything in it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from como_ros.errors import ComoError
from policies.nets.encoder import LabEncoder
from policies.spaces import Contract
from training.episodes import Episode
from training.latent_motion import model
from training.latent_motion.config import ABLATION, PRESETS, MotionConfig
from training.latent_motion.pictures import moved, sheet
from training.motion_data import FrozenEncoder, motion_data
from training.motion_page import page
from training.motion_shown import in_turn, liveliest, look, paint
from training.optimize import Schedule
from training.videos import Clip

ENCODER = FrozenEncoder(LabEncoder(1).eval().requires_grad_(False), "abc", Contract(), Path())
RNG = np.random.default_rng(0)
PAIR = (128, 128, 3)


def recordings(length: int = 9) -> tuple[list[Episode], list[Clip]]:
    """Two of each, in which a square wanders over noise."""
    films = RNG.integers(0, 255, (4, length, *PAIR), dtype=np.uint8)
    for film in films:
        for tick, frame in enumerate(film):
            frame[40:60, 10 * tick : 10 * tick + 20] = 255
    states = np.zeros((length, 17), np.float32)
    nothing = np.zeros((length, 7))
    made = [
        Episode(Path(str(i)), "", {"front": film}, states, nothing, np.zeros(length))
        for i, film in enumerate(films[:2])
    ]
    return made, [Clip(Path(f"{i}.mp4"), film, 10.0) for i, film in enumerate(films[2:])]


def trained(folder: Path, config: MotionConfig) -> Path:
    episodes, clips = recordings()
    data = motion_data(episodes, clips, ENCODER, config, copies=0)
    model.train_on(data, folder, config, Contract(), "abc", {"videos": "<clips>"})
    return folder


def test_the_page_holds_all_its_pictures_and_the_curve(tmp_path):
    text = page(*model.load(trained(tmp_path, PRESETS["debug"])), ENCODER, *recordings())
    for title in ("Config", "Loss", "Painted", "Motion swapped", "Neighbours across embodiments"):
        assert f"<h2>{title}</h2>" in text
    assert "<h2>Words</h2>" not in text
    assert text.count('src="data:image/png;base64,') == text.count("<img") == 3
    assert not re.search(r"https?:|<script|<link", text)
    assert "&lt;clips&gt;" in text


def test_a_book_shows_its_words_and_a_model_of_features_the_nearest_real_frames(tmp_path):
    tiny = {"width": 32, "blocks": 1, "decoder_blocks": 1, "schedule": Schedule(steps=1, batch=4)}
    folder = trained(tmp_path, replace(ABLATION["dual"], **tiny))
    episodes, clips = recordings()
    text = page(*model.load(folder), ENCODER, episodes, [])
    assert "<h2>Words</h2>" in text
    assert "Neighbours" not in text
    shown = look(model.load(folder)[0], ENCODER, episodes, clips)
    for image in paint(shown, [0, 1], [1, 0]):
        assert any(np.array_equal(image, frame) for frame in shown.images)


def test_pairs_are_the_liveliest_of_every_recording_by_turns(tmp_path):
    episodes, clips = recordings()
    episodes[0].images["front"][:, :, :] = 0
    episodes[0].images["front"][8] = 255
    made = model.load(trained(tmp_path, PRESETS["debug"]))
    shown = look(made[0], ENCODER, episodes, clips)
    assert shown.starts[liveliest(shown, True)[0]] == 3
    assert shown.robot[in_turn(shown)].tolist() == [True, False, True, False]
    with pytest.raises(ComoError, match=r"no recording is longer than the 0\.5 s"):
        page(*made, ENCODER, *recordings(4))
    short, long = recordings(4)[0], recordings()[0]
    assert "<h2>Painted</h2>" in page(*made, ENCODER, short + long, [])
    assert "Measured" not in page(*made, ENCODER, 4 * long, [])


def test_a_pair_shows_its_first_frame_in_cyan_and_its_later_one_in_red():
    first, later = np.zeros((2, *PAIR), np.uint8)
    first[:10], later[20:30] = 255, 255
    seen = moved(first, later)
    assert seen[5, 5].tolist() == [0, 255, 255]
    assert seen[25, 5].tolist() == [255, 0, 0]
    assert moved(first, first)[5, 5].tolist() == [255, 255, 255]


def test_a_sheet_leaves_the_paper_where_there_is_no_picture():
    black = np.zeros((8, 8, 3), np.uint8)
    whole = sheet([[None, black], [black]])
    assert whole.shape == (20, 20, 3)
    assert whole[:8, :8].min() == whole[12:, 12:].min() == 255
    assert whole[:8, 12:].max() == whole[12:, :8].max() == 0


def test_each_frame_is_painted_with_its_own_motion(tmp_path):
    shown = look(model.load(trained(tmp_path, PRESETS["debug"]))[0], ENCODER, *recordings())
    together = paint(shown, [0, 15], [9, 4])
    for image, frame, motion in zip(together, [0, 15], [9, 4], strict=True):
        alone = paint(shown, [frame], [motion])[0]
        assert image.shape == PAIR
        assert np.abs(image.astype(int) - alone).max() <= 2
    assert np.abs(together[0].astype(int) - together[1]).max() > 20

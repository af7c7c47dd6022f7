"""Pictures of a task: small, whole, and of an episode that succeeds."""

import itertools

import av
import cv2
import pytest

from como_ros.errors import ComoError
from como_ros.lab.gallery import COLUMNS, FILM_PX, SHEET_PX, make_gallery

SMALL_BYTES = 400_000


def test_a_task_gets_one_small_sheet_and_one_small_film(tmp_path):
    assert make_gallery(tmp_path, ("open_drawer",)) == {"pictures": 1, "films": 1}
    assert {path.name for path in tmp_path.iterdir()} == {"open_drawer.png", "open_drawer.mp4"}
    assert all(path.stat().st_size < SMALL_BYTES for path in tmp_path.iterdir())
    sheet = cv2.imread(str(tmp_path / "open_drawer.png"))
    assert sheet.shape == (5 * SHEET_PX, COLUMNS * SHEET_PX, 3)
    rows = sheet.reshape(5, SHEET_PX, -1)
    assert all((one != other).mean() > 0.2 for one, other in itertools.pairwise(rows))
    with av.open(str(tmp_path / "open_drawer.mp4")) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert pictures[0].shape == (FILM_PX, 3 * FILM_PX, 3)
    assert 40 < len(pictures) < 200


def test_a_task_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ComoError, match="no task named 'juggle'"):
        make_gallery(tmp_path / "out", ("juggle",))
    assert not (tmp_path / "out").exists()

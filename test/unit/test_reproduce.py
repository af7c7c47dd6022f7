"""`como reproduce` goes on with its own work, and leaves everybody else's alone."""

import pytest

from como_ros.errors import ComoError
from como_ros.reproduce import _claim, reproduce

RECIPE = {"task": "pick_place", "episodes": 2}


def test_demonstrations_that_it_did_not_make_are_never_deleted(tmp_path):
    (tmp_path / "demos").mkdir()
    (tmp_path / "demos" / "mine").write_text("an afternoon")
    with pytest.raises(ComoError, match=r"demos is not of this recipe and would be deleted"):
        reproduce(tmp_path / "bundle", tmp_path)
    assert (tmp_path / "demos" / "mine").read_text() == "an afternoon"
    assert [path.name for path in tmp_path.iterdir()] == ["demos"]


def test_its_own_unfinished_demonstrations_do_not_stop_it(tmp_path):
    _claim(tmp_path, RECIPE)
    (tmp_path / "demos").mkdir()
    _claim(tmp_path, RECIPE)


def test_another_recipe_is_refused_only_where_a_stage_of_the_first_is_done(tmp_path):
    _claim(tmp_path, {**RECIPE, "task": "a typing error"})
    _claim(tmp_path, RECIPE)
    (tmp_path / "demos.json").write_text("{}")
    _claim(tmp_path, RECIPE)
    with pytest.raises(ComoError, match="begun with another recipe"):
        _claim(tmp_path, {**RECIPE, "episodes": 3})

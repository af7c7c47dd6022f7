"""Scripted demonstrations: bags with all that a recorder writes, from either range, with or without sight."""

import numpy as np
import pytest

from como_ros import bags, wire
from como_ros.bag_checks import check_episode
from como_ros.errors import ComoError
from como_ros.lab.demos import make_demos

NOT_IN_FAST_MODE = {"diagnostics", "command_chunk", "depth/front", "depth/wrist"}
"""No processes that could fare ill, no policy, no depth cameras."""
CUBE_N = 0.05 * 9.81


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One seed three times: with cameras, without, and from the other range."""
    root = tmp_path_factory.mktemp("demos")
    ranges = {"seen": ("training", True), "blind": ("training", False), "wide": ("held_out", True)}
    rows = {
        name: make_demos("pick_place", 1, 3, root / name, 1, cameras, spread)
        for name, (spread, cameras) in ranges.items()
    }
    return {name: bags.episodes(root / name)[0] for name in rows}, rows


def streams(folder, keys=None):
    found = {}
    for key, stamp_ns, value in bags.read_events(folder, keys):
        found.setdefault(key, []).append((stamp_ns, value))
    return found


def test_a_demonstration_holds_every_stream_at_its_rate_and_says_where_it_is_from(made):
    folders, rows = made
    row = check_episode(folders["seen"])
    assert row["ok"], row["problems"]
    assert set(streams(folders["seen"])) == {topic.key for topic in wire.TOPICS.values()} - NOT_IN_FAST_MODE
    rates = {key: round(rate) for key, rate in row["rates_hz"].items()}
    assert rates | {"deadman": 50, "supervisor_state": 25, "images/front": 10, "ee_pose": 100} == rates
    told = {name: bags.read_meta(folder).provenance for name, folder in folders.items()}
    assert (told["seen"]["spread"], told["wide"]["spread"]) == ("training", "held_out")
    assert rows["seen"]["successes"] == 1


def test_the_arm_feels_the_cubes_weight_while_it_carries_it_and_nothing_before(made):
    rows = streams(made[0]["blind"], {"wrench", "ee_pose", "command_width"})
    closed_ns = next(stamp for stamp, width in rows["command_width"] if width == 0.0)
    wrench, height_m = np.array([row for _, row in rows["wrench"]]), [pose[2] for _, pose in rows["ee_pose"]]
    before = np.array([stamp for stamp, _ in rows["wrench"]]) < closed_ns
    carried = ~before & (np.array(height_m) > 0.08)
    assert not wrench[before].any()
    assert np.median(wrench[carried, 2]) == pytest.approx(CUBE_N, rel=0.1)


def test_an_arm_moves_alike_whether_or_not_it_is_watched(made):
    folders, rows = made
    seen, blind = (streams(folders[name], {"joints", "images/front"}) for name in ("seen", "blind"))
    assert "images/front" not in blind
    assert [stamp for stamp, _ in seen["joints"]] == [stamp for stamp, _ in blind["joints"]]
    np.testing.assert_array_equal([q for _, q in seen["joints"]], [q for _, q in blind["joints"]])
    assert rows["blind"]["realtime_factor"] > 0


def test_a_range_that_does_not_exist_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ComoError, match="no range 'wide'; known ranges: training, held_out"):
        make_demos("pick_place", 1, 3, tmp_path / "out", spread="wide")
    assert not (tmp_path / "out").exists()

"""A recorded motion driven again: the same way, the same outcome; what cannot be is refused at once."""

from pathlib import Path

import numpy as np
import pytest
from bag_messages import START_NS, message
from lab_server import running_lab

from como_ros import wire
from como_ros.bag_meta import read_meta
from como_ros.bag_writer import BagError, EpisodeWriter
from como_ros.errors import ComoError
from como_ros.graphs import Deployment
from como_ros.lab.demos import make_demos
from como_ros.replay import run_replay
from policies.spaces import Contract


def test_a_recorded_episode_is_driven_again_within_a_centimetre_with_the_same_outcome(own_domain, tmp_path):
    make_demos("pick_place", 1, 500, tmp_path / "demos", workers=1, cameras=False)
    said = []
    result = run_replay(tmp_path / "demos", Deployment(lab=True), said.append)
    assert (result["episodes"], result["stopped"], result["same_outcome"]) == (1, 0, 1), said
    assert result["mean_error_mm"] < 10
    assert np.isfinite(result["max_error_mm"])
    assert 0 <= result["per_episode"][0]["host_share"] < 1


def test_the_recorder_notes_which_seed_of_the_lab_it_sees(probe, processes, tmp_path):
    with running_lab(seed=7) as lab:
        processes.node("recorder", out=tmp_path, lab_control=lab.control)
        assert probe.call("/recorder/start")[0]
        assert probe.call("/recorder/keep")[0]
    assert read_meta(tmp_path / "episode_000000").provenance["seed"] == "7"


def standing_at(folder: Path, x_m: float, **told: str) -> Path:
    """An operator who drives nowhere for half a second."""
    writer = EpisodeWriter(folder, Contract(), "pick", **{"task": "pick_place", "seed": "3", **told})
    for number in range(25):
        now, pose7 = START_NS + number * 20_000_000, np.array([x_m, 0, 0.3, 1, 0, 0, 0])
        for topic in ("/arm/ee_pose", "/arm/command/pose"):
            pose = wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), pose7, now)
            writer.write_message(topic, pose, now)
    writer.close("success")
    return folder


@pytest.mark.parametrize(
    ("x_m", "told", "sentence"),
    [
        (0.15, {}, r"begins at \[0.15, 0.0, 0.3\] m, outside of the workspace from \[0.2, -0.45, 0.005\]"),
        (0.5, {"task": "juggle"}, "no task named 'juggle'"),
        (0.5, {"spread": "wide"}, "no range 'wide'"),
        (0.5, {"seed": "\u00b2"}, "does not say which task and seed"),
    ],
)
def test_what_cannot_be_driven_again_is_refused_before_anything_is_started(x_m, told, sentence, tmp_path):
    standing_at(tmp_path / "e", x_m, **told)
    with pytest.raises(ComoError, match=sentence):
        run_replay(tmp_path, Deployment(lab=True), print)


def test_an_episode_that_nobody_drove_is_refused_by_name(tmp_path):
    writer = EpisodeWriter(tmp_path / "e", Contract(), "pick", task="pick_place", seed=3)
    writer.close("success")
    with pytest.raises(BagError, match=r"/e holds 0 set-points of an operator"):
        run_replay(tmp_path, Deployment(lab=True), print)

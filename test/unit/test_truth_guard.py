"""No training path can reach the true motion that the lab keeps beside its clips, by whatever path."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from como_ros.errors import ComoError
from como_ros.reproduce import STAGES
from training import encoder, metrics, motion_page, motion_run, transfer, videos
from training.finetune import finetune
from training.label import label
from training.latent_motion.ablation import ablate

ENTRIES = {
    "encoder train": encoder.train,
    "motion train": motion_run.train,
    "motion score": metrics.score,
    "motion ablate": ablate,
    "motion report": motion_page.write_page,
    "label": label,
    "finetune": finetune,
}
MEASURED = {transfer.transfer}
"""Reads truth to measure; see the test that it trains nothing."""
NOT_READ = {
    "out",
    "config",
    "preset",
    "ray",
    "mix",
    "force",
    "include_flagged",
    "columns",
    "seeds",
    "steps",
    "report",
}
REFUSED = "the lab's true hand motion, which training must never see; give a folder"


@pytest.fixture
def ways(tmp_path):
    """Paths that all lead to truth."""
    clips, truth = tmp_path / "all/videos", tmp_path / "all/videos.truth"
    clips.mkdir(parents=True)
    truth.mkdir()
    np.savez(truth / "pick_place_000000.truth.npz", truth=np.zeros(9))
    (tmp_path / "clips").symlink_to(truth)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/more").symlink_to(truth)
    (tmp_path / "copied").mkdir()
    np.savez(tmp_path / "copied/pick_place_000000.truth.npz", truth=np.zeros(9))
    return {
        "itself": truth,
        "by a detour": clips / "../videos.truth",
        "by a link": tmp_path / "clips",
        "its parent": tmp_path / "all",
        "a file in it": truth / "pick_place_000000.truth.npz",
        "a folder in it": truth / "deeper",
        "a folder with a link to it": tmp_path / "linked",
        "a folder with a copy": tmp_path / "copied",
    }


def needed(entry, path):
    """What the entry cannot be called without."""
    given = inspect.signature(entry).parameters.values()
    return {one.name: "lab" if one.name == "preset" else path for one in given if one.default is one.empty}


def inputs_of(entry):
    return [name for name in inspect.signature(entry).parameters if name not in NOT_READ]


@pytest.mark.parametrize("verb", ENTRIES)
def test_every_input_of_a_training_command_refuses_every_way_to_the_truth(verb, ways, tmp_path):
    entry, harmless = ENTRIES[verb], tmp_path / "all/videos"
    for name in inputs_of(entry):
        for way in ways.values():
            with pytest.raises(ComoError, match=REFUSED):
                entry(**needed(entry, harmless) | {name: way})


def test_the_readers_of_clips_refuse_it_too(ways):
    for way in ways.values():
        for read in (videos.clip_paths, lambda path: videos.read_clip(path, 10.0, (8, 8))):
            with pytest.raises(ComoError, match=REFUSED):
                read(way)


def test_a_folder_of_clips_beside_it_is_welcome(tmp_path, ways):
    assert videos.clip_paths(tmp_path / "all/videos") == []


def test_what_measures_by_the_truth_writes_nothing_and_is_imported_by_nothing_that_trains(ways, tmp_path):
    source = inspect.getsource(transfer)
    assert not re.search(r"fit\(|train_on|\.write_|np\.save|artefact", source)
    others = Path(transfer.__file__).parent.rglob("*.py")
    users = [path for path in others if "training.transfer" in path.read_text()]
    assert users == []
    with pytest.raises(ComoError, match=REFUSED):
        transfer.transfer(tmp_path, tmp_path, ways["itself"], ways["itself"])


def test_all_commands_that_learn_from_a_folder_are_tried_above():
    """The command line calls nothing else in training, and `como reproduce` only these."""
    source = (Path(__file__).parents[2] / "como_ros/cli_learning.py").read_text()
    called = set(re.findall(r"from (training[\w.]+) import (\w+)", source))
    tried = {(entry.__module__, entry.__name__) for entry in (*ENTRIES.values(), *MEASURED)}
    assert called == tried
    readers = [stage.arguments.partition(" --")[0].partition(" {")[0] for stage in STAGES[2:-1]]
    assert readers
    assert set(readers) <= ENTRIES.keys()

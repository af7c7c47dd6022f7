"""The real `como` process answers what a user gets wrong with one sentence and exit code 2."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from como_ros import results
from como_ros.errors import ComoError
from como_ros.reproduce import STAGES

ROOT = Path(__file__).parents[2]
COMO = Path(sys.executable).with_name("como")
MISSING = {
    "up": "up autonomous --lab --bundle /missing/bundle",
    "demo": "demo --bundle /missing/bundle --out {out}",
    "bags check": "bags check /missing/bags",
    "bags export": "bags export /missing/bags --out {out}",
    "bags replay": "bags replay /missing/bags --lab",
    "bags trim": "bags trim /missing/bags",
    "encoder train": "encoder train --bags /missing/bags --out {out}",
    "motion train": "motion train --encoder /missing/encoder --videos {folder} --out {out}",
    "motion score": "motion score /missing/motion --bags {folder}",
    "motion ablate": "motion ablate --encoder /missing/encoder --bags {folder} --videos {folder}"
    " --held-out {folder} --out {out}",
    "motion transfer": "motion transfer /missing/motion --bags {folder} --videos {folder} --truth {folder}",
    "motion report": "motion report /missing/motion --bags {folder} --out {out}",
    "label": "label /missing/model --videos {folder} --out {out}",
    "finetune": "finetune --bags /missing/bags --encoder {folder} --out {out}",
    "export": "export /missing/run --out {out}",
    "evaluate": "evaluate /missing/bundle --episodes 1",
}


def como(*words):
    return subprocess.run([COMO, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


def refused(done):
    """The one sentence on stderr of a refused command."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("como: ")
    return lines[0]


@pytest.mark.parametrize("line", MISSING.values(), ids=MISSING)
def test_a_missing_input_is_named_before_anything_is_made(line, tmp_path):
    words = line.format(out=tmp_path / "out", folder=tmp_path).split()
    assert "/missing/" in refused(como(*words))
    assert not (tmp_path / "out").exists()


def test_every_verb_that_reads_a_path_is_tried_above():
    sources = [
        (ROOT / "como_ros" / name).read_text() for name in ("cli.py", "cli_bags.py", "cli_learning.py")
    ]
    assert "".join(sources).count(" must_exist(") == len(MISSING)


def test_a_bundle_without_a_manifest_is_refused(tmp_path):
    assert "manifest.json" in refused(como("up", "autonomous", "--lab", "--bundle", str(tmp_path)))


def test_a_file_is_no_folder_of_bags():
    assert "is no folder" in refused(como("bags", "check", __file__))


def test_a_result_that_could_not_be_saved_is_refused_before_the_work(tmp_path):
    done = como("videos", "--out", str(tmp_path / "videos"), "--json", "/missing/folder/result.json")
    assert "/missing/folder/result.json" in refused(done)
    assert not (tmp_path / "videos").exists()


def test_an_unknown_task_is_answered_with_the_known_ones(tmp_path):
    assert "pick_place" in refused(como("videos", "--task", "juggle", "--out", str(tmp_path / "videos")))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_of_reproduce_is_a_command_that_exists(stage, tmp_path):
    """Options are right when what is refused is the missing input or the unknown task."""
    names = {"task": "juggle", "episodes": 1, "clips": 1, "preset": "debug"}
    line = stage.arguments.format(**names, work="/missing", out=tmp_path / "out")
    assert any(word in refused(como(*line.split())) for word in ("/missing/", "juggle"))


def test_help_lists_the_verbs():
    done = como("--help")
    assert done.returncode == 0
    assert all(verb.split()[0] in done.stdout for verb in MISSING)


def test_help_imports_no_heavy_package():
    program = (
        "import sys\nfrom como_ros import cli\n"
        "found = {'torch', 'mujoco', 'rclpy', 'onnxruntime', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_figures_are_printed_and_the_whole_result_is_saved(tmp_path, capsys):
    path = tmp_path / "result.json"
    results.run(path, lambda: {"rate": np.float64(0.5), "ci95": [0.25, 0.75], "per_episode": [{"seed": 1}]})
    assert capsys.readouterr().out.splitlines() == ["rate: 0.5", "ci95: 0.25, 0.75"]
    assert json.loads(path.read_text()) == {"rate": 0.5, "ci95": [0.25, 0.75], "per_episode": [{"seed": 1}]}
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_training_result_the_numbers_are_told_and_not_the_weights(tmp_path):
    @dataclass
    class Fit:
        steps: int
        weights: dict

    path = tmp_path / "result.json"
    results.run(path, lambda: Fit(3, {"layer": object()}))
    assert json.loads(path.read_text()) == {"steps": 3}


def test_a_result_is_never_written_over_a_folder(tmp_path):
    with pytest.raises(ComoError, match="not a file"):
        results.run(tmp_path, lambda: {})

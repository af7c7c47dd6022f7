"""Files that exist and are not what a verb needs: one sentence, exit code 2, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMO = Path(sys.executable).with_name("como")
WRONG = {
    "a text file as bags": "encoder train --bags {text} --out {out} --preset debug",
    "no episodes": "encoder train --bags {empty} --out {out} --preset debug",
    "no clips": "label {empty} --videos {empty} --out {out}",
    "broken JSON as encoder": "motion train --encoder {broken} --videos {empty} --out {out} --preset debug",
    "no labels": "finetune --bags {empty} --encoder {broken} --labels {empty} --out {out} --preset debug",
    "a text file as run": "export {text} --out {out}",
    "a text file as bundle": "evaluate {text} --episodes 1",
    "a manifest of another kind": "evaluate {broken} --episodes 1",
    "an unknown task": "demos --task juggle --out {out}",
    "no episodes asked for": "demos --episodes 0 --out {out}",
    "a file where a folder should be made": "demos --episodes 1 --out {text}",
    "a file where videos should go": "videos --clips 1 --out {text}",
}


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for name in ("config.json", "manifest.json"):
        (tmp_path / "broken" / name).write_text("{")
    (tmp_path / "text").write_text("not what you think\n")
    return {name: tmp_path / name for name in ("empty", "broken", "text", "out")}


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_answered_with_one_sentence(line, paths):
    words = line.format(**paths).split()
    done = subprocess.run([COMO, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("como: ")


def test_a_machine_that_cannot_draw_is_told_what_to_install(paths):
    words = [COMO, "gallery", "--tasks", "pick_place", "--out", paths["out"]]
    no_driver = {**os.environ, "__EGL_VENDOR_LIBRARY_DIRS": str(paths["empty"]), "MUJOCO_GL": "egl"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=no_driver)
    assert done.returncode == 2, done.stderr
    assert "como: the lab cannot draw without a screen; apt install libegl1" in done.stderr

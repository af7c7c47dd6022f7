"""A run that is interrupted says so with its exit code, saves its count and leaves nothing behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ros_probe import wait_until

COMO = Path(sys.executable).with_name("como")


def who_speaks_of(word: str) -> list[str]:
    """The processes on this machine with this in their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [place.parent.name] if word in place.read_text() else []
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_an_interrupted_count_ends_with_130_and_is_saved_and_nobody_is_left(number, own_domain, tmp_path):
    """It ended with 0, as if all episodes had been run."""
    out, result = tmp_path / "episodes", tmp_path / "result.json"
    words = ["up", "teleop", "--lab", "--episodes", "2", "--out", str(out), "--json", str(result)]
    with subprocess.Popen([COMO, *words], stdout=subprocess.DEVNULL) as run:
        wait_until(lambda: (out / "logs" / "lab.log").exists(), "the lab to be started", 60)
        run.send_signal(number)
        assert run.wait(60) == 130
    assert json.loads(result.read_text())["episodes"] == 0
    assert who_speaks_of(str(tmp_path)) == []

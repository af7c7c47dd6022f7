"""A long run holds its folder, and ends with whoever began it."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from como_ros.errors import ComoError
from como_ros.runs import alone_in, alone_in_new, made_once

HOLDS = """
import sys, time
from pathlib import Path
from como_ros.runs import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
BEGINS = """
import os, subprocess, sys, time
from functools import partial
from como_ros.runs import die_with
child = "print('begun', flush=True); import time; time.sleep(60)"
subprocess.call([sys.executable, "-c", child], preexec_fn=partial(die_with, os.getpid()))
"""


def started(program, *words):
    """A process that has said its first word."""
    child = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


def test_a_folder_in_which_a_run_works_is_refused_until_that_run_is_gone_even_killed(tmp_path):
    with started(HOLDS, str(tmp_path / "out")) as other:
        try:
            with pytest.raises(ComoError, match=r"another run works in .*out"), alone_in(tmp_path / "out"):
                pytest.fail("two runs in one folder")
        finally:
            other.send_signal(signal.SIGKILL)
        other.wait()
    with alone_in(tmp_path / "out"):
        assert list((tmp_path / "out").iterdir()) == []


def test_what_another_run_made_meanwhile_is_found_once_the_folder_is_held(tmp_path):
    """Looked at before it was held, the folder was empty for both of two runs."""
    with alone_in_new(tmp_path / "out"):
        with pytest.raises(ComoError, match="another run works"), alone_in_new(tmp_path / "out"):
            pytest.fail("two runs in one folder")
        (tmp_path / "out" / "episode_000000").mkdir()
    with (
        pytest.raises(ComoError, match=r"out is not empty; give a new folder"),
        alone_in_new(tmp_path / "out"),
    ):
        pytest.fail("two runs in one folder")


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"), alone_in(tmp_path / "file" / "out"):
        pytest.fail("worked in a file")


def test_what_two_runs_need_is_made_by_one_while_the_other_waits(tmp_path, capfd):
    made, begun = [], threading.Event()

    def make(part):
        made.append(part.name)
        begun.set()
        gone_s = time.monotonic() + 30
        while "waiting for it" not in capfd.readouterr().err and time.monotonic() < gone_s:
            time.sleep(0.01)
        part.write_text("tokens" if time.monotonic() < gone_s else "the other never waited")

    path = tmp_path / "tokens" / "front.npy"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(made_once, path, make)
        begun.wait()
        other = pool.submit(made_once, path, make)
        assert (first.result(), other.result(), made) == (None, None, ["front.part"])
    assert path.read_text() == "tokens"
    assert [file.name for file in path.parent.iterdir()] == ["front.npy"]


def test_a_child_ends_with_a_parent_that_is_killed():
    with started(BEGINS) as parent:
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == ""  # ends when nobody holds the pipe, the grandchild neither

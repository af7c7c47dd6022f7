"""The world in shared memory: whole snapshots only, across processes, and nothing left behind."""

import os
import subprocess
import sys

import numpy as np
import pytest

from como_ros.errors import ComoError
from como_ros.lab.shared_state import FOLDER, SharedState

NAME = f"test_{os.getpid()}"

WRITER = """
import sys, numpy as np
from como_ros.lab.shared_state import SharedState
state = SharedState.create(sys.argv[1], 64)
print("ready", flush=True)
for number in range(1, 100_000):
    state.write(np.full(64, float(number)), number)
state.close()
"""


def test_a_reader_in_another_process_never_sees_half_a_write():
    writer = subprocess.Popen([sys.executable, "-c", WRITER, NAME], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    state, seen = SharedState.attach(NAME), set()
    while writer.poll() is None:
        values, stamp_ns = state.read()
        assert (values == stamp_ns).all()
        seen.add(stamp_ns)
    assert writer.returncode == 0
    state.close()
    assert len(seen) > 10
    assert not (FOLDER / f"como_{NAME}").exists()


def test_a_new_world_takes_the_name_of_a_dead_one():
    old = SharedState.create(NAME, 3)
    old.write(np.ones(3), 1)
    new = SharedState.create(NAME, 5)
    new.write(np.arange(5.0), 2)
    reader = SharedState.attach(NAME)
    assert reader.read()[0].tolist() == [0, 1, 2, 3, 4]
    for state in (reader, new, old):
        state.close()


def test_settings_stand_beside_the_values_and_start_at_zero():
    state = SharedState.create(NAME, 2)
    reader = SharedState.attach(NAME)
    assert not reader.settings.any()
    state.settings[3] = 0.5
    state.write(np.array([7.0, 8.0]), 1)
    assert reader.settings[3] == 0.5
    assert reader.read()[0].tolist() == [7, 8]
    reader.close()
    state.close()


def test_attaching_before_there_is_a_world_says_so():
    with pytest.raises(FileNotFoundError):
        SharedState.attach("nobody_made_this")


def test_a_name_with_a_slash_is_refused():
    with pytest.raises(ComoError, match="plain name without '/', got 'a/b'"):
        SharedState.create("a/b", 1)


def test_a_writer_that_died_while_writing_is_named():
    state = SharedState.create(NAME, 1)
    state._header[0] += 1
    with pytest.raises(ComoError, match="its writer died while writing"):
        state.read()
    state.close()

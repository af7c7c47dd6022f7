"""A lab that finds only after it has begun that it cannot be; no other lab may run beside it."""

import os
import subprocess
import sys

import pytest

from como_ros.lab.faults import FAULTS
from como_ros.lab.shared_state import FOLDER


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "slow_physics=5"], "a share of real time above 0.01 up to 1, got 5.0"),
        (["--control", f"/tmp/{'long' * 40}.sock"], "AF_UNIX path too long"),
    ],
)
def test_a_lab_that_cannot_begin_ends_with_a_sentence_and_leaves_nothing(arguments, said):
    state = f"test_{os.getpid()}"
    command = [sys.executable, "-m", "como_ros.lab.fci", "--state", state, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert not (FOLDER / f"como_{state}").exists()


def test_help_says_what_each_fault_is():
    command = [sys.executable, "-m", "como_ros.lab.fci", "--help"]
    told = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert all(f"{name}: {fault.about}" in told for name, fault in FAULTS.items())

"""Tests that run side by side do not hear each other."""

import subprocess
import sys
from pathlib import Path

from ros_domain import domain

OTHER = """
import sys
sys.path.insert(0, sys.argv[1])
from ros_domain import domain
with domain(int(sys.argv[2])) as number:
    print(number)
"""


def other(start: int) -> int:
    """The domain that another run, counting from the same number, is given."""
    command = [sys.executable, "-c", OTHER, str(Path(__file__).parents[1]), str(start)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_two_runs_that_count_alike_are_given_two_domains_and_one_is_free_again_afterwards():
    with domain(4711) as mine:
        assert other(4711) != mine
        with domain(4711) as second:
            assert second != mine
    assert other(4711) == mine

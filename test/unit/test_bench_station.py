"""What `como bench station` refuses, and the neighbour it plays."""

import os
import time
from pathlib import Path

import pytest

from como_ros.bench_recorder import cpu_s
from como_ros.bench_station import cores_taken, run_bench
from como_ros.errors import ComoError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"episodes": 0}, "--episodes 0 is not between 1 and 1000"),
        ({"seed": 9995}, "--seed 9995 is not between 0 and 9990"),
        ({"taken": 1.5}, "--taken must lie in 0 to 0.9, got 1.5"),
        ({"taken": float("nan")}, "--taken must lie in 0 to 0.9, got nan"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(arguments, said):
    with pytest.raises(ComoError, match=said):
        run_bench(**arguments)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take cores away")
def test_a_neighbour_takes_its_share_of_every_core_and_goes():
    with cores_taken(0.3) as takers:
        assert len(takers) == len(os.sched_getaffinity(0))
        seconds = [_shares_of_a_second(takers)]
        while not _as_asked(seconds[-1]) and len(seconds) < 10:  # a core may itself be held back for a second
            seconds.append(_shares_of_a_second(takers))
    assert _as_asked(seconds[-1]), seconds
    assert not any(Path(f"/proc/{pid}").exists() for pid in takers)


def _shares_of_a_second(takers: list[int]) -> list[float]:
    before = [cpu_s(pid) for pid in takers]
    time.sleep(1.0)
    return [cpu_s(pid) - used for pid, used in zip(takers, before, strict=True)]


def _as_asked(shares: list[float]) -> bool:
    return all(0.2 < share < 0.45 for share in shares)

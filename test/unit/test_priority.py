"""Who runs before others, and for how long."""

import os
import time

import pytest

from como_ros.drivers.priority import like_others_after, run_before_others

FIRST, LATER = (os.SCHED_FIFO, 3), (os.SCHED_FIFO, 5)


def mine() -> tuple[int, int]:
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run before others")
def test_what_takes_too_long_is_gone_on_with_like_others_and_nothing_else_is():
    assert run_before_others(FIRST[1])
    with like_others_after(0.05):
        assert mine() == FIRST
        time.sleep(0.3)
        assert mine() == (os.SCHED_OTHER, 0)
        run_before_others(LATER[1])
        time.sleep(0.3)
        assert mine() == (os.SCHED_OTHER, 0)
    assert mine() == LATER
    run_before_others(FIRST[1])
    with like_others_after(0.05):
        assert mine() == FIRST
    time.sleep(0.3)
    assert mine() == FIRST

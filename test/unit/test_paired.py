"""Ratios are paired, repeated and gated; the wire's own contests give the same on both sides."""

import time
from types import SimpleNamespace

import pytest

from como_ros import bench_wire
from como_ros.errors import ComoError
from como_ros.paired import Contest, judge, machine
from como_ros.typestore import message


def busy(seconds: float):
    def work() -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    return work


def test_the_ratio_of_two_known_times_is_found_with_its_interval():
    row = judge(Contest("X", "half", busy(0.001), busy(0.002), gate=0.8), pairs=15)
    assert row["ok"]
    assert row["low"] <= row["ratio"] <= row["high"]
    assert row["ratio"] == pytest.approx(0.5, abs=0.15)


def test_a_missed_gate_is_tried_once_more_and_then_told():
    calls = []
    row = judge(Contest("X", "same", lambda: calls.append(1), busy(0.0001), gate=0.0), pairs=2)
    assert not row["ok"]
    assert len(calls) == 2 * (2 + 3)


def test_the_machine_is_described_beside_the_ratios():
    assert all(value > 0 for value in machine().values())


def test_too_few_pairs_are_refused():
    with pytest.raises(ComoError, match="15 or more"):
        bench_wire.run_bench(SimpleNamespace, pairs=1)


def test_reading_an_image_costs_a_small_part_of_copying_it():
    """A contrast that no busy machine blurs; `como bench wire` measures the others as well."""
    contests = {c.id: c for c in bench_wire._image_contests(lambda: message("sensor_msgs/msg/Image"))}
    assert judge(contests["R3"], pairs=5)["ok"]

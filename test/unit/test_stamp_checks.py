"""Stamps from another clock or another stream are found; honest ones, however jittery, are not blamed."""

import numpy as np
import pytest

from como_ros.stamp_checks import Stamps, stamp_problems

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000


def stream(rate_hz: float, latency_ms: float, seed: int, seconds: float = 5.0) -> Stamps:
    """Captured with 10 % jitter and drops, arriving a little and sometimes much later."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, seconds, 1 / rate_hz) + rng.uniform(0, 1 / rate_hz)
    times = np.sort(times + rng.normal(0, 0.1 / rate_hz, len(times)))[rng.random(len(times)) > 0.03]
    captured = START_NS + np.round(times * 1e9).astype(np.int64)
    late_ms = latency_ms + rng.exponential(0.5, len(times)) + 40 * (rng.random(len(times)) < 0.03)
    return Stamps(captured + np.round(late_ms * MS).astype(np.int64), captured)


def swapped(one: Stamps, other: Stamps) -> tuple[Stamps, Stamps]:
    count = min(len(one.arrived_ns), len(other.arrived_ns))
    return (
        Stamps(one.arrived_ns[:count], other.captured_ns[:count]),
        Stamps(other.arrived_ns[:count], one.captured_ns[:count]),
    )


@pytest.mark.parametrize("seed", range(20))
def test_honest_streams_are_not_blamed(seed):
    streams = {
        "images/front": stream(30, 35, seed),
        "images/wrist": stream(30, 36, seed + 100),
        "joints": stream(200, 1, seed + 200),
        "ee_pose": stream(200, 1, seed + 300),
    }
    assert stamp_problems(streams) == []


@pytest.mark.parametrize("seed", range(10))
def test_streams_captured_together_are_not_blamed_for_a_machine_that_was_held_up(seed):
    """A picture and its camera's numbers bear one stamp: they do carry each other's."""
    rng = np.random.default_rng(seed)
    together = stream(10, 0, seed, 20.0).captured_ns
    captured = {"camera_info/front": together, "images/front": together}
    captured["images/wrist"] = together + rng.integers(0, 8 * MS, len(together))
    streams = {}
    for key, stamps_ns in captured.items():
        held_up_ms = np.repeat(rng.exponential(200, len(stamps_ns) // 4 + 1), 4)[: len(stamps_ns)]
        late_ns = np.round((3 + held_up_ms + rng.exponential(3, len(stamps_ns))) * MS).astype(np.int64)
        streams[key] = Stamps(np.maximum.accumulate(stamps_ns + late_ns), stamps_ns)
    assert stamp_problems(streams) == []


def test_lab_episodes_stamped_as_they_are_written_are_not_blamed():
    times = START_NS + np.arange(100) * 10 * MS
    assert stamp_problems({"joints": Stamps(times, times), "ee_pose": Stamps(times, times)}) == []


@pytest.mark.parametrize("seed", range(10))
def test_two_cameras_with_each_others_stamps_are_named(seed):
    front, wrist = swapped(stream(30, 35, seed), stream(30, 36, seed + 100))
    found = stamp_problems({"images/front": front, "images/wrist": wrist})
    named = f"images/front and images/wrist carry each other's stamps from {front.captured_ns[0]} ns on"
    assert any(named in sentence for sentence in found)


def test_a_camera_with_the_arms_stamps_runs_at_the_wrong_pace():
    front, joints = swapped(stream(30, 35, 1), stream(200, 1, 2))
    found = " ".join(stamp_problems({"images/front": front, "joints": joints}))
    assert "images/front has stamps that run at 0.1" in found
    assert "joints is stamped" in found


def test_a_clock_that_is_ahead_is_named_with_the_first_stamp():
    honest = stream(30, 35, 0)
    ahead = Stamps(honest.arrived_ns, honest.captured_ns + 100 * MS)
    (found,) = stamp_problems({"images/front": ahead})
    assert "images/front is stamped 0.06" in found
    assert f"first at {ahead.captured_ns[0]} ns" in found


def test_a_clock_set_back_in_both_is_no_fault_of_the_stamps():
    honest = stream(30, 35, 0)
    back = np.where(np.arange(len(honest.arrived_ns)) > 70, 7 * 10**9, 0)
    assert stamp_problems({"images/front": Stamps(honest.arrived_ns - back, honest.captured_ns - back)}) == []


@pytest.mark.parametrize("behind_ns", [START_NS, 3600 * 10**9, 2 * 10**9])
def test_stamps_that_were_never_set_or_come_from_a_clock_behind_are_named(behind_ns):
    honest = stream(100, 1, 0)
    behind = Stamps(honest.arrived_ns, honest.captured_ns - behind_ns)
    (found,) = stamp_problems({"ee_pose": behind, "joints": honest})
    assert f"ee_pose is stamped {behind_ns // 10**9}." in found
    assert f"before it arrives, first at {behind.captured_ns[0]} ns" in found


def test_a_stream_that_was_held_up_for_a_while_keeps_its_good_name():
    honest = stream(100, 1, 0)
    held_up = honest.arrived_ns.copy()
    held_up[100:300] = held_up[300]
    assert stamp_problems({"ee_pose": Stamps(held_up, honest.captured_ns)}) == []

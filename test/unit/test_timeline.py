"""One resampler for live and recorded data: what is known at one instant, or a gap that says why not."""

import threading

import numpy as np
import pytest

from policies.spaces import Contract, Observation, pose7_from_state
from policies.timeline import (
    EE_POSE,
    JOINTS,
    Gap,
    Stream,
    Timeline,
    interpolate_pose7,
    observation_at,
    observation_streams,
    replay,
)

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
IDENTITY7 = np.array([0.0, 0, 0, 0, 0, 0, 1])
QUARTER_TURN7 = np.array([1.0, 2, 4, 0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def timeline_of(policy: str, max_age_ms: int = 100, **options) -> Timeline:
    return Timeline({"x": Stream(policy=policy, max_age_ns=max_age_ms * MS, **options)})


def value_at(timeline: Timeline, now_ns: int) -> float:
    found = timeline.sample(now_ns)
    assert not isinstance(found, Gap), found.reason
    return float(found["x"].value)


# Sampling


@pytest.mark.parametrize("policy", ["hold", "nearest", "interpolate"])
def test_a_message_exactly_on_the_tick_is_used_as_it_is(policy):
    timeline = timeline_of(policy)
    for i in range(3):
        timeline.push("x", START_NS + 10 * i * MS, float(i))
    assert value_at(timeline, START_NS + 10 * MS) == 1.0


def test_hold_never_looks_into_the_future():
    timeline = timeline_of("hold")
    timeline.push("x", START_NS, 1.0)
    timeline.push("x", START_NS + 10 * MS, 2.0)
    assert value_at(timeline, START_NS + 9 * MS) == 1.0


def test_nearest_takes_the_closer_side_and_the_earlier_of_two_equals():
    timeline = timeline_of("nearest")
    timeline.push("x", START_NS, 1.0)
    timeline.push("x", START_NS + 10 * MS, 2.0)
    assert [value_at(timeline, START_NS + ms * MS) for ms in (4, 5, 6)] == [1.0, 1.0, 2.0]


def test_interpolation_is_linear_between_two_values_and_holds_after_the_last():
    timeline = timeline_of("interpolate")
    timeline.push("x", START_NS, 1.0)
    timeline.push("x", START_NS + 10 * MS, 2.0)
    assert value_at(timeline, START_NS + 4 * MS) == pytest.approx(1.4)
    assert value_at(timeline, START_NS + 50 * MS) == 2.0


def test_interpolation_does_not_bridge_a_dropout_longer_than_the_maximum_age():
    timeline = timeline_of("interpolate", max_age_ms=20)
    timeline.push("x", START_NS, 1.0)
    timeline.push("x", START_NS + 100 * MS, 2.0)
    assert value_at(timeline, START_NS + 10 * MS) == 1.0
    assert isinstance(timeline.sample(START_NS + 50 * MS), Gap)


def test_poses_turn_about_one_axis_at_constant_rate():
    third = interpolate_pose7(IDENTITY7, QUARTER_TURN7, 1 / 3)
    np.testing.assert_allclose(third[:3], np.array([1, 2, 4]) / 3)
    np.testing.assert_allclose(third[3:], [0, 0, np.sin(np.pi / 12), np.cos(np.pi / 12)], atol=1e-12)


def test_opposite_quaternions_are_the_same_orientation():
    flipped = IDENTITY7.copy()
    flipped[3:] *= -1
    np.testing.assert_allclose(interpolate_pose7(IDENTITY7, flipped, 0.5), IDENTITY7, atol=1e-12)


# Gaps


def test_a_stale_stream_makes_a_gap_that_names_it_and_its_age():
    timeline = timeline_of("hold", max_age_ms=100)
    timeline.push("x", START_NS, 1.0)
    assert value_at(timeline, START_NS + 100 * MS) == 1.0
    gap = timeline.sample(START_NS + 250 * MS)
    assert isinstance(gap, Gap)
    assert gap.reason == "x: newest value is 0.250 s old, limit 0.100 s"


def test_a_stream_without_messages_makes_a_gap():
    gap = timeline_of("hold").sample(START_NS)
    assert isinstance(gap, Gap)
    assert gap.reason == "x: nothing received yet"


def test_a_value_from_the_future_is_not_held():
    timeline = timeline_of("hold")
    timeline.push("x", START_NS + 5 * MS, 1.0)
    gap = timeline.sample(START_NS)
    assert isinstance(gap, Gap)
    assert "future" in gap.reason


def test_keys_that_nobody_declared_are_ignored():
    timeline = timeline_of("hold")
    timeline.push("y", START_NS, 1.0)
    assert isinstance(timeline.sample(START_NS), Gap)


# Disorder


def test_a_late_message_takes_its_place_by_capture_time():
    timeline = timeline_of("hold")
    for ms in (0, 20, 10):
        timeline.push("x", START_NS + ms * MS, float(ms))
    assert [value_at(timeline, START_NS + ms * MS) for ms in (5, 15, 25)] == [0.0, 10.0, 20.0]


def test_a_clock_set_back_forgets_every_stream():
    timeline = Timeline({key: Stream(policy="hold", max_age_ns=10**9) for key in ("x", "y")})
    timeline.push("x", START_NS, 1.0)
    timeline.push("y", START_NS, 1.0)
    timeline.push("x", START_NS - 3600 * 10**9, 2.0)
    gap = timeline.sample(START_NS - 3600 * 10**9)
    assert isinstance(gap, Gap)
    assert gap.reason == "y: nothing received yet"
    assert timeline.resets == 1


def test_memory_stays_bounded_and_keeps_the_newest():
    timeline = timeline_of("nearest", max_age_ms=10**6, capacity=8)
    for i in range(1000):
        timeline.push("x", START_NS + i * MS, float(i))
    assert value_at(timeline, START_NS) == 992.0


def test_a_loop_may_sample_while_callbacks_push():
    timeline = timeline_of("interpolate", max_age_ms=10**6)
    timeline.push("x", START_NS, 0.0)

    def push_many() -> None:
        for i in range(1, 3000):
            timeline.push("x", START_NS + i * MS, float(i))

    writers = [threading.Thread(target=push_many) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = [value_at(timeline, START_NS + 10_000 * MS) for _ in range(500)]
    for writer in writers:
        writer.join()
    assert seen == sorted(seen)
    assert value_at(timeline, START_NS + 10_000 * MS) == 2999.0


# Observations


CONTRACT = Contract(cameras=("front",), image_hw=(2, 2))


def arrivals(seconds: float = 2.0) -> list[tuple[int, str, int, object]]:
    """Camera at 30 Hz arriving 40 ms late, state at 200 Hz arriving 1 ms late, in the order of arrival."""
    images = [START_NS + round(i * 1e9 / 30) for i in range(int(30 * seconds))]
    states = [START_NS + i * 5 * MS for i in range(int(200 * seconds))]
    rows: list[tuple[int, str, int, object]] = []
    rows += [
        (t + 40 * MS, "images/front", t, np.full((2, 2, 3), i % 256, np.uint8)) for i, t in enumerate(images)
    ]
    rows += [(t + MS, EE_POSE, t, np.array([i * 1e-3, 0, 0, 0, 0, 0, 1])) for i, t in enumerate(states)]
    rows += [(t + MS, JOINTS, t, np.full(8, i * 1e-3)) for i, t in enumerate(states)]
    return sorted(rows, key=lambda row: row[0])


def test_an_observation_carries_each_capture_stamp():
    ticks = [START_NS + 1000 * MS]
    (seen,) = replay(Timeline(observation_streams(CONTRACT)), arrivals(), ticks, "pick up the cube")
    assert isinstance(seen, Observation)
    assert seen.stamps_ns["images/front"] == START_NS + round(28 * 1e9 / 30)
    assert seen.stamps_ns[EE_POSE] == START_NS + 995 * MS
    assert seen.images["front"][0, 0, 0] == 28
    assert pose7_from_state(seen.state)[0] == pytest.approx(0.199)
    assert seen.state[9] == pytest.approx(0.199)
    assert seen.instruction == "pick up the cube"


def test_replay_and_a_live_loop_see_the_same():
    ticks = [START_NS + i * 100 * MS for i in range(25)]
    replayed = list(replay(Timeline(observation_streams(CONTRACT)), arrivals(), ticks))
    timeline, pending, live = Timeline(observation_streams(CONTRACT)), arrivals(), []
    for tick in ticks:
        while pending and pending[0][0] <= tick:
            _, key, stamp_ns, value = pending.pop(0)
            timeline.push(key, stamp_ns, value)
        live.append(observation_at(timeline, tick))
    assert [type(a) for a in live] == [type(a) for a in replayed]
    assert [isinstance(a, Gap) for a in live] == [i == 0 or i >= 22 for i in range(25)]
    for one, other in zip(live, replayed, strict=True):
        if isinstance(one, Observation) and isinstance(other, Observation):
            assert one.stamps_ns == other.stamps_ns
            np.testing.assert_array_equal(one.state, other.state)
            np.testing.assert_array_equal(one.images["front"], other.images["front"])

"""Thirty seconds as a live loop sees them and as the bag of them gives them: the same, byte for byte."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from bag_messages import CONTRACT, MS, START_NS, image

from como_ros import bags, wire
from como_ros.typestore import message
from policies.spaces import Observation
from policies.timeline import Gap, Timeline, observation_at, observation_streams, replay

SECONDS = 30
LATE_START_S = 4.0
"""The wrist camera comes up so late."""
SET_BACK_AFTER_S, SET_BACK_S = 20.0, 7.0
TICK_NS = 100 * MS


@dataclass(frozen=True)
class Event:
    """A message that arrives or a tick of the loop, in the order of true time."""

    true_ns: int
    clock_ns: int
    """What the system clock says then."""
    topic: str = ""
    msg: object = None


def clock(true_ns: int) -> int:
    """System time; it is set back once."""
    set_back = true_ns >= START_NS + SET_BACK_AFTER_S * 1e9
    return true_ns - round(SET_BACK_S * 1e9) * set_back


def captured(rng: np.random.Generator, rate_hz: float, begin_s: float = 0.0) -> list[int]:
    """True capture times with 10 % jitter and 3 % of them dropped, and half a second of silence."""
    regular = np.arange(begin_s, SECONDS, 1 / rate_hz)
    jittered = regular + rng.normal(0, 0.1 / rate_hz, len(regular))
    kept = (rng.random(len(regular)) > 0.03) & ~((jittered > 14.0) & (jittered < 14.5)) & (jittered > 0)
    return [START_NS + round(t * 1e9) for t in jittered[kept]]


def state_messages(stamp_ns: int, i: int) -> list[tuple[str, object]]:
    q = np.sin(0.01 * i + np.arange(7))
    half = 0.4 * np.sin(0.002 * i)
    pose7 = np.array([0.4 + 0.1 * np.sin(0.01 * i), 0, 0.3, np.sin(half), 0, 0, np.cos(half)])
    joints, pose = message("sensor_msgs/msg/JointState"), message("geometry_msgs/msg/PoseStamped")
    return [
        ("/arm/joint_states", wire.fill_joint_states(joints, q, np.zeros(7), 0.04, stamp_ns)),
        ("/arm/ee_pose", wire.fill_pose(pose, pose7, stamp_ns)),
    ]


def recorded_events() -> list[Event]:
    rng = np.random.default_rng(3)
    events = []
    for camera, begin_s in (("front", 0.0), ("wrist", LATE_START_S)):
        for i, true_ns in enumerate(captured(rng, 30, begin_s)):
            # some frames take so long that they come after the next one
            arrives_ns = true_ns + round((0.03 + 0.06 * (rng.random() < 0.1)) * 1e9)
            msg = image(i, clock(true_ns))
            events.append(Event(arrives_ns, clock(arrives_ns), f"/{camera}/color/image_raw", msg))
    for i, true_ns in enumerate(captured(rng, 200)):
        arrives_ns = true_ns + round(rng.exponential(0.001) * 1e9)
        for topic, msg in state_messages(clock(true_ns), i):
            events.append(Event(arrives_ns, clock(arrives_ns), topic, msg))
    for tick in (50, 120, 230):  # captured and arrived exactly on a tick
        true_ns = START_NS + tick * TICK_NS
        for topic, msg in [
            *state_messages(clock(true_ns), 0),
            ("/front/color/image_raw", image(9, clock(true_ns))),
        ]:
            events.append(Event(true_ns, clock(true_ns), topic, msg))
    return sorted(events, key=lambda event: event.true_ns)


@pytest.fixture(scope="module")
def recorded() -> list[Event]:
    return recorded_events()


@pytest.fixture(scope="module")
def ticks() -> list[Event]:
    return [Event(t, clock(t)) for t in range(START_NS, START_NS + SECONDS * 10**9, TICK_NS)]


def seen_live(recorded: list[Event], ticks: list[Event]) -> tuple[list[Observation | Gap], Timeline]:
    """Callbacks push, the loop looks; what arrives exactly on a tick is seen by it."""
    timeline, seen = Timeline(observation_streams(CONTRACT)), []
    for event in sorted([*recorded, *ticks], key=lambda event: (event.true_ns, event.topic == "")):
        if event.topic:
            timeline.push(*wire.decode(event.topic, event.msg, event.clock_ns))
        else:
            seen.append(observation_at(timeline, event.clock_ns))
    return seen, timeline


def seen_in_bag(folder: Path, recorded: list[Event], ticks: list[Event]):
    writer = bags.EpisodeWriter(folder, CONTRACT)
    for event in recorded:
        writer.write_message(event.topic, event.msg, event.clock_ns)
    writer.close("kept")
    timeline = Timeline(observation_streams(CONTRACT))
    return list(replay(timeline, bags.read_arrivals(folder), [tick.clock_ns for tick in ticks])), timeline


def as_bytes(seen: Observation | Gap) -> tuple[object, ...]:
    if isinstance(seen, Gap):
        return seen.stamp_ns, seen.reasons
    images = {name: (image.shape, image.dtype.str, image.tobytes()) for name, image in seen.images.items()}
    return seen.stamp_ns, images, seen.state.dtype.str, seen.state.tobytes(), seen.stamps_ns


def test_a_bag_and_the_live_loop_give_the_same_observations(tmp_path, recorded, ticks):
    live, live_timeline = seen_live(recorded, ticks)
    bag, bag_timeline = seen_in_bag(tmp_path / "e", recorded, ticks)
    assert len(live) == len(bag) == SECONDS * 10
    assert [as_bytes(seen) for seen in bag] == [as_bytes(seen) for seen in live]
    assert bag_timeline.resets == live_timeline.resets >= 1


def test_the_thirty_seconds_hold_every_difficulty(recorded, ticks):
    live, _ = seen_live(recorded, ticks)
    reasons = [seen.reason if isinstance(seen, Gap) else "" for seen in live]
    assert sum(not reason for reason in reasons) > 220
    assert all("images/wrist: nothing received yet" in reason for reason in reasons[: int(10 * LATE_START_S)])
    assert any("s old, limit 0.200 s" in reason for reason in reasons[140:147])
    assert "in the future" in reasons[200]
    assert reasons[202] == ""
    for tick in (50, 120, 230):
        assert live[tick].stamps_ns["images/front"] == live[tick].stamps_ns["ee_pose"] == ticks[tick].clock_ns
    stamps = [wire.stamp_ns(event.msg) for event in recorded if event.topic == "/front/color/image_raw"]
    assert any(0 < one - other < 10**9 for one, other in pairwise(stamps))
    assert any(one - other > 10**9 for one, other in pairwise(stamps))

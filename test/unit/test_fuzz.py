"""A thousand broken bags and messages: each reads as it was, or is refused by name; none crashes or hangs."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bag_messages import (
    CONTRACT,
    MS,
    POSE7,
    START_NS,
    as_sqlite,
    ee_pose,
    image,
    joints,
    recording,
    write_episode,
)

from como_ros import bags, wire
from como_ros.errors import ComoError
from como_ros.typestore import deserialize, message, serialize
from policies.spaces import ActionChunk

LIMIT_S = 2.0
Row = tuple[int, str, int, bytes]


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """Call it before each case: a case that takes longer than `LIMIT_S` fails instead of hanging."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"still not done after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def cut(raw: bytes, rng: np.random.Generator) -> bytes:
    return raw[: rng.integers(len(raw))]


def flip(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to four bits."""
    broken = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        broken[rng.integers(len(raw))] ^= 1 << rng.integers(8)
    return bytes(broken)


def scribble(raw: bytes, rng: np.random.Generator) -> bytes:
    """A block of other bytes, as from a bad sector."""
    at, size = rng.integers(len(raw)), rng.integers(1, 64)
    return raw[:at] + rng.bytes(int(min(size, len(raw) - at))) + raw[at + size :]


def lose(raw: bytes, rng: np.random.Generator) -> bytes:
    """A block is missing, what follows moves up."""
    at = rng.integers(len(raw))
    return raw[:at] + raw[at + rng.integers(1, 64) :]


DAMAGES = (cut, flip, scribble, lose)


# Messages


def a_chunk() -> object:
    def new_duration(**parts: int) -> object:
        return message("builtin_interfaces/msg/Duration", **parts)

    return wire.fill_chunk(
        message("trajectory_msgs/msg/MultiDOFJointTrajectory"),
        ActionChunk(START_NS, np.tile(POSE7, (4, 1)), np.full(4, 0.04)),
        lambda: message("trajectory_msgs/msg/MultiDOFJointTrajectoryPoint"),
        lambda: message("geometry_msgs/msg/Transform"),
        new_duration,
    )


MESSAGES = {
    "/front/color/image_raw": image(0, START_NS),
    "/arm/joint_states": joints(START_NS),
    "/arm/ee_pose": ee_pose(START_NS),
    "/arm/external_wrench": wire.fill_wrench(
        message("geometry_msgs/msg/WrenchStamped"), np.ones(6), START_NS
    ),
    "/arm/command/chunk": a_chunk(),
    "/policy/instruction": message("std_msgs/msg/String", data="pick up the cube"),
    "/diagnostics": message("diagnostic_msgs/msg/DiagnosticArray"),
}


def keeps_its_promise(key: str, value: object) -> bool:
    """What `docs/data_contract.md` says of a key, as far as one value shows it."""
    if key == "images/front":
        return value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3 and value.size > 0
    if key == "ee_pose":
        return value.shape == (7,) and np.isfinite(value).all() and abs(np.linalg.norm(value[3:]) - 1) < 0.02
    if key == "command_chunk":
        return value.shape[1:] == (8,) and np.isfinite(value).all() and (np.diff(value[:, 0]) > 0).all()
    if key in ("joints", "wrench"):
        return value.shape == ({"joints": 8, "wrench": 6}[key],) and bool(np.isfinite(value).all())
    return isinstance(value, str | int)


def test_600_broken_messages_are_refused_or_keep_what_their_topic_promises(alarm):
    names, refused = list(MESSAGES), 0
    for case in range(600):
        rng = np.random.default_rng(case)
        topic = names[case % len(names)]
        other = names[(case + 1) % len(names)] if case % 5 == 4 else topic  # each fifth is of a wrong type
        cdr = serialize(MESSAGES[other])
        broken = cdr if other != topic else DAMAGES[case % 4](cdr, rng)
        alarm()
        try:
            key, _, value = wire.decode(topic, deserialize(broken, wire.topic(topic).type), START_NS)
        except ComoError:
            refused += 1
            continue
        assert keeps_its_promise(key, value), f"case {case}: {topic} gave {value!r}"
    assert refused > 300


@pytest.mark.parametrize("topic", MESSAGES)
def test_an_object_of_another_class_is_refused_with_the_topic(topic):
    for msg in (SimpleNamespace(), SimpleNamespace(header=None), None, *MESSAGES.values()):
        if msg is None or not isinstance(msg, type(MESSAGES[topic])):
            with pytest.raises(wire.WireError, match=topic):
                wire.decode(topic, msg, START_NS)


# Bags


def rows_or_refusal(episode: Path) -> list[Row] | str:
    try:
        bags.read_meta(episode)
        return [
            (r.arrived_ns, r.key, r.stamp_ns, np.asarray(r.value).tobytes())
            for r in bags.read_arrivals(episode)
        ]
    except ComoError as error:
        return str(error)


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return write_episode(tmp_path / "episode", seconds=0.1)


def broken_states(file: Path, cases: range, alarm: Callable[[], None]) -> Iterator[tuple[int, bytes]]:
    """The file in one broken state after the other, restored at the end."""
    whole = file.read_bytes()
    for case in cases:
        broken = DAMAGES[case % 4](whole, np.random.default_rng(case))
        file.write_bytes(broken)
        alarm()
        yield case, broken
    file.write_bytes(whole)


def test_150_broken_recordings_read_as_they_were_or_are_refused(episode, alarm):
    good, refused = rows_or_refusal(episode), 0
    for case, _ in broken_states(recording(episode), range(150), alarm):
        found = rows_or_refusal(episode)
        refused += isinstance(found, str)
        assert found == good or str(episode) in found, f"case {case}: {found}"
    assert refused > 50


def test_100_broken_unfinished_recordings_give_a_whole_beginning_or_are_refused(tmp_path, alarm):
    writer = bags.EpisodeWriter(tmp_path / "episode", CONTRACT)
    for i in range(40):
        writer.write_message("/arm/joint_states", joints(START_NS + i * MS), START_NS + i * MS)
        if i % 8 == 7:
            writer.flush()
    good = rows_or_refusal(writer.path)
    whole_bytes = recording(writer.path).stat().st_size
    assert len(good) == 40
    for case, broken in broken_states(recording(writer.path), range(100), alarm):
        found = rows_or_refusal(writer.path)
        if isinstance(found, str):
            assert str(writer.path) in found
        else:
            shorter = len(broken) < whole_bytes
            assert found == good[: len(found)], f"case {case}"
            assert len(found) == 40 or shorter, f"case {case}: lost messages without saying so"


def test_100_broken_metadata_files_say_what_they_said_or_are_refused(episode, alarm):
    good = (bags.read_meta(episode), rows_or_refusal(episode))
    for case, _ in broken_states(episode / "metadata.yaml", range(100), alarm):
        found = rows_or_refusal(episode)
        if isinstance(found, str):
            assert str(episode) in found
        else:
            assert (bags.read_meta(episode), found) == good, f"case {case}"


def test_100_broken_sqlite_bags_are_refused_or_give_as_many_messages(tmp_path, episode, alarm):
    converted = as_sqlite(episode, tmp_path / "sqlite")
    good = rows_or_refusal(converted)
    for case, _ in broken_states(next(converted.glob("*.db3")), range(100), alarm):
        found = rows_or_refusal(converted)
        if isinstance(found, str):
            assert str(converted) in found, f"case {case}"
        else:
            # no checksum guards a row: a flipped bit may pass, a lost or added message may not
            assert len(found) == len(good), f"case {case}"

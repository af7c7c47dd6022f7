"""Episodes recorded as rosbag2 folders: keys with capture stamps and numpy values out of them. Needs no ROS.

One folder an episode, of one or more MCAP or SQLite files. MCAP is read front to back, so that a recording
that was killed reads up to its last flushed chunk.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from backports import zstd

from como_ros import wire
from como_ros.bag_meta import (
    EpisodeMeta,
    bag_information,
    episodes,
    message_counts,
    read_meta,
    recordings,
    type_hashes,
)
from como_ros.bag_writer import INTERRUPTED, BagError, EpisodeWriter, git_hash
from como_ros.errors import ComoError
from como_ros.mcap import Channel, Mcap, RawMessage
from como_ros.sqlite_bag import SqliteBag
from como_ros.typestore import deserialize, message, type_fault

__all__ = [
    "INTERRUPTED",
    "Arrival",
    "BagError",
    "EpisodeMeta",
    "EpisodeWriter",
    "episodes",
    "git_hash",
    "message",
    "read_arrivals",
    "read_events",
    "read_meta",
    "read_raw",
    "stored_messages",
]

LATE_NS = 1_000_000_000
"""How much later than others a message may arrive and still be put in its place."""


_PACKED = b"\x28\xb5\x2f\xfd"
"""How a zstd frame begins; no message does."""


class Arrival(NamedTuple):
    """One decoded message in the order of arrival."""

    arrived_ns: int
    key: str
    stamp_ns: int
    value: Any


def read_raw(path: Path) -> Iterator[tuple[Path, RawMessage]]:
    """Every message of an episode undecoded, with the file that holds it, in the order of writing.

    An episode whose writer was killed ends where its last whole chunk ends; a closed one that lacks messages
    raises.
    """
    path = Path(path)
    yield from _stored(path, bag_information(path))


def _stored(path: Path, info: dict[str, Any] | None) -> Iterator[tuple[Path, RawMessage]]:
    found: Counter[str] = Counter()
    for file in recordings(path, info):
        for raw in stored_messages(file):
            found[raw.channel.topic] += 1
            yield file, raw
    if info is not None and found != (told := message_counts(info)):
        wrong = {topic: (found[topic], told[topic]) for topic in found | told if found[topic] != told[topic]}
        listed = ", ".join(f"{topic} {there} of {said}" for topic, (there, said) in sorted(wrong.items()))
        raise BagError(
            f"{path} holds other messages than its metadata says ({listed}); part of it is damaged, "
            "copy it anew or leave the episode out"
        )


def stored_messages(file: Path) -> Iterator[RawMessage]:
    """The messages of one file as they crossed the wire, also where rosbag2 packed each by itself."""
    for raw in (Mcap(file) if file.suffix == ".mcap" else SqliteBag(file)).messages():
        yield _unpacked(file, raw) if raw.cdr[: len(_PACKED)] == _PACKED else raw


def _unpacked(file: Path, raw: RawMessage) -> RawMessage:
    try:
        return raw._replace(cdr=zstd.decompress(raw.cdr))
    except zstd.ZstdError as error:
        where = f"{file}: {raw.channel.topic} at {raw.log_ns} ns"
        raise BagError(f"{where} cannot be decompressed ({error}); leave it out") from error


def read_arrivals(
    path: Path, keys: Collection[str] | None = None, passed_over: dict[str, int] | None = None
) -> Iterator[Arrival]:
    """Every message on the wire's topics, as it arrived; array values are views of the recording.

    With `keys` only theirs are decoded. `passed_over` takes the other topics, with their first arrival. Of
    pictures that a closed bag holds twice the compressed ones are left out.
    """
    path = Path(path)
    info = bag_information(path)
    whole = set(message_counts(info)) if info else set()
    wanted = {
        name
        for name, topic in wire.KNOWN.items()
        if (keys is None or topic.key in keys)
        and not (name.endswith(wire.COMPRESSED) and name.removesuffix(wire.COMPRESSED) in whole)
    }
    hashes = type_hashes(info)
    checked: set[Channel] = set()
    for file, raw in _stored(path, info):
        channel = raw.channel
        if channel.topic not in wanted:
            if passed_over is not None:
                passed_over.setdefault(channel.topic, raw.log_ns)
            continue
        if channel not in checked:
            _check_channel(file, channel, hashes.get(channel.topic, ""))
            checked.add(channel)
        yield _decoded(file, raw)


def _check_channel(file: Path, channel: Channel, digest: str) -> None:
    """A topic that holds another type, or another version of it, is refused before any of it is decoded."""
    expected = wire.topic(channel.topic).type
    fault = f"holds {channel.type}, not {expected}" if channel.type != expected else ""
    if channel.serialization != "cdr":
        fault = f"is serialised as {channel.serialization!r}, not as cdr"
    if fault := fault or type_fault(channel.type, channel.definition, digest):
        remedy = "record it anew with this version or leave the episode out"
        raise BagError(f"{file}: {channel.topic} {fault}; {remedy}")


def _decoded(file: Path, raw: RawMessage) -> Arrival:
    channel, log_ns, cdr = raw
    try:
        return Arrival(log_ns, *wire.decode(channel.topic, deserialize(cdr, channel.type), log_ns))
    except ComoError as error:
        where = f"{file}: {channel.topic} at {log_ns} ns"
        raise BagError(f"{where}: {error}; record it anew or leave the episode out") from error


def read_events(path: Path, keys: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
    """(key, capture stamp, value) in the order of capture."""
    for arrival in _in_stamp_order(read_arrivals(path, keys)):
        yield arrival[1:]


def _in_stamp_order(arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """Hold each message back for `LATE_NS`, so that memory stays bounded; a clock set back starts anew."""
    held: list[tuple[int, int, Arrival]] = []
    newest_ns = 0
    for number, arrival in enumerate(arrivals):
        until_ns = arrival.arrived_ns - LATE_NS
        if arrival.arrived_ns < newest_ns - LATE_NS:
            until_ns = newest_ns + LATE_NS
        while held and held[0][0] <= until_ns:
            yield heapq.heappop(held)[2]
        newest_ns = arrival.arrived_ns
        heapq.heappush(held, (arrival.stamp_ns, number, arrival))
    while held:
        yield heapq.heappop(held)[2]

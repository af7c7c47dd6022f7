"""Episodes recorded as rosbag2 folders: keys with capture stamps and numpy values out of them. Needs no ROS.

One folder an episode. What `EpisodeWriter` writes is read front to back, so that a recording that was killed
reads up to its last flushed chunk.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from como_ros import wire
from como_ros.bag_writer import INTERRUPTED, UNFINISHED, BagError, EpisodeWriter, git_hash
from como_ros.errors import ComoError
from como_ros.mcap import Mcap, RawMessage, ends_whole
from como_ros.typestore import deserialize, message
from policies.spaces import Contract, ContractError

__all__ = [
    "INTERRUPTED",
    "BagError",
    "EpisodeMeta",
    "EpisodeWriter",
    "episodes",
    "git_hash",
    "message",
    "read_arrivals",
    "read_events",
    "read_meta",
]

LATE_NS = 1_000_000_000
"""How much later than others a message may arrive and still be put in its place."""


@dataclass(frozen=True)
class EpisodeMeta:
    """What an episode says of itself."""

    path: Path
    contract: Contract
    instruction: str
    outcome: str
    git_hash: str
    provenance: dict[str, str]
    closed: bool
    """False: its writer was killed, the recording ends at its last flushed chunk."""


class Arrival(NamedTuple):
    """One decoded message in the order of arrival."""

    arrived_ns: int
    key: str
    stamp_ns: int
    value: Any


def episodes(folder: Path) -> list[Path]:
    """The episodes in a folder, or the folder itself if it is one, by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BagError(f"{folder} is no folder; give the folder that holds the episodes")
    found = sorted(path.parent for path in folder.glob("*/*.mcap"))
    return [folder] if any(folder.glob("*.mcap")) else list(dict.fromkeys(found))


def read_meta(path: Path) -> EpisodeMeta:
    """The episode's contract, instruction and outcome."""
    custom, closed = _custom_data(Path(path))
    try:
        contract = Contract.from_json(custom.pop("contract"))
    except KeyError:
        raise BagError(
            f"{path} embeds no contract; record it with the recorder node or EpisodeWriter"
        ) from None
    except ContractError as error:
        raise BagError(f"{path}: {error}; record it anew with this version") from error
    said = {key: custom.pop(key, "") for key in ("instruction", "outcome", "git_hash")}
    return EpisodeMeta(Path(path), contract, **said, provenance=custom, closed=closed)


def _custom_data(path: Path) -> tuple[dict[str, str], bool]:
    info = _bag_information(path)
    if info is not None:
        return dict(info.get("custom_data") or {}), True
    unfinished = path / UNFINISHED
    if not unfinished.exists():
        raise BagError(f"{path} is no episode: neither metadata.yaml nor {UNFINISHED} is there")
    try:
        return dict(json.loads(unfinished.read_text("utf8"))), False
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise _damaged(unfinished, error) from error


def _bag_information(path: Path) -> dict[str, Any] | None:
    """What rosbag2 wrote when it closed the bag; None while it is open."""
    metadata = path / "metadata.yaml"
    if not metadata.exists():
        return None
    try:
        return dict(YAML(typ="safe").load(metadata.read_text("utf8"))["rosbag2_bagfile_information"])
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(metadata, error) from error


def _damaged(path: Path, error: Exception) -> BagError:
    reason = str(error).splitlines()[0]
    return BagError(f"{path}: damaged metadata ({reason}); restore it or leave the episode out")


def read_arrivals(path: Path) -> Iterator[Arrival]:
    """Every message on the wire's topics, as it arrived; array values are views of the recording.

    An episode whose writer was killed ends where its last whole chunk ends; a closed one that lacks messages
    raises.
    """
    path = Path(path)
    info = _bag_information(path)
    files = _recordings(path, closed=info is not None)
    found = 0
    for file in files:
        for raw in Mcap(file).messages():
            found += 1
            if raw.topic in wire.TOPICS:
                yield _decoded(file, raw)
    if info is not None and found != info.get("message_count"):
        told = f"{found} messages, its metadata {info.get('message_count')}"
        raise BagError(f"{path} holds {told}; part of it is damaged, copy it anew or leave the episode out")


def _decoded(file: Path, raw: RawMessage) -> Arrival:
    expected = wire.TOPICS[raw.topic].type
    if raw.type != expected:
        raise BagError(f"{file}: {raw.topic} holds {raw.type}, not {expected}; leave the episode out")
    try:
        return Arrival(raw.log_ns, *wire.decode(raw.topic, deserialize(raw.cdr, raw.type), raw.log_ns))
    except ComoError as error:
        raise BagError(f"{file}: {raw.topic} at {raw.log_ns} ns: {error}") from error


def _recordings(path: Path, closed: bool) -> list[Path]:
    files = sorted(path.glob("*.mcap"))
    if not files:
        raise BagError(f"{path} holds no .mcap file; give an episode's folder")
    if closed and (cut := [file for file in files if not ends_whole(file)]):
        raise BagError(f"{cut[0]} is cut short although it was closed; copy it anew or leave the episode out")
    return files


def read_events(path: Path) -> Iterator[tuple[str, int, Any]]:
    """(key, capture stamp, value) in the order of capture."""
    for arrival in _in_stamp_order(read_arrivals(path)):
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

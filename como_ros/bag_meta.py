"""What an episode says of itself, and which files it is made of, in which order."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from como_ros.bag_writer import CHECKSUM, UNFINISHED, BagError, checksum
from como_ros.mcap import ends_whole
from policies.spaces import Contract, ContractError

METADATA = "metadata.yaml"
STORED = (".mcap", ".db3")
NOTED: dict[str, type] = {"flags": list, "drops": dict}
"""What the recorder adds as JSON: what it saw go wrong, and what it lost by topic."""


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

    @property
    def flags(self) -> tuple[str, ...]:
        """What the recorder saw go wrong while it recorded: streams that were silent, late, slow or lossy."""
        return tuple(map(str, json.loads(self.provenance.get("flags", "[]"))))


def episodes(folder: Path) -> list[Path]:
    """The episodes in a folder, or the folder itself if it is one, by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BagError(f"{folder} is no folder; give the folder that holds the episodes")
    if _is_episode(folder):
        return [folder]
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_episode(path))


def _is_episode(folder: Path) -> bool:
    names = [METADATA, UNFINISHED, *(f"*{suffix}" for suffix in STORED)]
    return any(True for name in names for _ in folder.glob(name))


def read_meta(path: Path, expected: Contract | None = None) -> EpisodeMeta:
    """The episode's contract, instruction and outcome; `expected` is what the reader is made for."""
    path = Path(path)
    custom, closed = custom_data(path)
    told = custom.pop(CHECKSUM, "")
    intact = not told or told == checksum(custom)
    try:
        contract = Contract.from_json(custom.pop("contract"))
    except KeyError:
        raise BagError(
            f"{path} embeds no contract; record it with the recorder node or EpisodeWriter"
        ) from None
    except ContractError as error:
        raise BagError(f"{path}: {error}; record it anew with this version") from error
    if not intact:
        raise BagError(f"{path}: its metadata was altered after it was closed; restore it or leave it out")
    for key, kind in NOTED.items():
        _require_noted(path, key, kind, custom.get(key))
    if expected is not None:
        expected.require(contract, f"bag {path}")
    said = {key: custom.pop(key, "") for key in ("instruction", "outcome", "git_hash")}
    return EpisodeMeta(path, contract, **said, provenance=custom, closed=closed)


def _require_noted(path: Path, key: str, kind: type, text: str | None) -> None:
    """What the recorder noted as JSON must be what it says."""
    try:
        noted = kind() if text is None else json.loads(text)
    except ValueError as error:
        raise BagError(
            f"{path}: its {key} are damaged ({error}); restore its metadata or leave it out"
        ) from error
    if not isinstance(noted, kind):
        raise BagError(
            f"{path}: its {key} are {text!r}, no {kind.__name__}; restore its metadata or leave it out"
        )


def custom_data(path: Path) -> tuple[dict[str, str], bool]:
    """What the writer embedded, and whether it closed the episode."""
    info = bag_information(path)
    if info is not None:
        return {str(key): str(value) for key, value in (info.get("custom_data") or {}).items()}, True
    unfinished = path / UNFINISHED
    if not unfinished.exists():
        raise BagError(
            f"{path} is no episode: neither {METADATA} nor {UNFINISHED} is there; restore one or leave it out"
        )
    try:
        told = json.loads(unfinished.read_text("utf8"))
        return {str(key): str(value) for key, value in told.items()}, False
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(unfinished, error) from error


def bag_information(path: Path) -> dict[str, Any] | None:
    """What rosbag2 wrote when it closed the bag; None while it is open."""
    metadata = path / METADATA
    if not metadata.exists():
        return None
    try:
        return parse_metadata(metadata.read_text("utf8"))
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(metadata, error) from error


@lru_cache(maxsize=64)
def parse_metadata(text: str) -> dict[str, Any]:
    """The document, not to be changed; parsing takes longer than reading a second of the arm's state."""
    info = dict(YAML(typ="safe").load(text)["rosbag2_bagfile_information"])
    dict(info.get("custom_data") or {})
    list(info.get("relative_file_paths") or [])
    type_hashes(info), message_counts(info)
    return info


def type_hashes(info: dict[str, Any] | None) -> dict[str, str]:
    """Topic -> hash of its message type, where the bag was closed by ROS 2 Iron or newer."""
    described = [row["topic_metadata"] for row in _topic_rows(info or {})]
    return {str(row["name"]): str(row.get("type_description_hash") or "") for row in described}


def message_counts(info: dict[str, Any]) -> Counter[str]:
    """Topic -> messages, as counted when the bag was closed; topics without any are left out."""
    counts: Counter[str] = Counter()
    for row in _topic_rows(info):
        counts[str(row["topic_metadata"]["name"])] += int(row["message_count"])
    return +counts


def _topic_rows(info: dict[str, Any]) -> list[dict[str, Any]]:
    return list(info.get("topics_with_message_count") or [])


def _damaged(path: Path, error: Exception) -> BagError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return BagError(f"{path}: damaged metadata ({reason}); restore it or leave the episode out")


def recordings(path: Path, info: dict[str, Any] | None) -> list[Path]:
    """The files in the order in which they were written: as the metadata lists them, else by number."""
    files = sorted((file for file in path.glob("*") if file.suffix in STORED), key=_number)
    if info and (listed := [str(name) for name in info.get("relative_file_paths") or []]):
        files = [_unpacked(path / Path(name).name) for name in listed]  # old bags name the folder in front
    if packed := [file for file in files if file.suffix not in STORED]:
        raise BagError(f"{packed[0]} is neither .mcap nor .db3; unpack it, for instance with `zstd -d`")
    if not files:
        raise BagError(f"{path} holds no .mcap or .db3 file; give an episode's folder")
    if missing := [file for file in files if not file.is_file()]:
        raise BagError(f"{missing[0]} is missing, {METADATA} lists it; copy the episode anew or leave it out")
    closed = [file for file in files if info is not None and file.suffix == ".mcap"]
    if cut := [file for file in closed if not ends_whole(file)]:
        remedy = "copy it anew or run `como bags check --repair`"
        raise BagError(f"{cut[0]} is cut short although it was closed; {remedy}")
    return files


def _unpacked(file: Path) -> Path:
    """What `zstd -d` made of a file that the metadata lists as it was packed."""
    unpacked = file.with_suffix("")
    return unpacked if unpacked.suffix in STORED and unpacked.is_file() else file


def _number(file: Path) -> tuple[int, str]:
    """rosbag2 splits into name_0, name_1, ... name_10."""
    found = re.search(r"_(\d+)$", file.stem)
    return (int(found[1]) if found else -1), file.name

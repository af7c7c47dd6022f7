"""Writes one episode as a rosbag2 folder: MCAP with zstd chunks that reach the disk at least every `FLUSH_S`.

The contract, the instruction, the outcome and the git hash travel in the bag's custom data; while an episode
is open, and for ever if its writer was killed, they stand in `unfinished.json` beside the recording instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from backports import zstd
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import McapWriter

from como_ros import wire
from como_ros.errors import BagError
from como_ros.typestore import TYPES, serialize
from policies.spaces import Contract

FLUSH_S = 0.25
UNFINISHED = "unfinished.json"
CHECKSUM = "checksum"
"""Key of the custom data that guards the others: neither YAML nor SQLite has a checksum of its own."""
INTERRUPTED = "interrupted"
"""Outcome of an episode that nobody closed."""

_ZSTD = {
    int(zstd.CompressionParameter.compression_level): 1,
    int(zstd.CompressionParameter.checksum_flag): 1,
}
_QOS = {
    "sensor": (5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE),
    "state": (1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL),
    "command": (1, QosReliability.RELIABLE, QosDurability.VOLATILE),
    "stream": (50, QosReliability.RELIABLE, QosDurability.VOLATILE),
}


class EpisodeWriter:
    """Writes one episode into the new folder `folder`; not thread-safe."""

    def __init__(
        self, folder: Path, contract: Contract, instruction: str = "", **provenance: str | float | bool
    ) -> None:
        self.path = Path(folder)
        self.contract = contract
        self.instruction = instruction
        self.counts: dict[str, int] = {}
        if self.path.exists():
            raise BagError(f"{self.path} exists already; give a new folder, episodes are never overwritten")
        self._custom = {"git_hash": git_hash()}
        self._custom |= {key: str(value) for key, value in provenance.items()}
        self._connections: dict[str, Connection] = {}
        self._flushed_s = time.monotonic()
        try:
            self._writer, self._storage = _open_bag(self.path)
            self._note_unfinished()
            self._storage.bio.flush()
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)  # ours: of another's the writer complains itself
            raise BagError(f"cannot write {self.path} ({error.strerror}); give a folder with room") from error
        except WriterError as error:  # somebody was quicker, or a link leads nowhere
            raise BagError(f"cannot write {self.path} ({error}); give a new folder") from error

    def write(self, topic_name: str, stamp_ns: int, cdr: bytes | memoryview) -> None:
        """Append one message as it crossed the wire; `stamp_ns` is when it arrived."""
        connection = self._connections.get(topic_name) or self._connect(topic_name)
        self._writer.write(connection, int(stamp_ns), cdr)
        self.counts[topic_name] += 1
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self.flush()

    def write_message(self, topic_name: str, msg: Any, stamp_ns: int) -> None:
        """Append a message object made by `message`."""
        self.write(topic_name, stamp_ns, serialize(msg))

    def restate(
        self, *, contract: Contract | None = None, instruction: str | None = None, **provenance: str
    ) -> None:
        """Say what was not known when the episode began."""
        self.contract = contract or self.contract
        self.instruction = instruction or self.instruction
        self._custom |= provenance
        self._note_unfinished()

    def hurry(self, wanted: bool) -> None:
        """Whether time is what is scarce: packing is three quarters of a writer's work."""
        self._storage.compressor = _packed_in_a_hurry if wanted else _packed

    def flush(self) -> None:
        """Close the pending chunk and hand it to the operating system, where a kill cannot reach it.

        A file that somebody removed takes bytes as before, for nobody: that is refused.
        """
        if not os.fstat(self._storage.bio.fileno()).st_nlink:
            raise BagError("its file was removed while it was recorded")
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()
        self._flushed_s = time.monotonic()

    def close(self, outcome: str, **provenance: str | float | bool) -> None:
        """Write the index and `metadata.yaml`; the outcome is success, kept, `failure: why`, ..."""
        self._custom |= {key: str(value) for key, value in provenance.items()}
        told = self._told(outcome)
        for key, value in {**told, CHECKSUM: checksum(told)}.items():
            self._writer.set_custom_data(key, value)
        self._writer.close()
        (self.path / UNFINISHED).unlink()

    def _connect(self, topic_name: str) -> Connection:
        topic = wire.topic(topic_name)
        connection = self._writer.add_connection(
            topic.name, topic.type, typestore=TYPES, offered_qos_profiles=[_qos(topic.qos)]
        )
        self._connections[topic_name] = connection
        self.counts[topic_name] = 0
        return connection

    def _told(self, outcome: str) -> dict[str, str]:
        told = {"contract": self.contract.to_json(), "instruction": self.instruction, "outcome": outcome}
        return {**self._custom, **told}

    def _note_unfinished(self) -> None:
        fresh = self.path / f"{UNFINISHED}.new"
        fresh.write_text(json.dumps(self._told(INTERRUPTED), indent=1), "utf8")
        fresh.replace(self.path / UNFINISHED)


def _open_bag(folder: Path) -> tuple[Writer, McapWriter]:
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    writer.open()
    storage = writer.storage
    assert isinstance(storage, McapWriter)
    storage.compressor = _packed
    return writer, storage


def _packed(records: bytes) -> bytes:
    """Level 1 packs 3-4 times as fast as the default; the checksum finds flipped bits when reading."""
    return zstd.compress(records, options=_ZSTD)


def _packed_in_a_hurry(records: bytes) -> bytes:
    """Five times as fast again for depth, of which it saves nothing."""
    return zstd.compress(records, options=_ZSTD | {int(zstd.CompressionParameter.compression_level): -30})


def _qos(kind: str) -> Qos:
    depth, reliability, durability = _QOS[kind]
    forever = QosTime(2147483647, 4294967295)
    liveliness = QosLiveliness.AUTOMATIC
    return Qos(
        QosHistory.KEEP_LAST, depth, reliability, durability, forever, forever, liveliness, forever, False
    )


def checksum(told: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(told), sort_keys=True).encode()).hexdigest()


@cache
def git_hash() -> str:
    """Commit of the source tree this runs from, with -dirty where changed; `unknown` where installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "package.xml").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return told.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"

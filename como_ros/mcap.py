"""Read an MCAP file from front to back, whether or not it was ever closed.

The index at the file's end is not needed: a recording that was killed reads up to its last whole record.
Damage is never read over in silence: `Mcap.truncated` says that the file stops short, and a chunk whose
checksum does not hold raises.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from backports import zstd
from lz4 import frame as lz4

from como_ros.errors import ComoError

MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")


class McapError(ComoError):
    """The file is no MCAP recording, or is damaged in the middle."""


class RawMessage(NamedTuple):
    """One message as it was recorded."""

    topic: str
    type: str
    log_ns: int
    cdr: memoryview


class Mcap:
    """One file; iterate over `messages()` in the order in which they were written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        """Set once `messages()` has come to an end before the file said so."""
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, tuple[str, str]] = {}

    def messages(self) -> Iterator[RawMessage]:
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise McapError(
                    f"{self.path} is no MCAP file: it does not begin with the MCAP magic; remove it"
                )
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.truncated = True
        for opcode, start, end in self._records(data, len(MAGIC)):
            if opcode == _DATA_END:
                self.truncated = False
                return
            if opcode == _CHUNK:
                yield from self._chunk(data[start:end], start)
            else:
                yield from self._record(opcode, data[start:end])

    def _records(self, data: memoryview, at: int) -> Iterator[tuple[int, int, int]]:
        """Opcode, start and end of every whole record."""
        while at + _RECORD.size <= len(data):
            opcode, length = _RECORD.unpack_from(data, at)
            start = at + _RECORD.size
            at = start + length
            if at > len(data):
                return
            yield opcode, start, at

    def _chunk(self, chunk: memoryview, offset: int) -> Iterator[RawMessage]:
        try:
            records = memoryview(_unpack_chunk(chunk))
        except (zstd.ZstdError, RuntimeError, ValueError, struct.error) as error:
            where = f"{self.path}: the chunk at byte {offset} is damaged ({error})"
            raise McapError(
                f"{where}; everything before it reads, restore the file or leave it out"
            ) from error
        end = 0
        for opcode, start, end in self._records(records, 0):
            yield from self._record(opcode, records[start:end])
        if end != len(records):
            raise McapError(f"{self.path}: the chunk at byte {offset} ends inside a record; restore the file")

    def _record(self, opcode: int, body: memoryview) -> Iterator[RawMessage]:
        try:
            if opcode == _SCHEMA:
                self._schemas[_u16(body, 0)] = _text(body, 2)[0]
            elif opcode == _CHANNEL:
                self._channels[_u16(body, 0)] = (_text(body, 4)[0], self._schemas.get(_u16(body, 2), ""))
            elif opcode == _MESSAGE:
                channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(body)
                yield RawMessage(*self._channels[channel], log_ns, body[_MESSAGE_HEAD.size :])
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise McapError(f"{self.path}: a record of kind {opcode} is damaged ({error!r})") from error


def ends_whole(path: Path) -> bool:
    """Whether the file was closed: it ends with the magic that comes after the index."""
    with path.open("rb") as file:
        file.seek(0, 2)
        if file.tell() < 2 * len(MAGIC):
            return False
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def _unpack_chunk(chunk: memoryview) -> bytes | memoryview:
    _, _, size, crc = _CHUNK_HEAD.unpack_from(chunk)
    compression, at = _text(chunk, _CHUNK_HEAD.size)
    packed = chunk[at + 8 : at + 8 + struct.unpack_from("<Q", chunk, at)[0]]
    if compression == "zstd":
        records: bytes | memoryview = zstd.decompress(packed)
    elif compression == "lz4":
        records = lz4.decompress(packed)
    elif compression == "":
        records = packed
    else:
        raise ValueError(f"compression {compression!r} is unknown; known: zstd, lz4 and none")
    if len(records) != size or (crc and zlib.crc32(records) != crc):
        raise ValueError(f"{len(records)} bytes do not match the recorded size {size} and checksum")
    return records


def _u16(body: memoryview, at: int) -> int:
    return int(struct.unpack_from("<H", body, at)[0])


def _text(body: memoryview, at: int) -> tuple[str, int]:
    """A length-prefixed string and the position after it."""
    end = at + 4 + int(struct.unpack_from("<I", body, at)[0])
    if end > len(body):
        raise struct.error(f"a text ends at byte {end} of {len(body)}")
    return bytes(body[at + 4 : end]).decode(), end

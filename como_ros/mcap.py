"""Read an MCAP file from front to back, whether or not it was ever closed.

The index at the file's end is not needed: a recording that was killed reads up to its last whole record.
Damage is never read over in silence: `Mcap.truncated` says that the file stops short; a chunk whose checksum
does not hold, or that holds other messages than the index behind it says, raises.
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

from como_ros.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _INDEX = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
_DATA_END = 0x0F
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_LATEST_NS = (1 << 63) - 1
"""What numpy and SQLite can count to, in the year 2262."""
_DATA_END_BYTES = 4
_HEADER_BYTES = 256
"""More than any header takes."""
_PARTIAL_BYTES, _PARTIAL_MESSAGE_BYTES = 1 << 20, 64 << 20
"""No record but a chunk is longer, and no message outside of one, which may be a picture: what claims to be,
at the end of a file, has a damaged length."""


class McapError(BagError):
    """The file is no MCAP recording, or is damaged in the middle."""


class Channel(NamedTuple):
    """What a bag says of the messages on one topic."""

    topic: str
    type: str
    definition: str
    """The type written out, as text; empty where the bag does not keep it."""
    serialization: str = "cdr"


class RawMessage(NamedTuple):
    """One message as it was recorded."""

    channel: Channel
    log_ns: int
    cdr: memoryview | bytes


class Mcap:
    """One file; iterate over `messages()` in the order in which they were written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        """Set once `messages()` has come to an end before the file said so."""
        self._schemas: dict[int, tuple[str, str]] = {0: ("", "")}
        self._channels: dict[int, Channel] = {}
        self._chunked: int | None = None
        """Messages in the newest chunk."""
        self._indexed = 0
        """Messages that the index records behind it list."""

    def messages(self) -> Iterator[RawMessage]:
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise McapError(
                    f"{self.path} is no MCAP file: it does not begin with the MCAP magic; remove it"
                )
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.truncated = True
        for opcode, start, end in self._records(data, len(MAGIC)):
            if opcode == _CHUNK:
                self._check_index(start)
                yield from self._chunk(data[start:end], start)
            elif opcode == _INDEX:
                self._indexed += (end - start - 6) // 16
            elif opcode == _DATA_END and end - start == _DATA_END_BYTES:
                self._check_index(start)
                self.truncated = False
                return
            elif opcode in (_FOOTER, _DATA_END):
                raise self._damaged(start, f"a record of kind {opcode} is out of place")
            else:
                yield from self._record(opcode, data[start:end], start)
        if self._indexed > (self._chunked or 0):
            self._check_index(len(data))

    def _records(self, data: memoryview, at: int) -> Iterator[tuple[int, int, int]]:
        """Opcode, start and end of every whole record."""
        while at + _RECORD.size <= len(data):
            opcode, length = _RECORD.unpack_from(data, at)
            start = at + _RECORD.size
            at = start + length
            if at > len(data):
                self._check_partial(opcode, data[start:], length, start)
                return
            yield opcode, start, at

    def _check_partial(self, opcode: int, body: memoryview, length: int, at: int) -> None:
        """The last record of a file that was cut ends beyond it; so does one whose length is damaged."""
        if not 0 < opcode <= _DATA_END or _own_length(opcode, body, length) != length:
            raise self._damaged(at, f"a record of kind {opcode} claims {length} bytes")

    def _chunk(self, chunk: memoryview, at: int) -> Iterator[RawMessage]:
        try:
            records = memoryview(_unpack_chunk(chunk))
        except (zstd.ZstdError, RuntimeError, ValueError, struct.error, MemoryError) as error:
            raise self._damaged(at, f"the chunk is damaged ({error})") from error
        end, self._chunked = 0, 0
        for opcode, start, end in self._records(records, 0):
            for message in self._record(opcode, records[start:end], at):
                self._chunked += 1
                yield message
        if end != len(records):
            raise self._damaged(at, "the chunk ends inside a record")

    def _check_index(self, at: int) -> None:
        """A chunk that was not recognised as one leaves its index behind."""
        if self._indexed and self._indexed != self._chunked:
            raise self._damaged(at, f"{self._indexed} messages are listed, {self._chunked or 0} are there")
        self._chunked, self._indexed = None, 0

    def _record(self, opcode: int, body: memoryview, at: int) -> Iterator[RawMessage]:
        try:
            if opcode == _MESSAGE:
                channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(body)
                if log_ns > _LATEST_NS:
                    raise struct.error(f"it is logged at {log_ns} ns")
                yield RawMessage(self._channels[channel], log_ns, body[_MESSAGE_HEAD.size :])
            elif opcode == _SCHEMA:
                name, behind = _text(body, 2)
                _, behind = _text(body, behind)
                self._schemas[_u16(body, 0)] = (name, _text(body, behind)[0])
            elif opcode == _CHANNEL:
                topic, behind = _text(body, 4)
                schema = self._schemas[_u16(body, 2)]
                self._channels[_u16(body, 0)] = Channel(topic, *schema, _text(body, behind)[0])
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise self._damaged(at, f"a record of kind {opcode} is damaged ({error!r})") from error

    def _damaged(self, at: int, what: str) -> McapError:
        remedy = "everything before it reads: restore the file or run `como bags check --repair`"
        return McapError(f"{self.path}, byte {at}: {what}; {remedy}")


def ends_whole(path: Path) -> bool:
    """Whether the file was closed: it ends with the magic that comes after the index."""
    with path.open("rb") as file:
        file.seek(0, 2)
        if file.tell() < 2 * len(MAGIC):
            return False
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def _own_length(opcode: int, body: memoryview, length: int) -> int:
    """How long a record must be by what it begins with; `length` itself where that cannot be told."""
    if opcode == _INDEX and len(body) >= 6:
        return 6 + int(struct.unpack_from("<I", body, 2)[0])
    try:
        if opcode == _CHUNK and len(body) >= _CHUNK_HEAD.size + 16:
            _, at = _text(body, _CHUNK_HEAD.size)
            return at + 8 + int(struct.unpack_from("<Q", body, at)[0])
        if opcode == _HEADER and len(body) > _HEADER_BYTES:
            return _text(body, _text(body, 0)[1])[1]
    except (struct.error, UnicodeDecodeError):
        return -1
    most = _PARTIAL_MESSAGE_BYTES if opcode == _MESSAGE else _PARTIAL_BYTES
    return length if opcode == _CHUNK or length <= most else -1


def _unpack_chunk(chunk: memoryview) -> bytes | memoryview:
    _, _, size, crc = _CHUNK_HEAD.unpack_from(chunk)
    compression, at = _text(chunk, _CHUNK_HEAD.size)
    packed = chunk[at + 8 :]
    if len(packed) != struct.unpack_from("<Q", chunk, at)[0]:
        raise ValueError(f"it holds {len(packed)} bytes of records, not as many as it says")
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

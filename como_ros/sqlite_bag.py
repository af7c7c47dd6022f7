"""Read a rosbag2 SQLite file (.db3) row by row, in the order in which it was written. Needs no ROS.

SQLite keeps no checksums: damage to its pages raises, a bit flipped inside a message can only be found where
the message breaks what its topic promises. Record MCAP where that matters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from como_ros.errors import BagError
from como_ros.mcap import Channel, RawMessage


class SqliteError(BagError):
    """The file is no rosbag2 SQLite recording, or is damaged."""


class SqliteBag:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def messages(self) -> Iterator[RawMessage]:
        unchanging = "" if self.path.with_name(f"{self.path.name}-wal").exists() else "&immutable=1"
        address = f"{self.path.absolute().as_uri()}?mode=ro{unchanging}"
        try:
            with closing(sqlite3.connect(address, uri=True)) as database:
                channels = _channels(database)
                rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id")
                for topic_id, log_ns, data in rows:
                    yield self._message(channels.get(topic_id), log_ns, data)
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            raise SqliteError(f"{self.path} is damaged ({error}); copy it anew or leave it out") from error

    def _message(self, channel: Channel | None, log_ns: object, data: object) -> RawMessage:
        if channel is None or not isinstance(log_ns, int) or not isinstance(data, bytes):
            raise SqliteError(f"{self.path} is damaged: a row at {log_ns!r} ns is no message; leave it out")
        return RawMessage(channel, log_ns, data)


def _channels(database: sqlite3.Connection) -> dict[int, Channel]:
    """Topics by their id; recordings of Humble and older keep no definitions."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    kept = "SELECT topic_type, encoded_message_definition FROM message_definitions"
    definitions = dict(database.execute(kept)) if "message_definitions" in tables else {}
    topics = database.execute("SELECT id, name, type, serialization_format FROM topics")
    found = {row[0]: Channel(row[1], row[2], definitions.get(row[2], ""), row[3]) for row in topics}
    if wrong := [channel for channel in found.values() if not all(isinstance(text, str) for text in channel)]:
        raise sqlite3.DataError(f"a topic is described by {wrong[0]}")
    return found

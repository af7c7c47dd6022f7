"""Who commands: two publishers on one command topic would pull the arm to and fro. Pure."""

from __future__ import annotations

ALONE_NS = 1_000_000_000
"""Longer than the period of set-points and heartbeats, shorter than a killed speaker needs to come back."""
CHUNKS_ALONE_NS = 2_000_000_000
"""The same for chunks: a policy may send one and the next only when it has ended, after 1.6 s."""


class Speakers:
    """Hears every command's sender, by whatever identifies a publisher."""

    def __init__(self, alone_ns: int = ALONE_NS) -> None:
        self._alone_ns = alone_ns
        self._heard_ns: dict[bytes, int] = {}

    def two(self, sender: bytes, now_ns: int) -> bool:
        """Take note of a command; whether another publisher has spoken lately."""
        recent = {who: at for who, at in self._heard_ns.items() if now_ns - at < self._alone_ns}
        self._heard_ns = recent | {sender: now_ns}
        return len(self._heard_ns) > 1

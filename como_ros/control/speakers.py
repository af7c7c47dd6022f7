"""Who commands: two publishers on one command topic would pull the arm to and fro. Pure."""

from __future__ import annotations

ALONE_NS = 1_000_000_000
"""Longer than the period of any commander, shorter than a killed one needs to start again."""


class Speakers:
    """Hears every command's sender, by whatever identifies a publisher."""

    def __init__(self) -> None:
        self._heard_ns: dict[bytes, int] = {}

    def two(self, sender: bytes, now_ns: int) -> bool:
        """Take note of a command; whether another publisher has spoken within the last second."""
        recent = {who: at for who, at in self._heard_ns.items() if now_ns - at < ALONE_NS}
        self._heard_ns = recent | {sender: now_ns}
        return len(self._heard_ns) > 1

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


class Turns:
    """A topic that two drivers share, each in its turn: the last words of who has yielded are no contest."""

    def __init__(self, alone_ns: int = ALONE_NS) -> None:
        self._alone_ns = alone_ns
        self._turn, self._since_ns = "", 0
        self._spoke_in: dict[bytes, str] = {}
        """Whose turn it was when a sender was last heard."""
        self._speakers = Speakers(alone_ns)

    def begin(self, turn: str, now_ns: int) -> None:
        """Somebody else's turn, or the same one's still."""
        if turn != self._turn:
            self._turn, self._since_ns = turn, now_ns
            self._speakers = Speakers(self._alone_ns)

    def is_late(self, sender: bytes, now_ns: int) -> bool:
        """Whether this was said by somebody who spoke in another's turn, which has only just ended."""
        spoke_in = self._spoke_in.get(sender, self._turn)
        return spoke_in != self._turn and now_ns - self._since_ns < self._alone_ns

    def two(self, sender: bytes, now_ns: int) -> bool:
        """As `Speakers.two`, within this turn."""
        self._spoke_in = {**self._spoke_in, sender: self._turn}
        return self._speakers.two(sender, now_ns)

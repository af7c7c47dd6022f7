"""Who is let in at the robot's ports: one client at a time, and nobody who does not greet like one.

A real controller is not kept busy by a port scanner or by half a message. franka-sim serves whoever comes
first and waits for his words, so newcomers wait in a lobby until they have greeted, and while a client is
served others are turned away.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

PATIENCE_S = 0.5
"""For a greeting, and for the rest of a message once it has begun."""
BACKLOG = 16
_LOOK_S = 0.05
_PARTIAL_S = 0.01
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def turn_away(newcomer: socket.socket) -> None:
    """Refuse; a plain goodbye would leave libfranka waiting for an answer for ever."""
    with suppress(OSError):
        newcomer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    newcomer.close()


class Lobby(socket.socket):
    """A listening socket that accepts only who has greeted."""

    _waiting: dict[socket.socket, tuple[Any, float]]
    """Who has not greeted yet: address, when he came."""
    header_bytes: int
    greets: Callable[[bytes], bool]
    """Whether a first header is that of a client's greeting."""

    @classmethod
    def of(cls, plain: socket.socket, header_bytes: int, greets: Callable[[bytes], bool]) -> Lobby:
        """In place of a socket that does not listen yet."""
        lobby = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        lobby.header_bytes, lobby.greets = header_bytes, greets
        lobby._waiting = {}
        return lobby

    def listen(self, backlog: int = BACKLOG) -> None:
        super().listen(max(backlog, BACKLOG))

    def accept(self) -> tuple[socket.socket, Any]:
        """The next who greets; TimeoutError when nobody did in the socket's timeout."""
        deadline = time.monotonic() + (self.gettimeout() or 1.0)
        while time.monotonic() < deadline:
            if self.fileno() < 0:
                raise OSError(errno.EBADF, "the lobby was closed")
            ready = select.select([self, *self._waiting], [], [], _LOOK_S)[0]
            if self in ready:
                newcomer, address = super().accept()
                self._waiting[newcomer] = address, time.monotonic()
            if (found := self._greeted(ready)) is not None:
                return found
            self.lose_patience()
        raise TimeoutError("nobody greeted")

    def _greeted(self, ready: list[socket.socket]) -> tuple[socket.socket, Any] | None:
        for visitor in [v for v in self._waiting if v in ready]:
            head = _peek(visitor, self.header_bytes)
            if len(head) == self.header_bytes and self.greets(head):
                return visitor, self._waiting.pop(visitor)[0]
            if len(head) in (0, self.header_bytes):
                del self._waiting[visitor]
                turn_away(visitor)
            else:
                time.sleep(_PARTIAL_S)
        return None

    def lose_patience(self) -> None:
        """Turn away who has waited too long, for words or for another client to leave."""
        since = time.monotonic() - PATIENCE_S
        for visitor in [v for v, (_, came) in self._waiting.items() if came < since]:
            del self._waiting[visitor]
            turn_away(visitor)

    def refuse_next(self) -> None:
        """Turn the next one in the queue away."""
        turn_away(super().accept()[0])

    def close(self) -> None:
        while self._waiting:
            turn_away(self._waiting.popitem()[0])
        super().close()


def _peek(visitor: socket.socket, count: int) -> bytes:
    try:
        return visitor.recv(count, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""


class Doorman:
    """While one client is served, others are turned away at once instead of waiting unheard."""

    def __init__(self, lobby: Lobby | None, client: socket.socket) -> None:
        self._lobby, self._client = lobby, client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lab doorman", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(OSError, ValueError):  # the lobby was closed: the lab ends
            while self._lobby is not None and not self._stop.is_set():
                self._lobby.lose_patience()
                if not select.select([self._lobby], [], [], _LOOK_S)[0]:
                    continue
                if self._client_left():
                    return  # whoever waits now is the next client
                self._lobby.refuse_next()

    def _client_left(self) -> bool:
        """Also when words of his are still unread."""
        poll = select.poll()
        poll.register(self._client, select.POLLRDHUP)
        return bool(poll.poll(0))

"""The page itself and the wire behind it: pictures and state out, buttons, words and the deadman in.

Speaks on a socket file that only this user may open; the gate stands in front of it.
"""

from __future__ import annotations

import asyncio
import http
import itertools
import json
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from como_ros.console.hand import PageHand

FILES = Path(__file__).parent / "static"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
WIRE = "/wire"
ROUND_S = 0.05
UNSEEN_S = 3.0
"""After so long, a picture that a browser has not shown counts as lost."""
MAX_MESSAGE = 4096
MAX_WORDS = 300


@dataclass(frozen=True)
class Orders:
    """What the page may ask of its owner; called in the page's thread."""

    press: Callable[[str], None]
    say: Callable[[str], None]


def plain(words: str) -> str:
    """One line that every node can send on: no control characters, no halves of a character."""
    kept = "".join(c for c in " ".join(words.split()) if unicodedata.category(c) not in ("Cc", "Cs"))
    return kept[:MAX_WORDS]


class Page:
    """`state` and `pictures` are replaced by their owner; every browser gets the newest it can take."""

    def __init__(self, hand: PageHand, orders: Orders, buttons: frozenset[str]) -> None:
        self._hand, self._orders, self._buttons = hand, orders, buttons
        self._count = itertools.count(1)
        self.watchers = 0
        self.state = "{}"
        self.pictures: dict[int, bytes] = {}
        """JPEG by the camera's index."""
        self._unseen: dict[int, dict[int, float]] = {}
        """By browser and camera: when the picture was sent that it has not shown yet."""

    def forget(self) -> None:
        """What was shown to the last watcher is not what the next one comes to see."""
        self.state = "{}"
        self.pictures.clear()

    async def listen(self, socket: str) -> Server:
        return await unix_serve(
            self._talk,
            socket,
            process_request=self._file,
            compression=None,
            max_size=MAX_MESSAGE,
            ping_interval=5,
            ping_timeout=10,
        )

    def _file(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == WIRE:
            return None
        name = "index.html" if request.path == "/" else request.path.removeprefix("/")
        file = FILES / name
        if name != Path(name).name or not file.is_file():
            return connection.respond(http.HTTPStatus.NOT_FOUND, "not here\n")
        body = file.read_bytes()
        headers = Headers(
            {
                "Content-Type": TYPES[file.suffix],
                "Content-Length": str(len(body)),
                "Cache-Control": "no-cache",
                "Connection": "close",
                "Content-Security-Policy": "frame-ancestors 'self'",
            }
        )
        return Response(http.HTTPStatus.OK, "OK", headers, body)

    async def _talk(self, socket: ServerConnection) -> None:
        client = next(self._count)
        self.watchers += 1
        self._unseen[client] = {}
        try:
            await socket.send(json.dumps({"you": client}))
            sending = asyncio.ensure_future(self._send(socket, self._unseen[client]))
            sending.add_done_callback(lambda task: task.cancelled() or task.exception())
            try:
                async for text in socket:
                    self._take(client, text)
            finally:
                sending.cancel()
        except ConnectionClosed:
            pass
        finally:
            self.watchers -= 1
            del self._unseen[client]
            self._hand.leave(client)

    async def _send(self, socket: ServerConnection, unseen: dict[int, float]) -> None:
        """A slow browser gets fewer pictures, never old ones: the next of a camera once it shows the last."""
        state, shown = "", dict[int, bytes]()
        while True:
            if self.state is not state:
                state = self.state
                await socket.send(state)
            for index, picture in list(self.pictures.items()):
                now_s = time.monotonic()
                if shown.get(index) is not picture and now_s - unseen.get(index, -UNSEEN_S) >= UNSEEN_S:
                    shown[index], unseen[index] = picture, now_s
                    await socket.send(bytes([index]) + picture)
            await asyncio.sleep(ROUND_S)

    def _take(self, client: int, text: str | bytes) -> None:
        """What a browser says; what makes no sense is ignored, and lets go."""
        try:
            self._obey(client, json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError):
            self._hand.let_go(client)

    def _obey(self, client: int, told: dict[str, Any]) -> None:
        if "hold" in told:
            if told["hold"] is True:
                self._hand.beat(client, frozenset(map(str, told["keys"])), float(told["at"]))
            else:
                self._hand.let_go(client)
        elif "seen" in told:
            self._unseen[client].pop(int(told["seen"]), None)
        elif "view" in told:
            self._hand.looks_through(client, str(told["view"]))
        elif "grip" in told:
            self._hand.click(client, str(told["grip"]))
        elif "say" in told:
            self._orders.say(plain(str(told["say"])))
        elif told["press"] in self._buttons:
            if told["press"] == "stop":
                self._hand.let_go()
            self._orders.press(told["press"])

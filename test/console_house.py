"""The console's page, 3-D view and gate without ROS."""

from __future__ import annotations

import asyncio
import threading
from http.client import HTTPConnection

from websockets.sync.client import connect

from como_ros.console.gate import Gate
from como_ros.console.hand import PageHand
from como_ros.console.page import Orders, Page
from como_ros.console.scene import HOST, Scene


class House:
    """Page, 3-D view and gate, as the console node puts them together."""

    def __init__(self, folder, token: str) -> None:
        self.pressed: list[str] = []
        self.said: list[str] = []
        self.log: list[str] = []
        self.hand = PageHand(lambda: self.scene.gizmo7)
        self.may_pull, self.seen = self.hand.may_pull, []
        self.scene = Scene("secret", True, self._asked)
        orders = Orders(self.pressed.append, self.said.append)
        self.page = Page(self.hand, orders, frozenset({"start", "stop"}))
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        socket = str(folder / "page")
        gate = Gate(token, "secret", (HOST, self.scene.port), socket, self.log.append)
        self.run(self.page.listen(socket))
        self.port = self.run(gate.listen("127.0.0.1", 0)).sockets[0].getsockname()[1]

    def _asked(self, view: str) -> bool:
        """Notes who was refused."""
        may = self.may_pull(view)
        self.seen += [] if may else [view]
        return may

    def run(self, task):
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(10)

    def get(self, path: str, **headers: str):
        client = HTTPConnection("127.0.0.1", self.port, timeout=10)
        client.request("GET", path, headers=headers)
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def wire(self, path: str = "/wire", **headers: str):
        return connect(f"ws://127.0.0.1:{self.port}{path}", additional_headers=headers)

    def close(self) -> None:
        self.scene.close()
        self.loop.call_soon_threadsafe(self.loop.stop)

"""A headless Chromium, driven over its DevTools protocol: real pages, real mouse and touch."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
PATIENCE_S = 60.0
NICENESS = -5
"""Chromium sets that of some of its threads itself, to -8 at best, but not of those that draw."""


def chromium() -> str:
    """Its path, or nothing where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), "") or ""


class Browser:
    """One page; `with` ends the browser whatever happens."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 800, scale: float = 1.0) -> None:
        self._folder = folder
        self._log = (folder / "chromium.log").open("wb")
        command = [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)
        self._count = 0
        self._socket = connect(self._page(), max_size=None)
        self.size(width, height, scale=scale)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        os.killpg(self._process.pid, signal.SIGTERM)  # what was started may be a script around the browser
        self._process.wait(20)
        until(lambda: not _lives(self._process.pid), "the browser to end", 20)
        self._log.close()

    def hurry(self) -> None:
        """Before what else runs here by turns, if we may: a person's browser has a machine of its own."""
        for stat in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
            with suppress(OSError):  # ended meanwhile, or not ours to hurry
                if int(stat.read_text().rpartition(")")[2].split()[2]) == self._process.pid:
                    os.setpriority(os.PRIO_PROCESS, int(stat.parent.name), NICENESS)

    def _page(self) -> str:
        told = self._folder / "profile" / "DevToolsActivePort"
        until(lambda: told.exists() and told.read_text().count("\n"), "Chromium to listen")
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            rows = json.load(answer)
        return str(next(row["webSocketDebuggerUrl"] for row in rows if row["type"] == "page"))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(PATIENCE_S))
            if told.get("id") == self._count:
                assert "error" not in told, told
                return dict(told["result"])

    def size(self, width: int, height: int, mobile: bool = False, scale: float = 1.0) -> None:
        """In the page's pixels; with a small `scale` it draws fewer, which spares a machine without a GPU."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )
        self.ask("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def go(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        until(lambda: self.js("document.readyState") == "complete", f"{url} to load")

    def js(self, expression: str) -> Any:
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        """`mousePressed`, `mouseMoved` or `mouseReleased` at a point of the page."""
        button = "none" if kind == "mouseMoved" and not buttons else "left"
        count = int(kind != "mouseMoved")
        self.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=count
        )

    def key(self, kind: str, key: str, code: str) -> None:
        """`keyDown` or `keyUp`."""
        self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=code)

    def centre(self, selector: str) -> tuple[float, float]:
        self.js(f"{_find(selector)}.scrollIntoView({{block: 'nearest'}})")
        middle = "(b => [b.x + b.width / 2, b.y + b.height / 2])"
        box = self.js(f"{middle}({_find(selector)}.getBoundingClientRect())")
        return box[0], box[1]

    def click(self, selector: str, held_s: float = 0.0) -> None:
        x, y = self.centre(selector)
        self.mouse("mousePressed", x, y, 1)
        time.sleep(held_s)
        self.mouse("mouseReleased", x, y)

    def text(self, selector: str) -> str:
        return str(self.js(f"{_find(selector)}.textContent"))

    def shoot(self, path: Path) -> None:
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _find(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


def until(true: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain for {what}"
        time.sleep(0.05)

"""Requests that may come twice: the client asks again where an answer was lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

AGAIN_S = 4.0
"""A request repeated so soon is the same one."""


class Repeats:
    """Asked the same twice at once, it is done once and answered twice.

    `state` is what a request changes; where that has changed since, the request is a new one.
    """

    def __init__(self, state: Callable[[], Any]) -> None:
        self._state = state
        self._last: tuple[str, str, float, Any] = ("", "", 0.0, None)
        """The last request, what it was told, when, and the state it left."""

    def answer(self, name: str, act: Callable[[], str]) -> str:
        before, told, at_s, left = self._last
        if before != name or time.monotonic() - at_s >= AGAIN_S or left is not self._state():
            told = act()
        self._last = name, told, time.monotonic(), self._state()
        return told

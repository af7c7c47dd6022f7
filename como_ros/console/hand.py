"""The browser as a hand: who holds the page's deadman, which keys are down, where the gizmo was pulled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from como_ros.drivers.teleop import Hand, Reading

SILENT_S = 0.6
"""A page that holds says so twenty times a second; silence, or words so late, are a hand that let go.
Letting go and closing the page are told at once; this is for a network or a browser that hangs."""
SETTLE_S = 0.2
"""After this the gizmo stands still where the arm is, and its next motion was meant."""
GRIPS = ("open", "close", "toggle")
KEYS = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "e": (2, 1.0),
    "q": (2, -1.0),
    "u": (3, 1.0),
    "o": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "j": (5, 1.0),
    "l": (5, -1.0),
}
"""Key -> axis of the push and its sign; the person looks along x from behind the arm."""


def push(keys: frozenset[str]) -> np.ndarray:
    """Opposite keys cancel, others are nobody's."""
    lean = np.zeros(6)
    for axis, sign in (KEYS[key] for key in keys & KEYS.keys()):
        lean[axis] += sign
    return lean


@dataclass(frozen=True)
class Hold:
    """One browser's hand on the deadman."""

    client: int
    since_s: float
    heard_s: float
    keys: frozenset[str]
    delay_s: float
    """Between the page's clock and ours, when it took hold."""


class PageHand:
    """One browser at a time holds; beats come from the page's thread, `read` from the teleop node's."""

    def __init__(
        self, gizmo7: Callable[[], np.ndarray | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gizmo7, self._clock = gizmo7, clock
        self._lock = threading.Lock()
        self._hold: Hold | None = None
        self._pushed_s = 0.0
        self._clicks: set[str] = set()
        self._must_let_go: set[int] = set()
        """Who has gripped, or tried to, and has not let go since: a grip that was lost does not come back."""
        self._views: dict[int, str] = {}
        """By page, the name that its 3-D view goes by."""

    def beat(self, client: int, keys: frozenset[str], sent_s: float) -> None:
        """A page says that it holds; `sent_s` is by its own clock."""
        now_s = self._clock()
        with self._lock:
            hold = self._fresh(now_s)
            if hold is None and client not in self._must_let_go:
                self._hold = Hold(client, now_s, now_s, keys, now_s - sent_s)
            elif hold is not None and hold.client == client and now_s - sent_s - hold.delay_s < SILENT_S:
                self._hold = replace(hold, heard_s=now_s, keys=keys)
            self._must_let_go.add(client)

    def let_go(self, client: int | None = None) -> None:
        """Of one page that says so or has gone; of whoever holds where none is named."""
        with self._lock:
            if client is not None:
                self._must_let_go.discard(client)
            if self._hold is not None and client in (None, self._hold.client):
                self._hold = None

    def looks_through(self, client: int, view: str) -> None:
        """A page says which 3-D view is its own."""
        with self._lock:
            self._views[client] = view

    def leave(self, client: int) -> None:
        """A page has gone, and its view with it."""
        self.let_go(client)
        with self._lock:
            self._views.pop(client, None)

    def may_pull(self, view: str) -> bool:
        """Whoever holds the deadman pulls alone; while nobody holds, pulling moves nothing but the gizmo."""
        with self._lock:
            hold = self._fresh(self._clock())
            return hold is None or self._views.get(hold.client) == view

    def click(self, client: int, name: str) -> None:
        """Of the gripper's buttons; while one page drives, those of another do nothing."""
        with self._lock:
            hold = self._fresh(self._clock())
            if name in GRIPS and (hold is None or hold.client == client):
                self._clicks.add(name)

    @property
    def holder(self) -> int | None:
        with self._lock:
            hold = self._fresh(self._clock())
            return hold.client if hold else None

    @property
    def pulls(self) -> bool:
        """Whether it is the gizmo that the arm follows: it then must not be moved under the hand."""
        with self._lock:
            hold = self._fresh(self._clock())
            return hold is not None and not push(hold.keys).any()

    def read(self) -> Reading:
        now_s = self._clock()
        with self._lock:
            hold, clicks = self._fresh(now_s), frozenset(self._clicks)
            self._clicks.clear()
        if hold is None:
            return Reading(buttons=clicks)
        lean = push(hold.keys)
        if lean.any():
            self._pushed_s = now_s
            return Reading(held=True, push6=lean, buttons=clicks)
        settled = now_s - max(self._pushed_s, hold.since_s) > SETTLE_S
        return Reading(held=True, coupled=settled, pose7=self._gizmo7(), buttons=clicks)

    def close(self) -> None:
        self.let_go()

    def _fresh(self, now_s: float) -> Hold | None:
        hold = self._hold
        return hold if hold is not None and now_s - hold.heard_s < SILENT_S else None


class WithDeadman:
    """A thing without a deadman of its own, moved by one hand while the other holds the page's."""

    def __init__(self, thing: Hand, page: PageHand) -> None:
        self._thing, self._page = thing, page

    def read(self) -> Reading:
        page = self._page.read()
        return replace(self._thing.read(), held=page.held, buttons=page.buttons)

    def close(self) -> None:
        self._thing.close()

"""From a device's own clock to system time."""

from __future__ import annotations

from collections import deque

SET_BACK_NS = 100_000_000
"""Arrivals are read one after the other: one so much earlier than the one before means another clock."""


class DeviceClock:
    """Maps device stamps by the smallest arrival delay of the last seconds.

    Transport can only delay a frame, so the smallest difference between arrival and device stamp is the
    nearest to the truth; a short window lets the estimate follow the drift between the two clocks. Stamps
    always go forward, also when a better estimate says that those before were too late; only when system
    time itself was set back do they follow it.
    """

    def __init__(self, window_ns: int = 10_000_000_000) -> None:
        self._window_ns = window_ns
        self._minima: deque[tuple[int, int]] = deque()
        self._last_ns = self._arrival_ns = 0

    def to_system_ns(self, device_ns: int, arrival_ns: int) -> int:
        """System time of `device_ns`, given that its frame arrived at system time `arrival_ns`."""
        if arrival_ns < self._arrival_ns - SET_BACK_NS:
            self._minima.clear()
            self._last_ns = 0
        self._arrival_ns = arrival_ns
        offset = arrival_ns - device_ns
        while self._minima and self._minima[-1][1] >= offset:
            self._minima.pop()
        self._minima.append((arrival_ns, offset))
        while self._minima[0][0] < arrival_ns - self._window_ns:
            self._minima.popleft()
        self._last_ns = max(self._last_ns + 1, device_ns + self._minima[0][1])
        return self._last_ns

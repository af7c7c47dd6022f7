"""Started again, but not for ever: what ends over and over is broken, and somebody must look. Pure."""

from __future__ import annotations

MOST, WITHIN_S = 3, 60.0


class Restarts:
    """Counts by name; a process may be started again three times a minute."""

    def __init__(self) -> None:
        self._begun_s: dict[str, list[float]] = {}

    def allow(self, name: str, now_s: float) -> bool:
        """Whether to start it once more; taken as done where it is allowed."""
        recent = [at for at in self._begun_s.get(name, []) if now_s - at < WITHIN_S]
        allowed = len(recent) < MOST
        self._begun_s[name] = [*recent, now_s] if allowed else recent
        return allowed

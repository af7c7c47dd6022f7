"""What the page shows beside pictures: health lights, and the words said so far. Needs no ROS."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from como_ros.stream_watch import SLOW
from policies.spaces import INSTRUCTION_BYTES, Contract

SILENT_S = 2.5
"""Every node speaks once a second."""
STALE_PICTURE_S = 0.7
SLOWEST_HZ = Contract().action_rate_hz / SLOW
"""A policy acts that often, and looks before it does."""
KEPT = 12
RATE = " Hz"


@dataclass(frozen=True)
class Status:
    """What a node last said of itself."""

    ok: bool
    message: str
    figures: dict[str, str]
    heard_s: float


class Lights:
    """One light a node, one a camera, and one a stream of the episode that is being recorded."""

    def __init__(self) -> None:
        self._nodes: dict[str, Status] = {}
        self._pictures: dict[str, list[float]] = {}

    def note(self, node: str, ok: bool, message: str, figures: dict[str, str], now_s: float) -> None:
        self._nodes[node] = Status(ok, message, figures, now_s)

    def picture(self, camera: str, now_s: float) -> None:
        """A picture has come."""
        recent = self._pictures.setdefault(camera, [])
        recent.append(now_s)
        del recent[:-20]

    def said(self, node: str) -> str:
        return self._nodes[node].message if node in self._nodes else "silent"

    def figure(self, node: str, key: str) -> float | None:
        value = self._nodes[node].figures.get(key) if node in self._nodes else None
        return float(value) if value else None

    def rows(self, now_s: float) -> list[dict[str, Any]]:
        """Name, level (ok or bad) and text of every light, in an order that does not change."""
        nodes = [self._node(name, now_s) for name in sorted(self._nodes)]
        return [*self._cameras(now_s), *self._streams(), *nodes]

    def _node(self, name: str, now_s: float) -> dict[str, Any]:
        status = self._nodes[name]
        silent_s = now_s - status.heard_s
        if silent_s > SILENT_S:
            return _light(name, False, f"silent for {silent_s:.0f} s")
        return _light(name, status.ok, status.message)

    def _cameras(self, now_s: float) -> list[dict[str, Any]]:
        return [
            _light(f"{camera} camera", *self._camera(camera, recent, now_s))
            for camera, recent in sorted(self._pictures.items())
        ]

    def _camera(self, camera: str, recent: list[float], now_s: float) -> tuple[bool, str]:
        """The camera node names one that is not well; one that shows nothing new or crawls is not either."""
        age_s, lasted_s, said = now_s - recent[-1], recent[-1] - recent[0], self.said("camera")
        if age_s > STALE_PICTURE_S:
            return False, f"no picture for {age_s:.1f} s"
        if f"{camera}:" in said:
            return False, said
        if lasted_s <= 0:
            return True, "one picture"
        rate_hz = (len(recent) - 1) / lasted_s
        return (True, f"{rate_hz:.0f} Hz") if rate_hz >= SLOWEST_HZ else (False, f"slow, {rate_hz:.0f} Hz")

    def _streams(self) -> list[dict[str, Any]]:
        if "recorder" not in self._nodes:
            return []
        told = self._nodes["recorder"]
        complaints = told.message.split("; ")[1:]
        rows = []
        for name in sorted(key.removesuffix(RATE) for key in told.figures if key.endswith(RATE)):
            mine = [complaint for complaint in complaints if complaint.startswith(f"{name} ")]
            text = "; ".join(mine) or f"{float(told.figures[name + RATE]):.0f} Hz"
            rows.append(_light(name, not mine, text))
        return rows


def _light(name: str, ok: bool, text: str) -> dict[str, Any]:
    return {"name": name, "level": "ok" if ok else "bad", "text": text}


def too_long(instruction: str) -> str:
    """What an operator should know who says more than a policy reads."""
    if len(instruction.encode("utf8", "replace")) <= INSTRUCTION_BYTES:
        return ""
    return f" (a policy reads only its first {INSTRUCTION_BYTES} bytes)"


class Words:
    """Instructions said here, newest first; kept beside the episodes for the next session."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "instructions.txt"
        self.now = ""
        self.history: list[str] = []
        with suppress(OSError):
            self.history = self._file.read_text("utf8", "replace").splitlines()[:KEPT]

    def say(self, words: str) -> None:
        self.now = words
        self.history = [words, *(old for old in self.history if old != words)][:KEPT]
        with suppress(OSError):  # a full disk is said elsewhere; the words are on the wire
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text("\n".join(self.history) + "\n", "utf8", "replace")

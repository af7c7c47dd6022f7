"""What an operator commanded in a recorded episode, to be driven again, and how far two runs lie apart."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from como_ros import bags
from como_ros.bag_writer import BagError
from policies.timeline import EE_POSE, interpolate_pose7

KEYS = ("command_pose", "command_width", EE_POSE)
SHORTEST = 10
"""Set-points below which there is no motion to speak of."""


@dataclass(frozen=True)
class Track:
    """Poses over time, in seconds since the first set-point."""

    times_s: np.ndarray
    poses7: np.ndarray

    def at(self, time_s: float) -> np.ndarray:
        """Between two poses what lies between them; before the first and after the last those."""
        after = bisect_right(self.times_s, time_s)
        if after == 0 or after == len(self.times_s):
            return np.asarray(self.poses7[min(after, len(self.poses7) - 1)])
        begun_s, ends_s = self.times_s[after - 1 : after + 1]
        share = (time_s - begun_s) / (ends_s - begun_s)
        return interpolate_pose7(self.poses7[after - 1], self.poses7[after], share)


@dataclass(frozen=True)
class Motion:
    """One episode's."""

    commanded: Track
    measured: Track
    widths: tuple[tuple[float, float], ...]
    """(seconds since the first set-point, metres) wherever the gripper was told something."""

    @property
    def duration_s(self) -> float:
        return float(self.commanded.times_s[-1])

    def width_at(self, time_s: float) -> float | None:
        """What the gripper was last told; None before the first time."""
        told = [width for at, width in self.widths if at <= time_s]
        return told[-1] if told else None


def read_motion(episode: Path) -> Motion:
    """Refuses what an operator did not drive, or of which it is not known where the arm was."""
    found: dict[str, list[tuple[int, Any]]] = {key: [] for key in KEYS}
    for key, stamp_ns, value in bags.read_events(episode, KEYS):
        found[key].append((stamp_ns, value))
    poses = found["command_pose"]
    if len(poses) < SHORTEST:
        raise BagError(
            f"{episode} holds {len(poses)} set-points of an operator, {SHORTEST} needed; give an episode "
            "that was teleoperated"
        )
    if not found[EE_POSE]:
        raise BagError(f"{episode} does not say where the arm was; give an episode with /arm/ee_pose")
    start_ns = poses[0][0]
    widths = tuple(((stamp - start_ns) / 1e9, float(width)) for stamp, width in found["command_width"])
    return Motion(_track(poses, start_ns), _track(found[EE_POSE], start_ns), widths)


def _track(rows: list[tuple[int, Any]], start_ns: int) -> Track:
    """Each moment once: of two poses with one stamp the later counts."""
    newest = dict(rows)
    stamps = np.array(sorted(newest))
    return Track((stamps - start_ns) / 1e9, np.array([newest[stamp] for stamp in stamps.tolist()]))


def errors_mm(recorded: Track, again: Track, until_s: float) -> np.ndarray:
    """(N,) distances between both end effectors at the moments of the recording."""
    times = recorded.times_s[(recorded.times_s >= 0) & (recorded.times_s <= until_s)]
    pairs = [(recorded.at(time)[:3], again.at(time)[:3]) for time in times.tolist()]
    return np.array([np.linalg.norm(one - other) for one, other in pairs]) * 1e3

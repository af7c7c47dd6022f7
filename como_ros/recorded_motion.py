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
BACK_NS = 100_000_000
"""What arrives in the order of sending is stamped so, but for what two senders differ by."""
GAP_S = 0.2
"""Between two poses farther apart in time nobody knows the way."""
STILL_M, STILL_RAD = 0.01, 0.05
"""Set-points no farther apart on both sides of a gap are an operator's pause: the arm stood meanwhile."""


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

    def knows(self, time_s: float) -> bool:
        """Whether there are poses shortly before and shortly after."""
        after = bisect_right(self.times_s, time_s)
        if after == 0 or after == len(self.times_s):
            return bool(np.abs(self.times_s - time_s).min() <= GAP_S)
        return bool(self.times_s[after] - self.times_s[after - 1] <= GAP_S)

    def holes(self) -> list[str]:
        """Gaps over which the way is not known, in words."""
        said = []
        for place in np.flatnonzero(np.diff(self.times_s) > GAP_S).tolist():
            before7, after7 = self.poses7[place], self.poses7[place + 1]
            way_m = float(np.linalg.norm(after7[:3] - before7[:3]))
            turn_rad = 2 * float(np.arccos(np.clip(abs(before7[3:] @ after7[3:]), 0, 1)))
            if way_m > STILL_M or turn_rad > STILL_RAD:
                begun_s, ends_s = self.times_s[place : place + 2]
                apart = f"{way_m * 1e3:.0f} mm and {np.degrees(turn_rad):.0f} degrees apart"
                said.append(f"from {begun_s:.2f} to {ends_s:.2f} s, {apart}")
        return said


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
    """Refuses what no operator drove, what has holes, and what does not say where the arm was."""
    found: dict[str, list[tuple[int, Any]]] = {key: [] for key in KEYS}
    for _, key, stamp_ns, value in bags.read_arrivals(episode, KEYS):
        found[key].append((stamp_ns, value))
    _require_one_clock(episode, found)
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
    commanded = _track(poses, start_ns)
    if holes := commanded.holes():
        raise BagError(
            f"{episode} lacks set-points {'; '.join(holes)}: what the arm did between them is not known, and "
            "no way is made up; leave the episode out"
        )
    return Motion(commanded, _track(found[EE_POSE], start_ns), widths)


def _require_one_clock(episode: Path, found: dict[str, list[tuple[int, Any]]]) -> None:
    """Sorted by their stamps, set-points from before and after would alternate."""
    for key in ("command_pose", EE_POSE):
        back_ns = -np.diff([stamp_ns for stamp_ns, _ in found[key]]).min(initial=0)
        if back_ns > BACK_NS:
            raise BagError(
                f"{episode}: the clock of {key} was set back by {back_ns / 1e9:.2f} s while it was recorded; "
                "leave the episode out"
            )


def _track(rows: list[tuple[int, Any]], start_ns: int) -> Track:
    """Each moment once: of two poses with one stamp the later counts."""
    newest = dict(rows)
    stamps = np.array(sorted(newest))
    return Track((stamps - start_ns) / 1e9, np.array([newest[stamp] for stamp in stamps.tolist()]))


def errors_mm(recorded: Track, again: Track, until_s: float) -> np.ndarray:
    """(N,) distances between both end effectors at those moments of the recording at which both are known."""
    times = recorded.times_s[(recorded.times_s >= 0) & (recorded.times_s <= until_s)]
    known = [time for time in times.tolist() if again.knows(time)]
    if not known:
        raise BagError("the arm said nothing of where it was while the motion was driven again")
    pairs = [(recorded.at(time)[:3], again.at(time)[:3]) for time in known]
    return np.array([np.linalg.norm(one - other) for one, other in pairs]) * 1e3

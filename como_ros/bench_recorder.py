"""`como bench recorder`: whether the recorder loses anything under a station's load, and when it begins to.

Two cameras with colour and depth and an arm send numbered messages from processes of their own over the real
wire; the real recorder node records them; what its bag lacks is counted by the numbers. Processor time and
rate stand next to those of `cp` of the same bytes. Then the rate is raised until something is lost: the
recorder must have said so itself.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from como_ros import bags
from como_ros.errors import ComoError
from como_ros.gates import at_least, at_most
from como_ros.graphs import Deployment, Process
from como_ros.host_watch import HostWatch, kept
from como_ros.typestore import deserialize
from como_ros.up import Running, processes_up
from policies.spaces import CAMERAS

IMAGE_HZ, STATE_HZ = 30.0, 500.0
LOUDER = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Times the images' rate, one after the other, until something is lost."""
LOUDER_S = 10.0
FOUND_S = 1.0
"""Until also the services have found each other: an answer to a client that is not yet known is lost."""
READY_S, ENDS_S = 30.0, 20.0
TICKS_S = os.sysconf("SC_CLK_TCK")
NUMBERED = ("sensor_msgs/msg/Image", "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped")


@dataclass(frozen=True)
class Load:
    """One recording under load."""

    seconds: float
    image_hz: float
    sent: Counter[str]
    """By topic."""
    lost: Counter[str]
    told: Counter[str]
    """What the recorder itself says it lost of these."""
    flags: tuple[str, ...]
    """What it wrote into the episode."""
    complaints: tuple[str, ...]
    """What it said in its diagnostics while it recorded."""
    bytes: int
    """Of the messages, as they crossed the wire."""
    stored: int
    cpu_s: float
    copy_s: float
    copy_cpu_s: float
    """`cp` of the stored bytes, on the wall's clock and the processor's."""
    host_share: float = 0.0
    """Of this machine's processors, kept by its host meanwhile."""

    @property
    def mb_s(self) -> float:
        return self.bytes / 1e6 / self.seconds

    def figures(self) -> dict[str, Any]:
        return {
            "image_hz": self.image_hz,
            "sent": self.sent.total(),
            "lost": self.lost.total(),
            "lost_by_topic": dict(+self.lost),
            "told_lost": self.told.total(),
            "flags": list(self.flags),
            "complaints": list(self.complaints),
            "mb_s": self.mb_s,
            "stored_mb_s": self.stored / 1e6 / self.seconds,
            "cpu_share": self.cpu_s / self.seconds,
            "cpu_s_per_gb": self.cpu_s / (self.bytes / 1e9),
            "cp_mb_s": self.stored / 1e6 / self.copy_s,
            "cp_cpu_s_per_gb": self.copy_cpu_s / (self.stored / 1e9),
            "host_share": self.host_share,
        }


def run_bench(
    seconds: float = 60.0,
    louder_s: float = LOUDER_S,
    out: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Result of `como bench recorder`; `out` is the disk to write to."""
    if seconds < 2:
        raise ComoError(f"--seconds {seconds:g} is too short to count anything; give 2 or more")
    with scratch_folder(out) as folder, recorder_up(folder) as (running, station):
        steady = record(running, station, folder, seconds, IMAGE_HZ)
        say(_sentence(steady))
        steps: list[Load] = []
        for factor in LOUDER if louder_s else ():
            steps.append(record(running, station, folder, louder_s, factor * IMAGE_HZ))
            say(_sentence(steps[-1]))
            if steps[-1].lost:
                break
    return {
        "rows": _rows(steady, steps),
        **{key: value for key, value in steady.figures().items() if isinstance(value, float | int)},
        "steps": [load.figures() for load in (steady, *steps)],
    }


def _sentence(load: Load) -> str:
    told = f"{load.lost.total()} of {load.sent.total()} lost, {load.told.total()} by its own count"
    said = f"; it said: {load.complaints[0]}" if load.complaints else ""
    return f"images at {load.image_hz:g} Hz, {load.mb_s:.0f} MB/s: {told}{said}{kept(load.host_share)}"


def _rows(steady: Load, steps: list[Load]) -> list[dict[str, Any]]:
    rows = [at_most("lost", "messages lost of a station's load", steady.lost.total(), 0)]
    broken = [load for load in steps if load.lost]
    if broken:
        flagged = any(" lost " in flag for flag in broken[0].flags)
        said = flagged and broken[0].told.total() == broken[0].lost.total()
        rows.append(at_least("says so", "where it loses, it counts as many and flags the episode", said, 1))
    return rows


@contextmanager
def scratch_folder(out: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="como_bench_", dir=out) as folder:
        yield Path(folder)


@contextmanager
def recorder_up(folder: Path) -> Iterator[tuple[Running, Any]]:
    """The recorder node alone, and a station to talk to it."""
    recorder = Process("recorder", "como_ros.nodes.recorder", {"out": str(folder / "episodes")})
    with processes_up([recorder], Deployment(lab=True), folder / "logs") as (running, station):
        time.sleep(FOUND_S)
        yield running, station


def senders(folder: Path, seconds: float, image_hz: float) -> list[Process]:
    """A process for each camera and one for the arm."""
    loads = [
        (camera, [f"/{camera}/color/image_raw", f"/{camera}/aligned_depth_to_color/image_raw"], image_hz)
        for camera in CAMERAS
    ]
    loads.append(("arm", ["/arm/joint_states", "/arm/ee_pose"], STATE_HZ))
    return [
        Process(
            f"load_{name}",
            "como_ros.nodes.load",
            {"topics": topics, "rate_hz": rate_hz, "seconds": seconds, "out": str(folder / f"{name}.json")},
        )
        for name, topics, rate_hz in loads
    ]


def record(running: Running, station: Any, folder: Path, seconds: float, image_hz: float) -> Load:
    """One episode under load, counted, copied and removed."""
    complaints: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        processes = senders(Path(scratch), seconds, image_hz)
        with Running(processes, Path(scratch), {}) as loads:
            loads.start()
            time.sleep(3.0)  # until the wire has found them
            pid = running.pid("recorder")
            episode = Path(station.call("/recorder/start").removeprefix("recording "))
            begun_s, begun_cpu, host = time.monotonic(), cpu_s(pid), HostWatch()
            told = [Path(process.parameters["out"]) for process in processes]
            while not all(path.exists() for path in told):
                if not any(path.exists() for path in told):  # a sender that has ended is rightly missed
                    _note(station, complaints)
                if time.monotonic() - begun_s > seconds + ENDS_S:
                    raise ComoError(f"the load of {seconds:g} s did not end; the machine is far too busy")
                running.check()
                time.sleep(0.2)
            time.sleep(1.0)
            took_s, used_s = time.monotonic() - begun_s - 1.0, cpu_s(pid) - begun_cpu
            host_share = host.share()
            sent: Counter[str] = Counter()
            for path in told:
                sent += Counter(json.loads(path.read_text())["sent"])
            station.call("/recorder/keep")
        load = _counted(episode, Path(scratch), took_s, image_hz, sent, used_s, tuple(complaints))
        return replace(load, host_share=host_share)


def _note(station: Any, complaints: list[str]) -> None:
    """What the recorder complains of behind its state, each sentence once."""
    said = station.message("recorder").partition("; ")[2]
    if said and said not in complaints:
        complaints.append(said)


def _counted(
    episode: Path, scratch: Path, took_s: float, image_hz: float, sent: Counter[str], used_s: float, said: Any
) -> Load:
    found, size = _numbers(episode)
    lost = Counter({topic: count - len(found.get(topic, ())) for topic, count in sent.items()})
    meta = bags.read_meta(episode)
    drops = json.loads(meta.provenance.get("drops", "{}"))
    recording = next(episode.glob("*.mcap"))
    copy_s, copy_cpu_s = _copy(recording, scratch / "copy")
    stored = recording.stat().st_size
    return Load(
        took_s,
        image_hz,
        sent,
        +lost,
        Counter({topic: drops.get(topic, 0) for topic in sent}),
        tuple(meta.flags),
        said,
        size,
        stored,
        used_s,
        copy_s,
        copy_cpu_s,
    )


def _numbers(episode: Path) -> tuple[dict[str, set[str]], int]:
    """Topic -> numbers in the bag, and the bytes of all messages."""
    found: dict[str, set[str]] = {}
    size = 0
    for _, raw in bags.read_raw(episode):
        size += len(raw.cdr)
        if raw.channel.type in NUMBERED:
            header = deserialize(raw.cdr, raw.channel.type).header
            found.setdefault(raw.channel.topic, set()).add(header.frame_id)
    return found, size


def _copy(source: Path, target: Path) -> tuple[float, float]:
    """Seconds that `cp` takes, on the wall's clock and the processor's."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["cp", source, target], check=True)
    took_s = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    target.unlink()
    return took_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S

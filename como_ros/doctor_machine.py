"""What `como doctor` says of the machine itself: kernel, clock rate, priority, memory, network, disk."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from como_ros.host_watch import HostWatch, kept

RTPRIO = 80
MEMLOCK_BYTES = 64 << 20
SHARED_MEMORY_BYTES = 256 << 20
RECEIVE_BYTES = 4 << 20
FREE_GB = 10.0
IMAGES_MB_S = 2 * 640 * 480 * 3 * 30 / 1e6
"""What two VGA cameras at 30 Hz write; the disk should take twice that."""
LATE_MS = 1.0
"""A command that comes later than the next is lost."""
BEATS = 2000
RT_KERNEL = (
    "boot a PREEMPT_RT one: `sudo apt install linux-image-rt-amd64` on Debian, "
    "`sudo pro enable realtime-kernel` on Ubuntu"
)


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str
    """What was found; where it is not ok, what to do."""


def kernel(root: Path) -> Check:
    realtime = root / "sys/kernel/realtime"
    version = (root / "proc/version").read_text().strip()
    ok = (realtime.exists() and realtime.read_text().strip() == "1") or "PREEMPT_RT" in version
    said = f"{platform.release()}, {'PREEMPT_RT' if ok else 'not PREEMPT_RT'}"
    return Check("kernel", ok, said if ok else f"{said}: {RT_KERNEL}")


def governor(root: Path) -> Check:
    found = {
        file.read_text().strip() for file in root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    }
    if not found:
        return Check("governor", True, "no frequency scaling on this machine")
    ok = found == {"performance"}
    said = ", ".join(sorted(found))
    remedy = "`echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`"
    return Check("governor", ok, said if ok else f"{said}: run {remedy}")


def limits() -> Iterator[Check]:
    """Real-time priority and locked memory, as this process has them."""
    allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    ok = allowed in range(RTPRIO, 100) or allowed == resource.RLIM_INFINITY or _may_run_first()
    remedy = f"run {_allow(f'rtprio {RTPRIO}')} and log in again"
    said = "granted" if ok else f"limit {allowed}"
    yield Check("rtprio", ok, said if ok else f"{said}: {remedy}")
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    ok = locked == resource.RLIM_INFINITY or locked >= MEMLOCK_BYTES or _may_lock()
    said = "granted" if ok else f"limit {locked / 2**20:.0f} MiB"
    remedy = f"run {_allow('memlock unlimited')} and log in again"
    yield Check("memlock", ok, said if ok else f"{said}: {remedy}")


def _allow(what: str) -> str:
    """The command that allows it to whoever runs it."""
    return (
        f"`echo '@realtime - {what}' | sudo tee -a /etc/security/limits.d/realtime.conf; "
        "sudo groupadd -f realtime; sudo usermod -aG realtime $USER`"
    )


def _may_lock() -> bool:
    """Whoever may lock memory whatever the limit says, like root: by doing so for a moment."""
    libc, room = ctypes.CDLL(None), mmap.mmap(-1, MEMLOCK_BYTES)
    start = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(room)))
    granted = libc.mlock(start, ctypes.c_size_t(MEMLOCK_BYTES)) == 0
    libc.munlock(start, ctypes.c_size_t(MEMLOCK_BYTES))
    return granted


def _may_run_first() -> bool:
    """Ask the kernel for it in a thread that ends at once."""
    granted: list[bool] = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            granted.append(True)
        except PermissionError:
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return bool(granted)


def waking(beats: int = BEATS) -> Check:
    """How late a thread that runs before others, where that is allowed, wakes at each millisecond."""
    late_ms: list[float] = []
    host = HostWatch()
    thread = threading.Thread(target=_wake, args=(late_ms, beats))
    thread.start()
    thread.join()
    worst_ms, p99_ms = round(max(late_ms), 2), sorted(late_ms)[int(0.99 * beats)]
    found = f"{p99_ms:.2f} ms late at the 99th percentile, {worst_ms:.2f} at most{kept(host.share())}"
    remedy = "end what else runs, a machine of its own instead of a virtual one, PREEMPT_RT kernel, rtprio"
    ok = worst_ms <= LATE_MS
    return Check("waking", ok, found if ok else f"{found}: {remedy}")


def _wake(late_ms: list[float], beats: int) -> None:
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(RTPRIO))
    due_s = time.monotonic()
    for _ in range(beats):
        due_s = max(due_s + 1e-3, time.monotonic())
        time.sleep(max(0.0, due_s - time.monotonic()))
        late_ms.append((time.monotonic() - due_s) * 1e3)


def network(root: Path) -> Check:
    """How much a socket may hold back: camera images to another machine come in bursts."""
    file = root / "proc/sys/net/core/rmem_max"
    size = int(file.read_text()) if file.exists() else 0
    ok = size >= RECEIVE_BYTES
    said = f"net.core.rmem_max is {size / 2**20:.1f} MiB"
    remedy = f"`sudo sysctl -w net.core.rmem_max={8 << 20}`, and write it to /etc/sysctl.d/ for the next boot"
    return Check("network", ok, said if ok else f"{said}: run {remedy}")


def shared_memory(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    ok = free >= SHARED_MEMORY_BYTES
    said = f"{free / 2**20:.0f} MiB free in {folder}"
    remedy = f"while no node runs `rm -f {folder}/fast* {folder}/sem.fast*`; of a container --shm-size=1g"
    return Check("shared memory", ok, said if ok else f"{said}: {remedy}")


def disk(folder: Path, block_mb: int = 16, blocks: int = 4) -> Check:
    """Room and sustained speed where episodes are written."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free_gb = shutil.disk_usage(place).free / 1e9
    try:
        rate = _write_rate(place, os.urandom(block_mb * 10**6), blocks)
    except OSError as error:
        return Check("disk", False, f"{place} cannot be written ({error.strerror}): give another folder")
    ok = free_gb >= FREE_GB and rate >= 2 * IMAGES_MB_S
    said = f"{place}: {free_gb:.0f} GB free, {rate:.0f} MB/s"
    wanted = f"{FREE_GB:.0f} GB free that takes {2 * IMAGES_MB_S:.0f} MB/s"
    remedy = f"use a disk with {wanted}, or record smaller images"
    return Check("disk", ok, said if ok else f"{said}: {remedy}")


def _write_rate(folder: Path, block: bytes, blocks: int) -> float:
    begun = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(blocks):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return blocks * len(block) / 1e6 / (time.perf_counter() - begun)

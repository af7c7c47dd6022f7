"""`como doctor`: what of this machine can be checked before a robot is switched on, with the remedy for each.

Libraries are imported in processes of their own, so that one that crashes is a line here and not the end.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

IMPORT_S = 30.0
RTPRIO = 80
MEMLOCK_BYTES = 64 << 20
SHARED_MEMORY_BYTES = 256 << 20
RECEIVE_BYTES = 4 << 20
FREE_GB = 10.0
IMAGES_MB_S = 2 * 640 * 480 * 3 * 30 / 1e6
"""What two VGA cameras at 30 Hz write; the disk should take twice that."""
RANGES = ("", "LOCALHOST", "SUBNET", "SYSTEM_DEFAULT", "OFF")

_DEVICES = "import pyrealsense2 as rs; print(len(rs.context().query_devices()), 'cameras plugged in')"
_CAMERAS = """
import pyrealsense2 as rs
known = (rs.camera_info.serial_number, rs.camera_info.usb_type_descriptor, rs.camera_info.firmware_version)
for device in rs.context().query_devices():
    print(*(device.get_info(key) if device.supports(key) else '-' for key in known))
"""
_FCI = """
import sys, time
from franky import RealtimeConfig, Robot
robot, gaps, before = Robot(sys.argv[1], realtime_config=RealtimeConfig.Ignore), [], None
for _ in range(400):
    stamp = robot.state.time.to_sec()
    now = time.perf_counter()
    if before and stamp > before[0]:
        gaps.append((now - before[1]) - (stamp - before[0]))
    before = stamp, now
gaps = sorted(abs(gap) * 1e3 for gap in gaps)
print(gaps[len(gaps) // 2], gaps[int(0.99 * len(gaps))], gaps[-1])
"""
FCI_JITTER_MS = 0.5
"""At the 99th percentile; the robot drops a command that is a millisecond late."""
_PROVIDERS = "import onnxruntime as o; print('providers', ', '.join(o.get_available_providers()))"
EGL = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current(); context.free()"


@dataclass(frozen=True)
class Library:
    name: str
    program: str
    """What shows that it works."""
    distribution: str
    """What has its version."""
    extra: str
    """What brings it."""


LIBRARIES = (
    Library("rclpy", "import rclpy", "ros-rclpy", "ros"),
    Library("franky", "import franky", "franky-control", "core"),
    Library("pyrealsense2", _DEVICES, "pyrealsense2", "core"),
    Library("onnxruntime", _PROVIDERS, "onnxruntime", "core"),
)


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str
    """What was found; where it is not ok, what to do."""


def run_doctor(folder: Path, lab: bool = False, robot_host: str = "") -> dict[str, Any]:
    """Result of `como doctor`; with `lab` what only a robot needs is left out."""
    with ThreadPoolExecutor(2) as pool:
        drawn = pool.submit(egl)
        imported = list(pool.map(library, LIBRARIES))
    checks = [
        *imported,
        drawn.result(),
        *dds(os.environ),
        shared_memory(Path("/dev/shm")),
        disk(folder),
        gpu(),
    ]
    if not lab:
        machine = [kernel(Path("/")), governor(Path("/")), *limits(), network(Path("/"))]
        checks = [*machine, *cameras(), *checks]
    if robot_host:
        checks.append(fci(robot_host))
    return {"checks": [asdict(check) for check in checks]}


# The machine -------------------------------------------------------------------------------------


def kernel(root: Path) -> Check:
    realtime = root / "sys/kernel/realtime"
    version = (root / "proc/version").read_text().strip()
    ok = (realtime.exists() and realtime.read_text().strip() == "1") or "PREEMPT_RT" in version
    said = f"{platform.release()}, {'PREEMPT_RT' if ok else 'not PREEMPT_RT'}"
    return Check("kernel", ok, said if ok else f"{said}: install a PREEMPT_RT kernel and boot it")


def governor(root: Path) -> Check:
    found = {
        file.read_text().strip() for file in root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    }
    if not found:
        return Check("governor", True, "no frequency scaling on this machine")
    ok = found == {"performance"}
    said = ", ".join(sorted(found))
    return Check("governor", ok, said if ok else f"{said}: run `cpupower frequency-set -g performance`")


def limits() -> Iterator[Check]:
    """Real-time priority and locked memory, as this process has them."""
    allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    ok = allowed in range(RTPRIO, 100) or allowed == resource.RLIM_INFINITY or _may_run_first()
    remedy = f"add `@realtime - rtprio {RTPRIO}` to /etc/security/limits.d and log in again"
    said = "granted" if ok else f"limit {allowed}"
    yield Check("rtprio", ok, said if ok else f"{said}: {remedy}")
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    ok = locked == resource.RLIM_INFINITY or locked >= MEMLOCK_BYTES
    said = "unlimited" if locked == resource.RLIM_INFINITY else f"{locked / 2**20:.0f} MiB"
    remedy = "add `@realtime - memlock unlimited` to /etc/security/limits.d and log in again"
    yield Check("memlock", ok, said if ok else f"{said}: {remedy}")


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


def network(root: Path) -> Check:
    """How much a socket may hold back: camera images to another machine come in bursts."""
    file = root / "proc/sys/net/core/rmem_max"
    size = int(file.read_text()) if file.exists() else 0
    ok = size >= RECEIVE_BYTES
    said = f"net.core.rmem_max is {size / 2**20:.1f} MiB"
    return Check("network", ok, said if ok else f"{said}: run `sysctl -w net.core.rmem_max={8 << 20}`")


def shared_memory(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    ok = free >= SHARED_MEMORY_BYTES
    said = f"{free / 2**20:.0f} MiB free in {folder}"
    return Check("shared memory", ok, said if ok else f"{said}: remove stale fastrtps_* files or enlarge it")


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


# The software ------------------------------------------------------------------------------------


def dds(variables: Mapping[str, str]) -> Iterator[Check]:
    """Settings that make nodes miss each other, or reach machines they should not."""
    rmw = variables.get("RMW_IMPLEMENTATION", "")
    ok = rmw in ("", "rmw_fastrtps_cpp")
    said = rmw or "rmw_fastrtps_cpp, as nothing else is set"
    yield Check("rmw", ok, said if ok else f"{said}: unset RMW_IMPLEMENTATION, only Fast DDS is tested")
    domain, reach = variables.get("ROS_DOMAIN_ID", "0"), variables.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    ok = domain.isdigit() and int(domain) <= 101 and reach in RANGES
    said = f"domain {domain}, discovery {reach or 'SUBNET'}"
    remedy = f"set ROS_DOMAIN_ID to 0-101 and ROS_AUTOMATIC_DISCOVERY_RANGE to one of {', '.join(RANGES[1:])}"
    yield Check("discovery", ok, said if ok else f"{said}: {remedy}")


def library(wanted: Library) -> Check:
    told = f"from importlib.metadata import version; print(version({wanted.distribution!r}))"
    return _program(
        wanted.name, f"{wanted.program}; {told}", f"pip install 'como_ros[{wanted.extra}]' brings it"
    )


def cameras() -> Iterator[Check]:
    """Each RealSense on a USB 3 port; a cable or hub that falls back to USB 2 halves the rates."""
    code, said = _run(_CAMERAS)
    if code:
        return  # the line on pyrealsense2 says why
    for line in filter(None, said.splitlines()):
        serial, usb, firmware = line.split()
        found = f"USB {usb}, firmware {firmware}"
        ok = usb.startswith("3") or usb == "-"
        remedy = "use a USB 3 port and cable, no hub"
        yield Check(f"camera {serial}", ok, found if ok else f"{found}: {remedy}")


def fci(host: str) -> Check:
    """How evenly the robot's state arrives, without moving it."""
    name = f"fci {host}"
    code, said = _run(_FCI, host)
    if code:
        return Check(name, False, f"{said}: is the robot on, unlocked, FCI activated, in this network?")
    median, p99, worst = (float(text) for text in said.split())
    found = f"state jitter {median:.2f} ms at the median, {p99:.2f} at the 99th percentile, {worst:.2f} most"
    remedy = "connect the Control's LAN port directly, PREEMPT_RT kernel, governor performance"
    ok = p99 <= FCI_JITTER_MS
    return Check(name, ok, found if ok else f"{found}: {remedy}")


def egl() -> Check:
    """Whether images can be drawn without a screen, which the lab needs."""
    if find_spec("mujoco") is None:
        return Check("egl", True, "not needed: the lab is not installed")
    return _program("egl", EGL, "apt install libegl1 libgl1-mesa-dri, pip install 'como_ros[lab]'")


def _program(name: str, program: str, remedy: str) -> Check:
    code, said = _run(program)
    if code == 0:
        return Check(name, True, ", ".join(said.split("\n")).strip(", ") or "works")
    return Check(name, False, f"{said}: {remedy}")


def _run(program: str, *arguments: str) -> tuple[int, str]:
    """(exit code, what it said) of a program in a process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    variables = {**os.environ, "MUJOCO_GL": "egl"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_S, env=variables)
    except subprocess.TimeoutExpired:
        return 1, f"does not answer within {IMPORT_S:.0f} s"
    if done.returncode == 0:
        return 0, done.stdout
    return done.returncode, (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


def gpu() -> Check:
    """Good to know; the policy also runs on the CPU."""
    if not (tool := shutil.which("nvidia-smi")):
        return Check("gpu", True, "none: policies run on the CPU")
    done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=IMPORT_S)
    found = ", ".join(done.stdout.strip().splitlines())
    return Check("gpu", done.returncode == 0, found or f"{done.stderr.strip()}: reinstall the NVIDIA driver")

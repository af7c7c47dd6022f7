"""`como doctor`: what of this machine can be checked before a robot is switched on, with the remedy for each.

Libraries are imported in processes of their own, so that one that crashes is a line here and not the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from como_ros.doctor_machine import Check, disk, governor, kernel, limits, network, shared_memory, waking

IMPORT_S = 30.0
PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE"
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
_TELLING = """
{0}
from importlib.metadata import PackageNotFoundError, version
try:
    print(version({1!r}))
except PackageNotFoundError:
    print("installed, not from a wheel")
"""
_GPU = "import subprocess, sys; sys.exit(subprocess.run([sys.argv[1], '-L']).returncode)"
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
        machine = [kernel(Path("/")), governor(Path("/")), *limits(), waking(), network(Path("/"))]
        checks = [*machine, *cameras(), *checks]
    if robot_host:
        checks.append(fci(robot_host))
    return {"checks": [asdict(check) for check in checks]}


# The software ------------------------------------------------------------------------------------


def dds(variables: Mapping[str, str]) -> Iterator[Check]:
    """Settings that make nodes miss each other, or reach machines they should not."""
    rmw = variables.get("RMW_IMPLEMENTATION", "")
    ok = rmw in ("", "rmw_fastrtps_cpp")
    said = rmw or "rmw_fastrtps_cpp, as nothing else is set"
    yield Check("rmw", ok, said if ok else f"{said}: unset RMW_IMPLEMENTATION, only Fast DDS is tested")
    domain = variables.get("ROS_DOMAIN_ID") or "0"
    reach = variables.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    ok = domain.isdigit() and int(domain) <= 101 and reach in RANGES
    said = f"domain {domain}, discovery {reach or 'SUBNET'}"
    remedy = f"set ROS_DOMAIN_ID to 0-101 and ROS_AUTOMATIC_DISCOVERY_RANGE to one of {', '.join(RANGES[1:])}"
    yield Check("discovery", ok, said if ok else f"{said}: {remedy}")
    if profiles := variables.get(PROFILES, ""):
        ok = Path(profiles).is_file()
        remedy = f"unset {PROFILES}, or pictures are lost on their way"
        yield Check("profiles", ok, profiles if ok else f"{profiles} is not there: {remedy}")


def library(wanted: Library) -> Check:
    remedy = f"`pip install '.[{wanted.extra}]'` where como_ros was checked out brings it"
    return _program(wanted.name, _TELLING.format(wanted.program, wanted.distribution), remedy)


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
        why = said.rpartition("Exception: ")[2]
        return Check(name, False, f"{why}: is the robot on, unlocked, FCI activated, in this network?")
    median, p99, worst = (float(text) for text in said.split())
    found = f"state jitter {median:.2f} ms at the median, {p99:.2f} at the 99th percentile, {worst:.2f} most"
    remedy = "connect the Control's LAN port directly, PREEMPT_RT kernel, governor performance"
    ok = p99 <= FCI_JITTER_MS
    return Check(name, ok, found if ok else f"{found}: {remedy}")


def egl() -> Check:
    """Whether images can be drawn without a screen, which the lab needs."""
    if find_spec("mujoco") is None:
        return Check("egl", True, "not needed: the lab is not installed")
    return _program("egl", EGL, "run `sudo apt install libegl1 libgl1-mesa-dri`")


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
    code, said = _run(_GPU, tool)
    found = ", ".join(said.strip().splitlines())
    return Check("gpu", code == 0, found if code == 0 else f"{found}: reinstall the NVIDIA driver")

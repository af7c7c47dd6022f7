"""Whoever knocks at the lab's doors, and however they leave: the next client is served."""

import socket
import struct
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from franky import Gripper
from lab_moves import paced
from lab_server import running_lab
from ros_probe import Stalls

from como_ros.drivers.franka import ArmError, FrankaArm, FrankaConfig

HOST, ARM, HAND = "127.0.0.1", 1337, 1338
CONNECT_TO_ARM = struct.pack("<IIIHH", 0, 1, 16, 10, 5000)

MOVING_CLIENT = """
import os, sys, time
import numpy as np
from como_ros.drivers.franka import FrankaArm, FrankaConfig
arm = FrankaArm(FrankaConfig())
arm.track()
pose, begun = arm.read().pose7, time.monotonic()
print("moving", flush=True)
while not (fault := arm.fault()):
    passed = time.monotonic() - begun
    arm.set_target(pose + [0, 0.03 * np.sin(2 * passed), 0, 0, 0, 0, 0], np.zeros(6))
    time.sleep(0.01)
    if "leave" in sys.argv and passed > 0.3:
        os._exit(0)
print(fault, flush=True)
"""


@pytest.fixture(scope="module")
def lab():
    with running_lab(seed=3) as lab:
        yield lab


@pytest.fixture(autouse=True)
def serves_the_next_client(lab):
    """After each of these tests."""
    yield
    assert lab.process.poll() is None, lab.errors.read_text()
    connect_and_move()
    client = lab.client()
    assert client.status()["ready"]
    client.close()


def connect_and_move() -> None:
    with closing(FrankaArm(FrankaConfig())) as arm:
        arm.track()
        start = arm.read().pose7
        for t in paced(0.5):
            arm.set_target(start + [0, 0.02 * min(1, t / 0.3), 0, 0, 0, 0, 0], np.zeros(6))
            assert arm.fault() == ""
        assert arm.read().pose7[1] - start[1] > 0.01


def start_moving(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MOVING_CLIENT, *arguments]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "moving\n"
    return client


def say(port: int, words: bytes) -> socket.socket:
    visitor = socket.create_connection((HOST, port), timeout=2)
    visitor.sendall(words)
    return visitor


def test_a_client_that_disconnects_in_motion():
    assert start_moving("leave").wait(10) == 0


def test_a_client_that_is_killed_in_motion():
    client = start_moving()
    time.sleep(0.3)
    client.kill()
    client.wait()


def test_a_second_client_is_refused_and_the_first_goes_on(lab):
    first, stalls, begun_ns = start_moving(), Stalls(), time.time_ns()
    with pytest.raises(ArmError, match=r"no arm answers.*; does another program control it, or is it"):
        FrankaArm(FrankaConfig())
    took_s = (time.time_ns() - begun_ns) / 1e9
    stalls.close()
    assert took_s < 1.0 + stalls.after(begun_ns, 10.0)
    time.sleep(0.3)
    assert first.poll() is None
    first.kill()
    first.wait()


@pytest.mark.parametrize("port", [ARM, HAND])
def test_a_port_scanner_that_connects_and_leaves(port):
    for _ in range(20):
        socket.create_connection((HOST, port), timeout=2).close()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (ARM, b"GET / HTTP/1.1\r\n\r\n"),
        (ARM, bytes(range(256)) * 20),
        (ARM, CONNECT_TO_ARM + b"\xff" * 64),
        (ARM, struct.pack("<III", 0, 1, 0xFFFFFFFF)),
        (HAND, b"GET / HTTP/1.1\r\n\r\n"),
        (HAND, struct.pack("<HII", 0, 1, 10)),
        (HAND, struct.pack("<HIIHH", 0, 1, 14, 3, 5000) + struct.pack("<HII", 2, 2, 12) + b"xx"),
    ],
)
def test_garbage_at_the_robots_ports(port, words):
    say(port, words).close()


def test_half_messages_that_are_held_do_not_keep_others_out():
    held = [say(port, words) for port, words in ((ARM, CONNECT_TO_ARM[:7]), (HAND, b"\0\0\1"))]
    held += [say(ARM, b""), say(HAND, b"")]
    connect_and_move()
    assert Gripper(HOST).max_width == pytest.approx(0.08)
    for visitor in held:
        visitor.close()


def test_garbage_at_the_control_socket(lab):
    for words in (b"\xff\xfe\n", b"{" * 100_000, b'{"cmd": "status"', b'{"cmd": ["status"]}\n', b"\n\n\n"):
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(lab.control))
            visitor.sendall(words)

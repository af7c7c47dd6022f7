"""A robot that is of another generation, or accepts a connection and then says nothing."""

import os
import socket
import struct
import threading
import time

import pytest

from como_ros.drivers.arm_loop import CONNECTING, ArmLoop, LoopConfig
from como_ros.drivers.franka import ArmError, FrankaArm, FrankaConfig

FCI_PORT, HAND_PORT = 1337, 1338
HEADER, INCOMPATIBLE, VERSION = "<III", 1, 5
"""Command, its number and the length of the message; then a status and the robot's version."""
HANGS_UP = -1
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: whoever still asks is told at once."""


@pytest.fixture
def robot(request):
    """Its address; asked something it answers with the status `request.param`, hangs up, or is silent."""
    with socket.create_server(("127.0.0.8", FCI_PORT)) as arm, socket.create_server(("127.0.0.8", HAND_PORT)):
        thread = threading.Thread(target=_answer, args=(arm, request.param))
        thread.start()
        yield "127.0.0.8"
        arm.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer(arm: socket.socket, status: int | None) -> None:
    clients = []
    while True:
        try:
            client, _ = arm.accept()
        except OSError:
            break
        clients.append(client)
        asked = client.recv(64)
        if status == HANGS_UP:
            client.shutdown(socket.SHUT_RDWR)
        elif status is not None:
            body = struct.pack("<BHx", status, VERSION)
            number = struct.unpack_from(HEADER, asked)[1]
            client.sendall(struct.pack(HEADER, 0, number, struct.calcsize(HEADER) + len(body)) + body)
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()


@pytest.mark.parametrize("robot", [INCOMPATIBLE], indirect=True)
def test_a_robot_of_another_version_is_named_with_the_way_to_the_right_client(robot):
    """It broke the control loop, and the node was started again in vain."""
    with pytest.raises(ArmError, match=r"version: 5.*install the franky that is built for this panda"):
        FrankaArm(FrankaConfig(host=robot))


@pytest.mark.parametrize("robot", [None], indirect=True)
def test_a_robot_that_says_nothing_is_named_and_nobody_waits_for_it_to_the_end(robot):
    """libfranka waits for a minute and more; whoever shut the node down waited for eight seconds."""
    loop = ArmLoop(LoopConfig(franka=FrankaConfig(host=robot)), lambda state, width_m: None)
    while not loop.waits:
        assert loop.mode == CONNECTING
        time.sleep(0.01)
    assert loop.waits.startswith("127.0.0.8 has not answered for ")
    loop.close()
    assert loop.alive


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs before others")
@pytest.mark.parametrize("robot", [HANGS_UP], indirect=True)
def test_a_robot_that_hangs_up_takes_no_core_from_others(robot):
    """libfranka then asks again and again for a minute, at the highest priority there is."""
    loop = ArmLoop(LoopConfig(franka=FrankaConfig(host=robot)), lambda state, width_m: None)
    asks = next(thread for thread in threading.enumerate() if thread.name == "arm")
    while not loop.waits:
        assert loop.mode == CONNECTING
        time.sleep(0.01)
    time.sleep(0.5)
    assert os.sched_getscheduler(asks.native_id) == os.SCHED_OTHER
    loop.close()

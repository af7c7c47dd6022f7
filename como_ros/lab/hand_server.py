"""The lab's hand: the Franka hand protocol with commands that can be interrupted, as on the real one.

franka-sim answers hand commands one after the other, its `stop` opens the fingers, and speed and force do
not count. Here a command runs in a thread of its own, the next one aborts it, `stop` leaves the fingers where
they are, and the fingers obey `FingerServo`.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from franka_sim.gripper.physics import FrankaHandPhysics
from franka_sim.gripper.protocol import (
    GRIPPER_HEADER_SIZE,
    GraspRequest,
    GripperCommand,
    GripperCommandHeader,
    GripperStatus,
    MoveRequest,
    build_command_response,
)
from franka_sim.gripper.server import FrankaGripperServer

from como_ros.errors import ComoError
from como_ros.lab.doors import PATIENCE_S, Doorman, Lobby
from como_ros.lab.fingers import MAX_SPEED_M_S, MAX_WIDTH_M, FingerServo

_POLL_S = 0.01
_SETTLED_M_S = 1e-3
_SETTLED_POLLS = 3
_SLACK_S = 3.0
"""Beyond the time that the slowest way takes, a command has failed."""
REACHED_M = 0.002
"""A move that ends further off than this was stopped by something."""


class AbortedError(RuntimeError):
    """A newer command took over."""


class LabHand(FrankaHandPhysics):
    """Drives the fingers of the lab's world; only the newest command may."""

    def __init__(self, physics: Any) -> None:
        super().__init__(physics)
        self._fingers: FingerServo = physics.fingers
        self._newest = 0
        self._turn = threading.Lock()

    def take_over(self) -> int:
        """Abort whatever runs; returns the newcomer's ticket."""
        with self._turn:
            self._newest += 1
            return self._newest

    @contextmanager
    def _turn_of(self, ticket: int) -> Iterator[None]:
        """Nothing newer begins meanwhile; where it has, a command that comes late changes nothing."""
        with self._turn:
            if ticket != self._newest:
                raise AbortedError
            yield

    def run(self, ticket: int, command: GripperCommand, payload: bytes) -> bool:
        """One command to its end; `AbortedError` when a newer one takes over, ComoError when impossible."""
        if command == GripperCommand.kHoming:
            return self._move(ticket, MoveRequest(MAX_WIDTH_M, MAX_SPEED_M_S))
        if command == GripperCommand.kMove:
            return self._move(ticket, MoveRequest.from_bytes(payload))
        if command == GripperCommand.kGrasp:
            return self._close_on(ticket, GraspRequest.from_bytes(payload))
        if command != GripperCommand.kStop:
            raise ComoError(f"unknown hand command {command}")
        with self._turn_of(ticket):
            self._fingers.stop()
        return True

    def _move(self, ticket: int, request: MoveRequest) -> bool:
        with self._turn_of(ticket):
            self.is_grasped = False
            self._fingers.move(request.width, request.speed)
        return abs(self._settle(ticket, request.speed) - request.width) < REACHED_M

    def _close_on(self, ticket: int, request: GraspRequest) -> bool:
        if not 0 <= request.width <= MAX_WIDTH_M:
            raise ComoError(f"width {request.width} m is outside the hand's stroke 0..{MAX_WIDTH_M} m")
        with self._turn_of(ticket):
            self.is_grasped = False
            self._fingers.grasp(request.speed, request.force)
        final = self._settle(ticket, request.speed)
        fits = request.width - request.epsilon_inner < final < request.width + request.epsilon_outer
        with self._turn_of(ticket):
            self.is_grasped = fits and not self._fingers.jammed
            return self.is_grasped

    def _settle(self, ticket: int, speed: float) -> float:
        """Wait until the fingers have done what they can and rest; returns their width."""
        longest = MAX_WIDTH_M / min(speed, MAX_SPEED_M_S) + _SLACK_S
        deadline, still = time.monotonic() + longest, 0
        while still < _SETTLED_POLLS and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            if ticket != self._newest:
                raise AbortedError
            rests = self._fingers.done and abs(self.sim.get_finger_state()["dq"]).max() < _SETTLED_M_S
            still = still + 1 if rests else 0
        return self._current_width()


class LabHandServer(FrankaGripperServer):
    """Reads the next command while the last one still runs."""

    def __init__(self, host: str, hand: LabHand) -> None:
        self._lobby: Lobby | None = None
        super().__init__(host=host, backend=hand)
        self._hand = hand
        self._sending = threading.Lock()

    @property
    def server_socket(self) -> Lobby | None:
        return self._lobby

    @server_socket.setter
    def server_socket(self, fresh: socket.socket | None) -> None:
        self._lobby = None if fresh is None else Lobby.of(fresh, GRIPPER_HEADER_SIZE, _greets)

    def handle_client(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S)
        with Doorman(self.server_socket, sock):
            super().handle_client(sock)

    def _dispatch_command(self, sock: socket.socket, header: GripperCommandHeader, payload: bytes) -> None:
        work = (sock, header, payload, self._hand.take_over())
        threading.Thread(target=self._answer, args=work, daemon=True).start()

    def _answer(self, sock: socket.socket, header: GripperCommandHeader, payload: bytes, ticket: int) -> None:
        try:
            done = self._hand.run(ticket, header.command, payload)
            status = GripperStatus.kSuccess if done else GripperStatus.kUnsuccessful
        except AbortedError:
            status = GripperStatus.kAborted
        except (ComoError, struct.error):
            status = GripperStatus.kFail
        with self._sending:
            try:
                sock.sendall(build_command_response(header.command, header.command_id, status))
            except OSError:
                return  # the client has gone; there is nobody to tell


def _greets(head: bytes) -> bool:
    return bool(GripperCommandHeader.from_bytes(head).command == GripperCommand.kConnect)

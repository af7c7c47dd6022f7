"""The lab's hand: the Franka hand protocol with commands that can be interrupted, as on the real one.

franka-sim answers hand commands one after the other and its `stop` opens the fingers. Here a command runs in
a thread of its own, the next one aborts it, and `stop` leaves the fingers where they are.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from franka_sim.gripper.physics import FrankaHandPhysics
from franka_sim.gripper.protocol import (
    GraspRequest,
    GripperCommand,
    GripperCommandHeader,
    GripperStatus,
    MoveRequest,
    build_command_response,
)
from franka_sim.gripper.server import FrankaGripperServer

_POLL_S = 0.01
_SETTLED_M_S = 1e-3
_SETTLED_POLLS = 3
_TIMEOUT_S = 4.0


class AbortedError(RuntimeError):
    """A newer command took over."""


class LabHand(FrankaHandPhysics):
    """Drives the fingers of the lab's world; only the newest command may."""

    def __init__(self, physics: Any) -> None:
        super().__init__(physics)
        self._newest = 0

    def take_over(self) -> int:
        """Abort whatever runs; returns the newcomer's ticket."""
        self._newest += 1
        return self._newest

    def run(self, ticket: int, command: GripperCommand, payload: bytes) -> bool:
        """One command to its end; `AbortedError` when a newer one takes over, ValueError when impossible."""
        if command == GripperCommand.kHoming:
            self._drive(ticket, self.max_width)
        elif command == GripperCommand.kMove:
            self._drive(ticket, self._reachable(MoveRequest.from_bytes(payload).width))
        elif command == GripperCommand.kStop:
            self._command_width(self._current_width())
        elif command == GripperCommand.kGrasp:
            return self._close_on(ticket, GraspRequest.from_bytes(payload))
        else:
            raise ValueError(f"unknown hand command {command}")
        return True

    def _close_on(self, ticket: int, request: GraspRequest) -> bool:
        wanted = self._reachable(request.width)
        final = self._drive(ticket, 0.0)
        self.is_grasped = wanted - request.epsilon_inner < final < wanted + request.epsilon_outer
        return self.is_grasped

    def _reachable(self, width: float) -> float:
        if not 0 <= width <= self.max_width:
            raise ValueError(f"width {width} m is outside the stroke 0..{self.max_width} m")
        return width

    def _drive(self, ticket: int, width: float) -> float:
        """Command a width and wait until the fingers rest, on it or on what is between them."""
        self.is_grasped = False
        self._command_width(width)
        deadline, still = time.monotonic() + _TIMEOUT_S, 0
        while still < _SETTLED_POLLS and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            if ticket != self._newest:
                raise AbortedError
            moving = abs(self.sim.get_finger_state()["dq"]).max() > _SETTLED_M_S
            still = 0 if moving else still + 1
        return self._current_width()


class LabHandServer(FrankaGripperServer):
    """Reads the next command while the last one still runs."""

    def __init__(self, host: str, hand: LabHand) -> None:
        super().__init__(host=host, backend=hand)
        self._hand = hand
        self._sending = threading.Lock()

    def _dispatch_command(self, sock: socket.socket, header: GripperCommandHeader, payload: bytes) -> None:
        work = (sock, header, payload, self._hand.take_over())
        threading.Thread(target=self._answer, args=work, daemon=True).start()

    def _answer(self, sock: socket.socket, header: GripperCommandHeader, payload: bytes, ticket: int) -> None:
        try:
            done = self._hand.run(ticket, header.command, payload)
            status = GripperStatus.kSuccess if done else GripperStatus.kUnsuccessful
        except AbortedError:
            status = GripperStatus.kAborted
        except ValueError:
            status = GripperStatus.kFail
        with self._sending:
            try:
                sock.sendall(build_command_response(header.command, header.command_id, status))
            except OSError:
                return  # the client has gone; there is nobody to tell

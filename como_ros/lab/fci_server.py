"""The lab's end of the Franka protocol: franka-sim's server and what a real controller does beyond it.

Contacts and the collision reflex, the limits of the robot it is said to be, a user stop, lost packets on
demand, and a door that neither garbage nor a second client can block.
"""

from __future__ import annotations

import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from franka_sim.comm_constraints import CommConstraintTracker, CycleOutcome
from franka_sim.franka_protocol import (
    Command,
    MessageHeader,
    MoveStatus,
    RobotMode,
    SetCollisionBehaviorCommand,
)
from franka_sim.franka_sim_server import FrankaSimServer

from como_ros.drivers.priority import run_before_others
from como_ros.lab.contacts import CollisionReflex
from como_ros.lab.doors import PATIENCE_S, Doorman, Lobby
from como_ros.lab.limit_tables import PROTOCOL, make_checker, robot_description

HOST = "127.0.0.1"
PRIORITY = 5
RUN_EVERY = 1000
"""Commands from the start of one run of lost ones to the next: a second."""
HEADER_BYTES = 12
IDLE, OTHER_CONTROLLER = 0, 3
NOT_POSSIBLE = 1
"""Status of an answer: rejected, not possible in this mode."""


@dataclass
class CycleCounts:
    """Control cycles with a motion running, since the lab started."""

    cycles: int = 0
    lost: int = 0
    longest_lost_run: int = 0
    violations: int = 0


class CountingTracker(CommConstraintTracker):
    """franka-sim's judge of lost cycles, which also keeps count."""

    def __init__(self, counts: CycleCounts) -> None:
        super().__init__(enforce=True)
        self._counts = counts

    def tick(self, published_id: int) -> CycleOutcome:
        outcome: CycleOutcome = super().tick(published_id)
        if outcome.active:
            counts = self._counts
            counts.cycles += 1
            counts.lost += outcome.lost
            counts.longest_lost_run = max(counts.longest_lost_run, outcome.consecutive_lost)
            counts.violations += outcome.violation_triggered
        return outcome


class PacketLoss:
    """Which of the client's commands never arrive."""

    def __init__(self) -> None:
        self._chance = random.Random(0)
        self._seen = 0
        self.amount = 0.0
        """Below 1 the share that is lost at random, from 1 on the length of a run once a second; 0 is off."""

    def strikes(self) -> bool:
        amount = self.amount
        if amount < 1:
            return amount > 0 and self._chance.random() < amount
        self._seen += 1
        return self._seen % RUN_EVERY < amount


class LossySocket(socket.socket):
    """Receives the client's commands, except those that are lost."""

    loss: PacketLoss

    def recvfrom(self, *wanted: int) -> Any:
        received = super().recvfrom(*wanted)
        if self.loss.strikes():
            raise BlockingIOError("this command was lost on the way")
        return received


class LabServer(FrankaSimServer):
    """Serves one arm; both enforcements are on."""

    current_motion_id: int

    def __init__(self, robot: str, physics: Any) -> None:
        self._robot = robot
        self.loss = PacketLoss()
        self.counts = CycleCounts()
        self.collisions = CollisionReflex()
        self._user_stopped = False
        self._datagrams: LossySocket | None = None
        self._lobby: Lobby | None = None
        super().__init__(
            host=HOST,
            physics_sim=physics,
            protocol_version=PROTOCOL[robot],
            enforce_comm_constraints=True,
            enforce_motion_limits=True,
        )

    def _load_robot_model(self, urdf_path: Any) -> str:
        return robot_description(super()._load_robot_model(urdf_path), self._robot)

    def _build_motion_limit_checker(self) -> Any:
        return make_checker(
            self._robot, enforce=self.enforce_motion_limits, joint_kinematics=self._joint_space_solver
        )

    def reset_state(self) -> None:
        super().reset_state()
        self.comm = CountingTracker(self.counts)
        self.collisions = CollisionReflex()
        self.physics_sim.set_stiffness_frame(np.eye(4))
        if self._user_stopped:
            self.robot_state.set_robot_mode(RobotMode.kUserStopped)

    def start_gripper_server(self) -> None:
        """The last step before the protocol's threads start, which inherit this thread's priority."""
        run_before_others(PRIORITY)
        super().start_gripper_server()

    # Sockets -------------------------------------------------------------------------------------

    @property
    def udp_socket(self) -> LossySocket | None:
        """The commands' socket; whatever is set here loses packets when told to."""
        return self._datagrams

    @udp_socket.setter
    def udp_socket(self, fresh: socket.socket | None) -> None:
        if fresh is not None:
            fresh = LossySocket(fresh.family, fresh.type, fresh.proto, fileno=fresh.detach())
            fresh.loss = self.loss
        self._datagrams = fresh

    @property
    def server_socket(self) -> Lobby | None:
        return self._lobby

    @server_socket.setter
    def server_socket(self, fresh: socket.socket | None) -> None:
        self._lobby = None if fresh is None else Lobby.of(fresh, HEADER_BYTES, _greets)
        if self._lobby is not None:
            self._lobby.settimeout(1.0)
            self._lobby.listen()

    def handle_client(self, client_socket: socket.socket) -> None:
        client_socket.settimeout(PATIENCE_S)
        super().handle_client(client_socket)

    def start_robot_state_transmission(self, client_address: str, client_udp_port: int) -> None:
        with Doorman(self.server_socket, self.client_socket):
            super().start_robot_state_transmission(client_address, client_udp_port)

    # Contact -------------------------------------------------------------------------------------

    def handle_set_collision_behavior_command(
        self, client_socket: socket.socket, header: MessageHeader, payload: bytes
    ) -> None:
        with suppress(struct.error):  # the answer says so
            self.collisions.set_thresholds(SetCollisionBehaviorCommand.from_bytes(payload))
        super().handle_set_collision_behavior_command(client_socket, header, payload)

    def handle_set_ee_to_k_command(
        self, client_socket: socket.socket, header: MessageHeader, payload: bytes
    ) -> None:
        super().handle_set_ee_to_k_command(client_socket, header, payload)
        frame = np.array(self.robot_state.state["EE_T_K"], float).reshape(4, 4).T
        self.physics_sim.set_stiffness_frame(frame)

    def _run_safety_velocity_check(self, sim_state: Any) -> None:
        super()._run_safety_velocity_check(sim_state)
        motion = self.motion_limits.motion_id
        fields, collision = self.collisions.judge(sim_state)
        self.robot_state.state.update(fields)
        if motion and collision is not None:
            self._latch_and_abort(collision, motion)

    # User stop -----------------------------------------------------------------------------------

    def user_stop(self, pressed: bool) -> None:
        """Press or release the user stop; while it is pressed nothing moves and nothing recovers."""
        with self._motion_lock:
            self._user_stopped = pressed
            state = self.robot_state.state
            if not pressed:
                state["robot_mode"] = RobotMode.kReflex if any(state["errors"]) else RobotMode.kIdle
                return
            state["motion_generator_mode"], state["controller_mode"] = IDLE, OTHER_CONTROLLER
            state["robot_mode"] = RobotMode.kUserStopped
            self._engage_idle_hold("user stop")
            if self.current_motion_id and self.client_socket is not None:
                aborted = (self.current_motion_id, MoveStatus.kEmergencyAborted, self._states_packed)
                self._pending_move_response, self.current_motion_id = aborted, 0

    def _refuse_move_while_latched(self, client_socket: socket.socket, header: MessageHeader) -> bool:
        if self._user_stopped:
            rejected = MoveStatus.kCommandNotPossibleRejected
            self.send_move_response(client_socket, command_id=header.command_id, status=rejected)
            return True
        return bool(super()._refuse_move_while_latched(client_socket, header))

    def handle_stop_move_command(self, client_socket: socket.socket, header: MessageHeader) -> None:
        super().handle_stop_move_command(client_socket, header)
        if self._user_stopped:
            self.robot_state.set_robot_mode(RobotMode.kUserStopped)

    def handle_automatic_error_recovery_command(
        self, client_socket: socket.socket, header: MessageHeader, payload: bytes
    ) -> None:
        if self._user_stopped:
            answer = MessageHeader(Command.kAutomaticErrorRecovery, header.command_id, 16)
            self._send_tcp(client_socket, answer.to_bytes() + struct.pack("<B3x", NOT_POSSIBLE))
            return
        self.collisions.recover()
        super().handle_automatic_error_recovery_command(client_socket, header, payload)


def _greets(head: bytes) -> bool:
    return struct.unpack("<III", head)[0] == Command.kConnect

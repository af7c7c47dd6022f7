"""The hand through franky, in a thread of its own: the newest width wins, a running command is stopped.

Hand commands block for as long as the fingers move, so nobody else may wait for them. franky lets go of the
interpreter while it waits; a process of its own would gain nothing (measured: 0.1 ms of delay at most in a
100 Hz loop beside it).
"""

from __future__ import annotations

import threading
from collections import Counter

from franky import (
    BoolFuture,
    CommandException,
    Gripper,
    GripperException,
    NetworkException,
    ProtocolException,
)

from como_ros.control.grip import GripConfig, HandCommand, decide
from policies.spaces import GRIPPER_MAX_M

READ_PERIOD_S = 0.04
RECONNECT_S = 1.0
EMPTY_BELOW_M = 0.003
"""Fingers that close further than this have nothing between them."""
HAND_ERRORS = (CommandException, GripperException, NetworkException, ProtocolException, RuntimeError)


class Hand:
    """`request` a width at any rate; `width_m` is the last one measured."""

    def __init__(self, host: str, config: GripConfig | None = None) -> None:
        self._host, self._config = host, config or GripConfig()
        self.width_m = GRIPPER_MAX_M
        self.is_grasped = False
        self.fault = "not connected yet"
        self.counters: Counter[str] = Counter()
        self._wanted: float | None = None
        self._last: HandCommand | None = None
        self._running: BoolFuture | None = None
        self._news, self._stop = threading.Event(), threading.Event()
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hand", daemon=True)
        self._thread.start()

    def request(self, width_m: float) -> None:
        """Want a width; returns at once."""
        if width_m != self._wanted:
            self._wanted = width_m
            self._news.set()

    def forget(self) -> None:
        """Take back what was wanted; the fingers finish what they are doing."""
        self._wanted = None

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._serve(Gripper(self._host))
            except HAND_ERRORS as error:
                self.fault = f"hand: {error}"
                self._connected.clear()
                self._running, self._last = None, None
                self._stop.wait(RECONNECT_S)

    def _serve(self, gripper: Gripper) -> None:
        while not self._stop.is_set():
            state = gripper.state
            self.width_m, self.is_grasped, self.fault = state.width, state.is_grasped, ""
            self._connected.set()
            self._news.wait(READ_PERIOD_S)
            self._news.clear()
            self._act(gripper)
        self._preempt(gripper)

    def _act(self, gripper: Gripper) -> None:
        if self._running is not None and self._running.wait(0.0):
            self._finish()
        if self._wanted is None:
            return
        command = decide(self._config, self._wanted, self._last)
        if command is None:
            return
        self._preempt(gripper)
        self._running, self._last = self._start(gripper, command), command
        self.counters[command.kind] += 1

    def _start(self, gripper: Gripper, command: HandCommand) -> BoolFuture:
        config = self._config
        if command.kind == "move":
            return gripper.move_async(command.width_m, config.speed_m_s)
        middle, reach = GRIPPER_MAX_M / 2, GRIPPER_MAX_M / 2
        return gripper.grasp_async(middle, config.speed_m_s, config.force_n, reach - EMPTY_BELOW_M, reach)

    def _preempt(self, gripper: Gripper) -> None:
        if self._running is None:
            return
        if not self._running.wait(0.0):
            self.counters["preempted"] += 1
            gripper.stop()
        self._finish()

    def _finish(self) -> None:
        """Collect the answer of the command that ended."""
        running, self._running = self._running, None
        try:
            if running is not None and not running.get():
                self.counters["unsuccessful"] += 1
        except CommandException:
            self.counters["aborted"] += 1

    def close(self) -> None:
        self._stop.set()
        self._news.set()
        self._thread.join(timeout=3.0)

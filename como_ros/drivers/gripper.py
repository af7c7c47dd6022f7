"""The hand through franky, in a thread of its own: the newest width wins, a running command is stopped.

Hand commands block for as long as the fingers move, so nobody else may wait for them. franky lets go of the
interpreter while it waits; a process of its own would gain nothing (measured: 0.1 ms of delay at most in a
100 Hz loop beside it).
"""

from __future__ import annotations

import threading
from collections import Counter

from franky import BoolFuture, CommandException, Gripper, GripperException
from franky import Exception as FrankyException

from como_ros.control.grip import GripConfig, HandCommand, decide
from como_ros.control.supervision import READY, in_words
from como_ros.drivers.priority import run_like_others
from policies.spaces import GRIPPER_MAX_M

READ_PERIOD_S = 0.04
RECONNECT_S = 1.0
STOPS_WITHIN_S = 0.05
STOP_TRIES = 20
LEAVES_S = 0.5
"""For a hand that has not answered: libfranka may wait for a minute, and there is nothing to stop."""
EMPTY_BELOW_M = 0.003
"""Fingers that close further than this have nothing between them."""
HAND_ERRORS = (FrankyException, GripperException, RuntimeError)


class Hand:
    """`request` a width at any rate, `halt` to stop; a hand that was away does nothing wanted before."""

    def __init__(self, host: str, config: GripConfig | None = None) -> None:
        self._host, self._config = host, config or GripConfig()
        self._width_m = 0.0
        self.is_grasped = False
        self.fault = "hand: not connected yet"
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._wanted: float | None = None
        self._halted = False
        self._arm_halted = ""
        self._last: HandCommand | None = None
        self._running: BoolFuture | None = None
        self._news, self._stop = threading.Event(), threading.Event()
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hand", daemon=True)
        self._thread.start()

    @property
    def width_m(self) -> float | None:
        """As measured just now; none while the hand does not answer."""
        return None if self.fault else self._width_m

    def request(self, width_m: float) -> None:
        """Want a width; returns at once."""
        with self._lock:
            if self.fault or width_m == self._wanted:
                return
            self._wanted = width_m
        self._news.set()

    def halt(self) -> None:
        """Stop fingers on the move, keep what they hold, want nothing; returns at once."""
        with self._lock:
            self._wanted, self._halted = None, True
        self._news.set()

    def obey(self, arm_halted: str, width_m: float | None) -> None:
        """In every round of the arm's loop: halt when the arm is halted anew, want what has become due."""
        before, self._arm_halted = self._arm_halted, arm_halted
        released = before and arm_halted == in_words(READY)  # the hand may be opening at home
        if arm_halted not in ("", before) and not released:
            self.halt()
        if width_m is not None:
            self.request(width_m)

    def _orders(self) -> tuple[float | None, bool]:
        with self._lock:
            halted, self._halted = self._halted, False
            return self._wanted, halted

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    def _run(self) -> None:
        """At real-time priority, who waits for a command's end keeps its stop off the line for 0.1 to 0.8 s.

        Without one, a stop ends the command within 21 ms (see docs/log.md).
        """
        run_like_others()
        try:
            while not self._stop.is_set():
                self._connect()
        finally:  # whatever ends this thread, the last width it read is no measurement any more
            self._lose("hand: its thread has ended; start the node again")

    def _connect(self) -> None:
        try:
            self._serve(Gripper(self._host))
        except HAND_ERRORS as error:
            self._lose(f"hand: {error}")
            self._stop.wait(RECONNECT_S)

    def _lose(self, why: str) -> None:
        """Nothing wanted before counts when the hand is back."""
        with self._lock:
            self.fault = why
            self._wanted, self._halted = None, False
        self._connected.clear()
        self._running, self._last = None, None

    def _serve(self, gripper: Gripper) -> None:
        while not self._stop.is_set():
            state = gripper.state
            self._width_m, self.is_grasped, self.fault = state.width, state.is_grasped, ""
            self._connected.set()
            self._news.wait(READ_PERIOD_S)
            self._news.clear()
            self._act(gripper)
        self._preempt(gripper)

    def _act(self, gripper: Gripper) -> None:
        if self._running is not None and self._running.wait(0.0):
            self._finish()
        wanted, halted = self._orders()
        if halted:
            self._break_off(gripper)
        if wanted is None:
            return
        command = decide(self._config, wanted, self._last)
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

    def _break_off(self, gripper: Gripper) -> None:
        """Stop a motion; a grasp that has closed on something stays."""
        holds = self._last is not None and self._last.kind == "grasp" and gripper.state.is_grasped
        if self._running is None or holds:
            return
        self._preempt(gripper)
        self._last = None  # it was not carried out

    def _preempt(self, gripper: Gripper) -> None:
        if self._running is None:
            return
        if not self._running.wait(0.0):
            self.counters["preempted"] += 1
            self._stop_fingers(gripper, self._running)
        self._finish()

    def _stop_fingers(self, gripper: Gripper, running: BoolFuture) -> None:
        """Until the command has ended: franky sends it from its own thread, and a stop can overtake it."""
        for _ in range(STOP_TRIES):
            gripper.stop()
            if running.wait(STOPS_WITHIN_S):
                return
        raise RuntimeError(f"the hand goes on after {STOP_TRIES} stops; cut its power and look at it")

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
        self._thread.join(timeout=3.0 if self._connected.is_set() else LEAVES_S)

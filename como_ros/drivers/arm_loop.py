"""The arm's control loop in a thread of its own: commands in, safe set-points to the arm, its state out.

Knows no ROS. Commands may come from any thread; they are handed to the servo between two set-points. After a
fault the arm's state is still read and reported, and nothing moves until `recover` is called and the
supervisor arms again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from como_ros.control.homing import JointMove
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import READY
from como_ros.drivers.franka import HOME_Q, ArmError, ArmState, FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.errors import ComoError
from policies.spaces import GRIPPER_MAX_M

CONNECTING, TRACKING, HOMING, FAULT = "connecting", "tracking", "homing", "fault"
HOME_SETTLE_NS = 600_000_000
HOME_CLOSE_RAD = 0.003
RECONNECT_NS = 1_000_000_000


@dataclass(frozen=True)
class LoopConfig:
    """The loop and the parts it drives."""

    rate_hz: float = 100.0
    franka: FrankaConfig = field(default_factory=FrankaConfig)
    servo: ServoConfig = field(default_factory=ServoConfig)
    shield: ShieldConfig = field(default_factory=ShieldConfig)


@dataclass
class Pace:
    """How well the loop keeps its time."""

    rounds: int = 0
    missed: int = 0
    """Set-points that were never sent because the round before took too long."""
    late: int = 0
    """Rounds begun more than 2 ms after they were due."""
    worst_late_ms: float = 0.0

    def begin(self, late_ns: int) -> None:
        self.rounds += 1
        self.late += late_ns > 2_000_000
        self.worst_late_ms = max(self.worst_late_ms, late_ns / 1e6)


class ArmLoop:
    """Runs from construction to `close`."""

    def __init__(self, config: LoopConfig, report: Callable[[ArmState, float], None]) -> None:
        self._config, self._report = config, report
        self.mode, self.fault = CONNECTING, ""
        self.pace = Pace()
        self.success_rate = 0.0
        self.servo: Servo | None = None
        self._arm: FrankaArm | None = None
        self.hand = Hand(config.franka.host)
        self._inbox: queue.SimpleQueue[Callable[[int], object]] = queue.SimpleQueue()
        self._homing: tuple[JointMove, Future[str]] | None = None
        self._try_ns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arm", daemon=True)
        self._thread.start()

    # From any thread -----------------------------------------------------------------------------

    def tell(self, command: Callable[[Servo, int], object]) -> None:
        """Hand something to the servo, together with the time of its next round; returns at once."""
        self._inbox.put(lambda now_ns: self.servo and command(self.servo, now_ns))

    def home(self) -> Future[str]:
        """Sweep to the home joints and open the hand; allowed while the supervisor says ready."""
        return self._ask(self._begin_home)

    def recover(self) -> Future[str]:
        """Clear the fault, on consent of whoever calls."""
        return self._ask(self._recover)

    def _ask(self, action: Callable[[Future[str], int], None]) -> Future[str]:
        answer: Future[str] = Future()

        def attempt(now_ns: int) -> None:
            try:
                action(answer, now_ns)
            except ComoError as error:
                answer.set_exception(error)

        self._inbox.put(attempt)
        return answer

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def counters(self) -> Counter[str]:
        return (self.servo.counters if self.servo else Counter()) + self.hand.counters

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)
        self.hand.close()

    # In the loop's thread ------------------------------------------------------------------------

    def _run(self) -> None:
        period_ns = round(1e9 / self._config.rate_hz)
        due_ns = time.monotonic_ns()
        while not self._stop.is_set():
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            now_ns = time.monotonic_ns()
            self.pace.begin(now_ns - due_ns)
            try:
                self._round(now_ns)
            except ArmError as error:
                self._fail(str(error))
            behind = (time.monotonic_ns() - due_ns) // period_ns
            self.pace.missed += behind if self.mode in (TRACKING, HOMING) else 0
            due_ns += (behind + 1) * period_ns
        if self._arm is not None:
            self._arm.close()

    def _round(self, now_ns: int) -> None:
        while not self._inbox.empty():
            self._inbox.get()(now_ns)
        if self._arm is None:
            self._connect(now_ns)
            return
        if self.mode == TRACKING:
            self._send(self._arm, now_ns)
        elif self.mode == HOMING:
            self._home_on(self._arm, now_ns)
        state = self._arm.read()
        self.success_rate = state.success_rate
        self._report(state, self.hand.width_m)

    def _connect(self, now_ns: int) -> None:
        if now_ns - self._try_ns < RECONNECT_NS:
            return
        self._try_ns = now_ns
        try:
            self._arm = FrankaArm(self._config.franka)
        except ArmError as error:
            self.fault = str(error)
            return
        self._take(self._arm, now_ns)

    def _take(self, arm: FrankaArm, now_ns: int, rearm: bool = False) -> None:
        """Hold the arm where it is."""
        state = arm.read()
        if state.mode not in ("Idle", "Move"):
            raise ArmError(f"the robot is in mode {state.mode}; recover first")
        arm.track()
        if self.servo is None:
            self.servo = Servo(self._config.servo, self._config.shield, state.pose7, now_ns)
        self.servo.reset(state.pose7, now_ns, rearm)
        self.mode, self.fault = TRACKING, ""

    def _send(self, arm: FrankaArm, now_ns: int) -> None:
        assert self.servo is not None
        if fault := arm.fault():
            raise ArmError(fault)
        setpoint = self.servo.tick(now_ns)
        arm.set_target(setpoint.pose7, setpoint.twist)
        width_m = self.servo.width(now_ns)
        if width_m is not None:
            self.hand.request(width_m)

    def _fail(self, why: str) -> None:
        if self._homing is not None:
            self._homing[1].set_exception(ComoError(f"homing ended: {why}"))
            self._homing = None
        if self.mode != FAULT:
            self.mode, self.fault = FAULT, why
        self._stop.wait(0.01)

    def _recover(self, answer: Future[str], now_ns: int) -> None:
        if self._arm is None:
            raise ComoError(f"nothing to recover: {self.fault}")
        if self.mode != FAULT:
            raise ComoError(f"nothing to recover: the arm is {self.mode}")
        self._arm.recover()
        self._take(self._arm, now_ns, rearm=True)
        answer.set_result("recovered; the arm holds until it is armed again")

    def _begin_home(self, answer: Future[str], now_ns: int) -> None:
        state = self.servo.state if self.servo else ""
        if self._arm is None or self.mode != TRACKING or state != READY:
            raise ComoError(
                f"home refused: the arm is {self.mode} and the supervisor says {state or 'nothing'}; "
                "it is allowed while the arm is tracking and the supervisor says ready"
            )
        start = self._arm.read().q
        self._arm.track_joints()
        self.hand.request(GRIPPER_MAX_M)
        self._homing, self.mode = (JointMove(start, np.array(HOME_Q), now_ns), answer), HOMING

    def _home_on(self, arm: FrankaArm, now_ns: int) -> None:
        assert self.servo is not None
        assert self._homing is not None
        move, answer = self._homing
        if fault := arm.fault():
            raise ArmError(fault)
        self.servo.tick(now_ns)  # keeps watch over the supervisor's heartbeat
        if self.servo.state != READY:
            self._end_home(arm, now_ns)
            answer.set_exception(ComoError("homing was broken off: the supervisor no longer says ready"))
            return
        arm.set_joint_target(*move.at(now_ns))
        if now_ns < move.end_ns:
            return
        off = float(np.abs(arm.read().q - HOME_Q).max())
        if off < HOME_CLOSE_RAD or now_ns > move.end_ns + HOME_SETTLE_NS:
            self._end_home(arm, now_ns)
            answer.set_result(f"home, {off * 1e3:.1f} mrad off")

    def _end_home(self, arm: FrankaArm, now_ns: int) -> None:
        self._homing = None
        self._take(arm, now_ns)

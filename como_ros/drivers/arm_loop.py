"""The arm's control loop in a thread of its own: commands in, safe set-points to the arm, its state out.

Knows no ROS. Commands may come from any thread; they are handed to the servo between two set-points. Nothing
moves until the supervisor has been released and armed, except homing, which needs `ready` and an explicit
call. After a fault the arm's state is still read and reported, and nothing moves until `recover` is called
and the supervisor arms again. Whatever ends the loop, it brakes, lets go and answers everybody who waits.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from como_ros.clock import ClockWatch, jumped
from como_ros.control.limits import get_limits
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import READY, in_words
from como_ros.control.triage import Triage, is_at_rest, touch
from como_ros.drivers.answers import Answers
from como_ros.drivers.braking import brake, brake_joints
from como_ros.drivers.franka import ArmError, ArmState, FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.drivers.home_run import FAR_RAD, HomeRun, open_hand
from como_ros.drivers.pace import Pace, beats
from como_ros.errors import ComoError

CONNECTING, TRACKING, HOMING, FAULT = "connecting", "tracking", "homing", "fault"
RECONNECT_NS = 1_000_000_000
AT_REST_NS = 500_000_000
"""After so long a stopped arm stands still and may be cleared."""
HEARSAY_NS = 300_000_000
"""A release and the call to go home travel apart: so long may the release arrive after the call."""


@dataclass(frozen=True)
class LoopConfig:
    """The loop and the parts it drives."""

    rate_hz: float = 100.0
    franka: FrankaConfig = field(default_factory=FrankaConfig)
    servo: ServoConfig = field(default_factory=ServoConfig)
    shield: ShieldConfig = field(default_factory=ShieldConfig)

    def __post_init__(self) -> None:
        slowest_hz = 1 / self.servo.max_dt_s
        if not slowest_hz <= self.rate_hz <= 1000:
            raise ComoError(f"the arm's rate_hz must lie in {slowest_hz:.0f} to 1000, got {self.rate_hz}")


class ArmLoop:
    """Runs from construction to `close`."""

    def __init__(self, config: LoopConfig, report: Callable[[ArmState, float | None], None]) -> None:
        self._config, self._report = config, report
        self.mode, self.fault = CONNECTING, ""
        self.pace = Pace()
        self._clock = ClockWatch()
        self.success_rate = 0.0
        self.servo: Servo | None = None
        self._arm: FrankaArm | None = None
        self.hand = Hand(config.franka.host)
        self._inbox: queue.SimpleQueue[Callable[[int], object]] = queue.SimpleQueue()
        self._limits = get_limits(config.franka.robot)
        self._homing: HomeRun | None = None
        self._home_since = 0
        """Changes of the supervisor's state when the sweep began."""
        self._answers = Answers()
        self._try_ns = 0
        self._triage = Triage()
        self._clear_ns: int | None = None
        self.auto_cleared = 0
        """Harmless stops that needed no person to clear."""
        self._home_wanted: list[tuple[Future[str], int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arm", daemon=True)
        self._thread.start()

    # From any thread -----------------------------------------------------------------------------

    def tell(self, command: Callable[[Servo, int], object]) -> None:
        """Hand something to the servo, together with the time of its next round; returns at once."""
        self._inbox.put(lambda now_ns: self.servo and command(self.servo, now_ns))

    def home(self) -> Future[str]:
        """Sweep to the home joints; allowed while the supervisor says ready.

        The hand opens, unless it holds something and nobody has released the supervisor since; the answer
        says which.
        """
        return self._ask(self._want_home)

    def recover(self) -> Future[str]:
        """Clear the fault, on consent of whoever calls."""
        return self._ask(self._recover)

    def _ask(self, action: Callable[[Future[str], int], None]) -> Future[str]:
        answer = self._answers.new()

        self._inbox.put(lambda now_ns: self._attempt(action, answer, now_ns))
        return answer

    @staticmethod
    def _attempt(action: Callable[[Future[str], int], None], answer: Future[str], now_ns: int) -> None:
        try:
            action(answer, now_ns)
        except ComoError as error:
            answer.set_exception(error)

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
        try:
            self._rounds()
        finally:
            self._leave(sys.exc_info()[1])

    def _leave(self, error: BaseException | None) -> None:
        """Brake, let go, answer: also when something broke that nobody thought of."""
        mode = self.mode
        if error is not None:
            self.mode, self.fault = FAULT, f"the control loop broke: {type(error).__name__}: {error}"
        self.hand.halt()
        try:
            if self._arm is not None and mode == HOMING:
                brake_joints(self._arm)
            elif self._arm is not None and mode == TRACKING and self.servo is not None:
                brake(self._arm, self.servo, self._config.rate_hz)
        except ArmError as late:
            self.fault = self.fault or str(late)
        finally:
            if self._arm is not None:
                self._arm.close()
            self._arm = None
            self._answers.close(f"the control loop has ended: {self.fault or 'closed'}")

    def _rounds(self) -> None:
        in_control = (TRACKING, HOMING)
        for now_ns in beats(self._config.rate_hz, self.pace, self._stop, lambda: self.mode in in_control):
            try:
                self._round(now_ns)
            except ArmError as error:
                self._fail(str(error))

    def _round(self, now_ns: int) -> None:
        while not self._inbox.empty():
            self._inbox.get()(now_ns)
        if (jump_s := self._clock.jump_s()) and self.servo is not None:
            self.servo.raise_alarm("clock jumps", f"{jumped(jump_s)}; look at the time service and arm again")
        self._answer_home(now_ns)
        if self._arm is None:
            self._connect(now_ns)
            return
        if self.mode == TRACKING:
            self._send(self._arm, now_ns)
        elif self.mode == HOMING:
            self._home_on(self._arm, now_ns)
        elif self._clear_ns is not None and now_ns > self._clear_ns:
            self._clear(self._arm, now_ns)
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
        self._take(self._arm, now_ns, rearm=True)

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
        self.pace.sent(setpoint, self.servo.driver)
        self.hand.obey(self.servo.halted, self.servo.width(now_ns))

    def _fail(self, why: str) -> None:
        if self._homing is not None:
            self._homing.answer.set_exception(ComoError(f"homing ended: {why}"))
            self._homing = None
        if self.mode != FAULT:
            errors, mode = (self._arm.errors, self._arm.stopped_in) if self._arm is not None else ((), "")
            ruling = self._triage.judge(errors, mode, time.monotonic_ns())
            self.mode, self.fault = FAULT, f"{why}; {ruling.advice}" if ruling.advice else why
            self._clear_ns = time.monotonic_ns() + AT_REST_NS if ruling.clear else None
            self.hand.halt()
        self._stop.wait(0.01)

    def _clear(self, arm: FrankaArm, now_ns: int) -> None:
        """What triage calls harmless, once the arm has come to rest untouched; it then holds, disarmed."""
        state = arm.read()
        if not is_at_rest(state.dq):
            return
        self._clear_ns = None
        if touched := touch(state.wrench):
            self.fault = f"{self.fault}; {touched}"
            return
        arm.recover()
        self._take(arm, now_ns, rearm=True)
        self.auto_cleared += 1

    def _recover(self, answer: Future[str], now_ns: int) -> None:
        if self._arm is None:
            raise ComoError(f"nothing to recover: {self.fault}")
        if self.mode != FAULT:
            raise ComoError(f"nothing to recover: the arm is {self.mode}")
        self._clear_ns = None
        self.hand.halt()
        self._arm.recover()
        self._take(self._arm, now_ns, rearm=True)
        answer.set_result("recovered; the arm holds until it is armed again")

    def _want_home(self, answer: Future[str], now_ns: int) -> None:
        self._home_wanted.append((answer, now_ns + HEARSAY_NS))

    def _answer_home(self, now_ns: int) -> None:
        waiting, self._home_wanted = self._home_wanted, []
        for answer, until_ns in waiting:
            if self.mode == TRACKING and not self._stands_ready and now_ns < until_ns:
                self._home_wanted.append((answer, until_ns))
            else:
                self._attempt(self._begin_home, answer, now_ns)

    @property
    def _is_ready(self) -> bool:
        return self.servo is not None and self.servo.mandate.state == READY

    @property
    def _stands_ready(self) -> bool:
        """Released, braked, and the hand halted: a stop may have come in the same round as the release."""
        servo = self.servo
        return servo is not None and self._is_ready and servo.halted == in_words(READY) and servo.stands

    def _begin_home(self, answer: Future[str], now_ns: int) -> None:
        state = self.servo.mandate.state if self.servo else ""
        if self._arm is None or self.mode != TRACKING or not self._is_ready:
            raise ComoError(
                f"home refused: the arm is {self.mode} and the supervisor says {state or 'nothing'}; "
                "it is allowed while the arm is tracking and the supervisor says ready"
            )
        self._homing, self.mode = HomeRun(self._arm, self._limits, answer, now_ns), HOMING
        self._homing.hand = open_hand(self.hand, self.servo is not None and self.servo.mandate.released)
        self._home_since = self.servo.mandate.changes if self.servo else 0

    def _home_on(self, arm: FrankaArm, now_ns: int) -> None:
        assert self.servo is not None
        assert self._homing is not None
        homing = self._homing
        if fault := arm.fault():
            raise ArmError(fault)
        self.servo.tick(now_ns)  # keeps watch over the supervisor's heartbeat
        self.hand.obey(self.servo.halted, None)
        # a stop that was released at once is a stop
        released = self._is_ready and self.servo.mandate.changes == self._home_since
        why = homing.refusal(now_ns) if released else "the supervisor no longer says ready"
        if why:
            self._end_home(arm, now_ns)
            homing.answer.set_exception(ComoError(f"homing was broken off: {why}"))
        elif done := homing.step(arm, now_ns):
            self._end_home(arm, now_ns)
            if homing.off_rad < FAR_RAD:
                homing.answer.set_result(done)
            else:
                homing.answer.set_exception(ComoError(f"not {done}; is something in the way of the arm?"))

    def _end_home(self, arm: FrankaArm, now_ns: int) -> None:
        self._take(arm, now_ns)  # may raise; then the fault answers whoever waits
        self._homing = None

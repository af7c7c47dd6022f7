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

import numpy as np

from como_ros.clock import ClockWatch, jumped
from como_ros.control.limits import get_limits
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.drivers.answers import Answers
from como_ros.drivers.braking import brake, brake_joints, catch
from como_ros.drivers.errands import GUIDING, HOMING, TRACKING, Errands
from como_ros.drivers.franka import ASLEEP, SILENT_S, ArmError, ArmState, FrankaArm, FrankaConfig
from como_ros.drivers.gripper import Hand
from como_ros.drivers.link import LOOK, LinkWatch
from como_ros.drivers.mending import Mending
from como_ros.drivers.pace import Pace, beats
from como_ros.errors import ComoError, require_between

CONNECTING, FAULT = "connecting", "fault"
RECONNECT_NS = 1_000_000_000
CLOSES_S = 5.0


@dataclass(frozen=True)
class LoopConfig:
    """The loop and the parts it drives."""

    rate_hz: float = 200.0
    """Of set-points, and of the state that is reported."""
    franka: FrankaConfig = field(default_factory=FrankaConfig)
    servo: ServoConfig = field(default_factory=ServoConfig)
    shield: ShieldConfig = field(default_factory=ShieldConfig)

    def __post_init__(self) -> None:
        limits, shield = get_limits(self.franka.robot), self.shield
        require_between("the arm's rate_hz", self.rate_hz, 1 / self.servo.max_dt_s, 1000)
        require_between("the arm's max_speed_m_s", shield.max_speed_m_s, 0, limits.translation.velocity)
        require_between("the arm's max_turn_rad_s", shield.max_turn_rad_s, 0, limits.rotation.velocity)


class ArmLoop:
    """Runs from construction to `close`."""

    def __init__(
        self, config: LoopConfig, report: Callable[[ArmState, float | None], None], active: bool = True
    ) -> None:
        self._config, self._report = config, report
        self.active = active
        """Whether commands may count."""
        self._mode = CONNECTING
        self.mending, self.pace, self.link = Mending(), Pace(), LinkWatch()
        self.success_rate = 0.0
        self.servo: Servo | None = None
        self.hand = Hand(config.franka.host)
        self._clock = ClockWatch()
        self._arm: FrankaArm | None = None
        self._q: np.ndarray | None = None
        self._limits = get_limits(config.franka.robot)
        self._errands = Errands(self._limits, config.shield, self.hand)
        self._inbox: queue.SimpleQueue[Callable[[int], object]] = queue.SimpleQueue()
        self._answers = Answers()
        self._try_ns = self._asked_ns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arm", daemon=True)
        self._thread.start()

    # From any thread -----------------------------------------------------------------------------

    def tell(self, command: Callable[[Servo, int], object]) -> None:
        """Hand something to the servo, together with the time of its next round; returns at once."""
        self._inbox.put(lambda now_ns: self.servo and command(self.servo, now_ns))

    def activate(self, active: bool = True) -> None:
        """Commands may count, once armed; deactivated, the arm brakes as for a stop and holds."""
        self.active = active
        self.tell(lambda servo, now_ns: servo.mandate.activate(active))

    def home(self) -> Future[str]:
        """Sweep to the home joints; allowed while the supervisor says ready.

        The hand opens, unless it holds something and nobody has released the supervisor since; the answer
        says which.
        """
        return self._ask(self._errands.want_home)

    def guide(self) -> Future[str]:
        """Yield to whoever moves the arm by hand; allowed while a person drives, ends when nobody does."""
        return self._ask(self._errands.want_guiding)

    def recover(self) -> Future[str]:
        """Clear the fault, on consent of whoever calls."""
        return self._ask(self._recover)

    def _ask(self, begin: Callable[[Future[str], int], None]) -> Future[str]:
        answer = self._answers.new()

        def attempt(now_ns: int) -> None:
            try:
                begin(answer, now_ns)
            except ComoError as error:
                answer.set_exception(error)

        self._inbox.put(attempt)
        return answer

    @property
    def mode(self) -> str:
        """connecting | tracking | homing | guiding | fault."""
        return self._errands.mode or self._mode

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def counters(self) -> Counter[str]:
        return (self.servo.counters if self.servo else Counter()) + self.hand.counters

    @property
    def fault(self) -> str:
        return self.mending.fault

    @property
    def waits(self) -> str:
        """For which answer of the robot, and since when, or nothing; libfranka gives it a minute."""
        asked_ns = self._asked_ns
        waited_s = (time.monotonic_ns() - asked_ns) / 1e9 if asked_ns else 0.0
        host = self._config.franka.host
        return f"{host} has not answered for {waited_s:.0f} s; {ASLEEP}" if waited_s > SILENT_S else ""

    def close(self) -> None:
        """An arm that has not answered so far is left to libfranka: there is nothing to brake."""
        self._stop.set()
        deadline = time.monotonic() + CLOSES_S
        while self._thread.is_alive() and not self.waits and time.monotonic() < deadline:
            self._thread.join(timeout=0.05)
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
            broke = f"the control loop broke: {type(error).__name__}: {error}"
            self._mode, self.mending.fault = FAULT, broke
        self._errands.fail(self.fault or "closed")
        self.hand.halt()
        try:
            if self._arm is not None:
                self._brake(self._arm, mode)
        except ArmError as late:
            self.mending.fault = self.fault or str(late)
        finally:
            if self._arm is not None:
                self._arm.close()
            self._arm = None
            self._answers.close(f"the control loop has ended: {self.fault or 'closed'}")

    def _brake(self, arm: FrankaArm, mode: str) -> None:
        if mode == HOMING:
            brake_joints(arm)
        elif mode == GUIDING:
            catch(arm, self._limits)
        elif mode == TRACKING and self.servo is not None:
            brake(arm, self.servo, self._config.rate_hz)

    def _rounds(self) -> None:
        for now_ns in beats(self._config.rate_hz, self.pace, self._stop, lambda: self._mode == TRACKING):
            try:
                self._round(now_ns)
            except ArmError as error:
                self._fail(str(error))

    def _round(self, now_ns: int) -> None:
        while not self._inbox.empty():
            self._inbox.get()(now_ns)
        if (jump_s := self._clock.jump_s()) and self.servo is not None:
            self.servo.raise_alarm("clock jumps", f"{jumped(jump_s)}; look at the time service and arm again")
        self._errands.answer(self._arm, self.servo, self.mode, now_ns)
        if self._arm is None:
            self._connect(now_ns)
            return
        if self._mode == TRACKING:
            self._drive(self._arm, now_ns)
        elif self.mending.clears(self._arm, now_ns):
            self._take(self._arm, now_ns, rearm=True)
        state = self._arm.read()
        self._q = state.q
        self.success_rate = state.success_rate
        self._listen(state, now_ns)
        self._report(state, self.hand.width_m)

    def _connect(self, now_ns: int) -> None:
        if now_ns - self._try_ns < RECONNECT_NS:
            return
        self._try_ns = self._asked_ns = now_ns
        try:
            self._arm = FrankaArm(self._config.franka)
        except ArmError as error:
            self.mending.fault = str(error)
            return
        finally:
            self._asked_ns = 0
        if not self._stop.is_set():  # else it was closed while it looked for the arm
            self._take(self._arm, now_ns, rearm=True)

    def _take(self, arm: FrankaArm, now_ns: int, rearm: bool = False) -> None:
        """Hold the arm where it is."""
        state = arm.read()
        if state.mode not in ("Idle", "Move"):
            raise ArmError(f"the robot is in mode {state.mode}; recover first")
        arm.track()
        self._q = state.q
        if self.servo is None:
            self.servo = Servo(self._config.servo, self._config.shield, state.pose7, now_ns, self._limits)
            self.servo.mandate.activate(self.active)
        self.servo.reset(state.pose7, now_ns, rearm)
        self._mode = TRACKING
        self.mending.mended()

    def _drive(self, arm: FrankaArm, now_ns: int) -> None:
        """One set-point; the servo's tick also keeps watch over the supervisor."""
        assert self.servo is not None
        if fault := arm.fault():
            raise ArmError(fault)
        setpoint = self.servo.tick(now_ns, self._q)
        if not self._errands.mode:
            arm.set_target(setpoint.pose7, setpoint.twist)
        elif self._errands.is_over(arm, self.servo, now_ns):
            self._take(arm, now_ns)  # may raise; then the fault answers whoever waits
            self._errands.end()
        self.pace.sent(setpoint, now_ns, self.servo.driver)
        self.hand.obey(self.servo.halted, self.servo.width(now_ns))

    def _listen(self, state: ArmState, now_ns: int) -> None:
        """A robot whose clock stands still is waited for, and soon a person must look at it."""
        if self.servo is None or self._mode != TRACKING:
            self.link.begin_anew()
            return
        was_dead = self.link.is_dead
        self.link.look(state.robot_s, now_ns)
        self.servo.mandate.hindrance = "the robot is silent" if self.link.is_late else ""
        if self.link.is_dead and not was_dead:
            self.servo.raise_alarm("robot silent", f"the robot has fallen silent; {LOOK}")

    def _fail(self, why: str) -> None:
        self._errands.fail(why)
        if self._mode != FAULT:
            self._mode = FAULT
            self.mending.judge(why, self._arm)
            self.hand.halt()
        self._stop.wait(0.01)

    def _recover(self, answer: Future[str], now_ns: int) -> None:
        if self._arm is None:
            raise ComoError(f"nothing to recover: {self.fault}")
        if self._mode != FAULT:
            raise ComoError(f"nothing to recover: the arm is {self.mode}")
        self.hand.halt()
        self._asked_ns = now_ns
        try:
            self._arm.recover()
        finally:
            self._asked_ns = 0
        self._take(self._arm, now_ns, rearm=True)
        answer.set_result("recovered; the arm holds until it is armed again")

"""What the arm does besides following set-points: it sweeps home, or yields to a hand that guides it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from como_ros.control.homing import sinks
from como_ros.control.limits import RobotLimits
from como_ros.control.mandate import INACTIVE
from como_ros.control.servo import Servo
from como_ros.control.shield import ShieldConfig
from como_ros.control.supervision import READY, TELEOP, in_words
from como_ros.drivers.franka import FrankaArm
from como_ros.drivers.gripper import Hand
from como_ros.drivers.guide_run import GuideRun
from como_ros.drivers.home_run import HomeRun, open_hand
from como_ros.errors import ComoError

TRACKING, HOMING, GUIDING = "tracking", "homing", "guiding"
HEARSAY_NS, UNHEARD_NS = 300_000_000, 3_000_000_000
"""A call and the words that allow it travel apart: so long may these arrive after it, and so long
while no supervisor has been heard at all: nodes that start together find each other one by one."""

NEEDED = {HOMING: "the supervisor says ready", GUIDING: "a person drives it"}


@dataclass(frozen=True)
class _Wanted:
    """An errand that waits until it is allowed, or refused."""

    kind: str
    answer: Future[str]
    since_ns: int

    def waits(self, servo: Servo | None, now_ns: int) -> bool:
        if servo is not None and servo.mandate.inactive:
            return False
        heard = servo is not None and servo.mandate.state
        return now_ns < self.since_ns + (HEARSAY_NS if heard else UNHEARD_NS)


class Errands:
    """One at a time; whoever runs it takes the arm back when it is over."""

    def __init__(self, limits: RobotLimits, shield: ShieldConfig, hand: Hand) -> None:
        self._limits, self._shield, self._hand = limits, shield, hand
        self.mode = ""
        """homing | guiding, or empty."""
        self._wanted: list[_Wanted] = []
        self._homing: HomeRun | None = None
        self._guiding: GuideRun | None = None
        self._since = 0
        """Changes of the supervisor's state when the sweep home began."""
        self._done = self._why = ""
        """How the sweep ended, or why it was broken off."""

    def want_home(self, answer: Future[str], now_ns: int) -> None:
        self._wanted.append(_Wanted(HOMING, answer, now_ns))

    def want_guiding(self, answer: Future[str], now_ns: int) -> None:
        self._wanted.append(_Wanted(GUIDING, answer, now_ns))

    def answer(self, arm: FrankaArm | None, servo: Servo | None, mode: str, now_ns: int) -> None:
        """Begin what is allowed by now, refuse what has waited for too long; `mode` is the arm's."""
        wanted, self._wanted = self._wanted, []
        for one in wanted:
            if mode == TRACKING and not _is_time(one.kind, servo) and one.waits(servo, now_ns):
                self._wanted.append(one)
                continue
            try:
                self._begin(one, arm, servo, mode, now_ns)
            except ComoError as refusal:
                one.answer.set_exception(refusal)

    def _begin(
        self, one: _Wanted, arm: FrankaArm | None, servo: Servo | None, mode: str, now_ns: int
    ) -> None:
        if servo is not None and servo.mandate.inactive:
            raise ComoError(f"{one.kind} refused: {INACTIVE}")
        if arm is None or servo is None or mode != TRACKING or self.mode or not _may(one.kind, servo):
            said = (servo.mandate.state if servo else "") or "nothing"
            raise ComoError(
                f"{one.kind} refused: the arm is {mode} and the supervisor says {said}; "
                f"it is allowed while the arm is tracking and {NEEDED[one.kind]}"
            )
        if one.kind == HOMING:
            if why := sinks(arm.read().q, self._shield.box_min_m[2]):
                raise ComoError(f"homing refused: {why}")
            self._homing = HomeRun(arm, self._limits, one.answer, now_ns)
            self._homing.hand = open_hand(self._hand, servo.mandate.released)
            self._since = servo.mandate.changes
        else:
            self._guiding = GuideRun(arm, self._limits, self._shield)
            one.answer.set_result("the arm yields to the hand that guides it")
        self.mode = one.kind

    def is_over(self, arm: FrankaArm, servo: Servo, now_ns: int) -> bool:
        """One round of it."""
        if self._homing is not None:
            return self._home_on(self._homing, arm, servo, now_ns)
        assert self._guiding is not None
        return self._guide_on(self._guiding, arm, servo, now_ns)

    def _home_on(self, homing: HomeRun, arm: FrankaArm, servo: Servo, now_ns: int) -> bool:
        mandate = servo.mandate
        homing.tick(now_ns, runs=not mandate.pause)
        # a stop that was released at once is a stop
        released = mandate.state == READY and mandate.changes == self._since
        self._why = homing.refusal() if released else "the supervisor no longer says ready"
        self._done = "" if self._why else homing.send(arm)
        return bool(self._why or self._done)

    def _guide_on(self, guiding: GuideRun, arm: FrankaArm, servo: Servo, now_ns: int) -> bool:
        """Until the person lets go, or somebody must look; damped while the person's device is late."""
        if guiding.ends:
            return guiding.rests(arm, now_ns)
        if beyond := guiding.step(arm, freely=servo.driver == TELEOP):
            servo.raise_alarm("guiding ended", f"guiding ended: {beyond}; arm again")
        if servo.mandate.stop or servo.mandate.state != TELEOP:
            guiding.end(arm, now_ns)
        return False

    def end(self) -> None:
        """The arm is held again."""
        if self._homing is not None:
            self._homing.end(self._done, self._why)
        self._homing = self._guiding = None
        self.mode = ""

    def fail(self, why: str) -> None:
        """The arm is no longer under control."""
        self._why = why
        self.end()


def _may(kind: str, servo: Servo) -> bool:
    return servo.mandate.state == READY if kind == HOMING else servo.driver == TELEOP


def _is_time(kind: str, servo: Servo | None) -> bool:
    """To go home: released, braked, and the hand halted: a stop may have come in the round of the release."""
    if servo is None or kind == GUIDING:
        return servo is not None and _may(kind, servo)
    return servo.halted == in_words(READY) and servo.stands

"""The arm through franky: impedance tracking, state, homing, guiding, recovery; knows no simulator.

Franky's trackers have no watchdog, apply a reference as it is and report an error only when polled; whoever
uses this driver sends safe set-points at a steady rate and looks at `fault()` in every round.
Names are imported one by one: franky's `Exception`, the base of most of its errors, would hide Python's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from franky import (
    Affine,
    CartesianImpedanceTracker,
    IncompatibleVersionException,
    InvalidMotionTypeException,
    JointImpedanceTracker,
    MotionReuseException,
    NetworkException,
    PostureTask,
    ReactionRecursionException,
    RealtimeConfig,
    RealtimeException,
    Robot,
    RobotMode,
    TorqueSignalTimeoutException,
    Twist,
)
from franky import Exception as FrankyException

from como_ros.control import gains
from como_ros.control.homing import HOME_Q
from como_ros.drivers.arm_setup import ArmError, FrankaConfig, configure
from como_ros.drivers.priority import like_others_after
from como_ros.drivers.shared_core import SharedCore

FRANKY_ERRORS = (
    FrankyException,
    InvalidMotionTypeException,
    MotionReuseException,
    ReactionRecursionException,
    TorqueSignalTimeoutException,
    RuntimeError,
)
HUNG_UP = ("interrupted", "reset by peer")
"""What libfranka says of a robot that answers and leaves at once."""
SILENT_S = 2.0
"""An arm that is there answers sooner."""
LOOKS, LOOKS_EVERY_S = 5, 0.002
"""For the reason of an end."""
ASLEEP = "is it switched on, unlocked, FCI activated?"

HOMING_STIFFNESS = (200.0, 200.0, 200.0, 200.0, 80.0, 80.0, 40.0)
HOMING_DAMPING = (30.0, 30.0, 30.0, 30.0, 10.0, 10.0, 5.0)


def _unreachable(config: FrankaConfig, error: BaseException) -> str:
    if isinstance(error, IncompatibleVersionException):
        remedy = f"install the franky that is built for this {config.robot}, see docs/hardware.md"
    elif isinstance(error, RealtimeException):
        remedy = "boot a PREEMPT_RT kernel; `como doctor` says more"
    else:
        hung_up = any(word in str(error) for word in HUNG_UP)
        taken = "does another program control it, or " if hung_up else ""
        return f"no arm answers at {config.host}: {error}; {taken}{ASLEEP}"
    return f"the arm at {config.host} cannot be used: {error}; {remedy}"


def _names(errors: Any) -> tuple[str, ...]:
    return tuple(name for name in dir(errors) if getattr(errors, name) is True)


@dataclass(frozen=True)
class ArmState:
    """One look at the arm."""

    stamp_ns: int
    robot_s: float
    """The same moment by the robot's own clock, which stands still while the robot is not heard."""
    q: np.ndarray
    dq: np.ndarray
    pose7: np.ndarray
    wrench: np.ndarray
    """(6,) external force and torque at the end effector, base frame."""
    mode: str
    success_rate: float
    """Share of the last 100 control commands that reached the robot in time."""


class FrankaArm:
    """A connected arm. Not thread-safe: one thread uses it."""

    def __init__(self, config: FrankaConfig) -> None:
        self.config = config
        self.errors: tuple[str, ...] = ()
        """Names of what stopped it last."""
        self.stopped_in = ""
        """The robot's mode when it had stopped; empty when it could not be asked."""
        self._tracker: CartesianImpedanceTracker | JointImpedanceTracker | None = None
        self._configured = False
        self._core = SharedCore(config.on_this_machine)
        try:
            with like_others_after(SILENT_S):
                self._robot = Robot(
                    config.host,
                    realtime_config=RealtimeConfig.Enforce if config.realtime else RealtimeConfig.Ignore,
                )
                self._configure()
        except FRANKY_ERRORS as error:
            raise ArmError(_unreachable(config, error)) from error

    def _configure(self) -> None:
        configure(self._robot, self.config)
        self._configured = True

    def read(self) -> ArmState:
        try:
            state = self._robot.state
        except FRANKY_ERRORS as error:
            self._core.part()
            raise ArmError(f"the arm no longer answers: {error}; recover to connect again") from error
        ee, robot_s = state.O_T_EE, state.time.to_sec()
        self._core.follow(state.robot_mode == RobotMode.Move, robot_s)
        return ArmState(
            stamp_ns=time.time_ns(),
            robot_s=robot_s,
            q=np.array(state.q),
            dq=np.array(state.dq),
            pose7=np.concatenate([ee.translation, ee.quaternion]),
            wrench=np.array(state.O_F_ext_hat_K),
            mode=state.robot_mode.name,
            success_rate=state.control_command_success_rate,
        )

    # Motion --------------------------------------------------------------------------------------

    def track(self) -> None:
        """Take control, holding the present pose; a running motion is relieved without a stop."""
        self._begin(
            CartesianImpedanceTracker,
            translational_stiffness=self.config.stiffness_n_m,
            rotational_stiffness=gains.STIFFNESS_NM_RAD,
            damping=np.repeat([gains.DAMPING_NS_M, gains.DAMPING_NMS_RAD], 3),
            translational_error_clip=np.full(3, self.config.error_clip_m),
            rotational_error_clip=np.full(3, gains.ERROR_CLIP_RAD),
            posture_task=PostureTask(np.array(HOME_Q), self.config.posture_nm_rad),
        )

    def track_joints(self) -> None:
        """Take control in joint space, holding the present joints."""
        self._begin(
            JointImpedanceTracker,
            stiffness=np.array(HOMING_STIFFNESS),
            damping=np.array(HOMING_DAMPING),
        )

    def yield_joints(self, damping_nms_rad: np.ndarray) -> None:
        """Take control and let the joints be moved: gravity is borne, motion is damped, nothing is held."""
        self._begin(JointImpedanceTracker, stiffness=np.zeros(7), damping=damping_nms_rad)

    def catch_joints(self, damping_nms_rad: np.ndarray) -> None:
        """Take control of joints in motion and draw them to where they are."""
        stiffness = np.array(gains.CATCHING_NM_RAD)
        self._begin(JointImpedanceTracker, stiffness=stiffness, damping=damping_nms_rad)

    def _begin(self, kind: Any, **law: Any) -> None:
        self.errors, self.stopped_in = (), ""
        try:
            with self._core.beginning():
                self._tracker = kind(self._robot, **law)
        except FRANKY_ERRORS as error:
            self._tracker = None
            raise ArmError(f"the arm refused to be controlled: {error}; recover first") from error

    @contextmanager
    def _as_arm_error(self, what: str) -> Iterator[None]:
        """It may stop between the last look for a fault and now."""
        try:
            yield
        except FRANKY_ERRORS as error:
            self._look_why()
            raise ArmError(f"{what}: {' '.join(str(error).split())}; recover first") from error

    def set_target(self, pose7: np.ndarray, twist: np.ndarray) -> None:
        """The pose to be at now and how fast to pass it; needs `track`."""
        assert isinstance(self._tracker, CartesianImpedanceTracker), "track() first"
        with self._as_arm_error("the arm took no set-point"):
            self._tracker.set_target(Affine(pose7[:3], pose7[3:]), Twist(twist[:3], twist[3:]))

    def set_joint_target(self, q: np.ndarray, dq: np.ndarray) -> None:
        """Needs `track_joints`, `yield_joints` or `catch_joints`."""
        assert isinstance(self._tracker, JointImpedanceTracker), "take the joints first"
        with self._as_arm_error("the arm took no joint set-point"):
            self._tracker.set_target(q, dq)

    def fault(self) -> str:
        """Why the arm is no longer under control, or nothing; ask at least every 50 ms."""
        if self._tracker is None:
            return "not in control"
        for _ in range(LOOKS):
            try:
                self._robot.poll_motion()
            except FRANKY_ERRORS as error:
                self._tracker = None
                self._look_why()
                return " ".join(str(error).split())
            if self._robot.is_in_control:
                return ""
            time.sleep(LOOKS_EVERY_S)  # it ended since it was polled; why is told soon
        self._tracker = None
        return "the motion ended by itself"

    def _look_why(self) -> None:
        """What stopped it, as the robot names it; where that is over, all that have stopped it so far."""
        try:
            state = self._robot.state
        except FRANKY_ERRORS:
            return  # whoever reads the state next is told why
        self.errors = _names(state.current_errors) or _names(state.last_motion_errors)
        self.stopped_in = state.robot_mode.name

    def recover(self) -> None:
        """Clear a reflex, or connect anew when the connection is lost; does not take control."""
        self._tracker = None
        self._core.part()
        try:
            mode = self._robot.state.robot_mode
        except FRANKY_ERRORS:  # a dead connection is told in several ways
            self.__init__(self.config)  # type: ignore[misc]
            return
        try:
            if mode == RobotMode.UserStopped:
                raise ArmError("the user stop is pressed; release it, then recover")
            with like_others_after(SILENT_S):
                recovered = self._robot.recover_from_errors()
            if recovered:
                if not self._configured:  # the last connection ended on the way
                    self._configure()
                return
        except NetworkException:
            self.__init__(self.config)  # type: ignore[misc]
            return
        except FRANKY_ERRORS as error:
            raise ArmError(f"the robot could not recover: {error}") from error
        raise ArmError("the robot could not recover from its errors; look at Desk")

    def close(self) -> None:
        """Brake softly and leave; nothing can be asked of this arm afterwards."""
        tracker, self._tracker = self._tracker, None
        self._core.part()
        try:
            if tracker is not None:
                tracker.stop()
        except FRANKY_ERRORS:
            return  # it had stopped by itself; whoever polled knows why
        finally:  # the connection ends here, whoever still holds this object: the next client needs it
            vars(self).pop("_robot", None)

"""The arm on the wire: state out at the loop's rate, commands in; home, guide and recover as services.

A lifecycle node. Configured, it looks for the arm, holds it and publishes its state; active, commands may
count; deactivated, it brakes and holds, and must be armed anew once it is active again; cleaned up, the robot
is free for somebody else. It brings itself up, so that no manager is needed, unless `autostart` is false.

The control loop has a thread of its own. There is one executor thread only: several, run before others,
starve each other of the interpreter.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState

from como_ros import wire
from como_ros.control.servo import Servo, ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.drivers.arm_loop import FAULT, ArmLoop, LoopConfig
from como_ros.drivers.franka import ArmState, FrankaConfig
from como_ros.drivers.priority import run_before_others
from como_ros.errors import ComoError
from como_ros.nodes import arm_words as words
from como_ros.nodes.arm_commands import Commands, offer
from como_ros.nodes.arm_words import ACTIVE, FINALIZED, INACTIVE, UNCONFIGURED
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import every, publisher

PRIORITY = 6


@dataclass(frozen=True)
class ArmConfig:
    host: str = "127.0.0.1"
    robot: str = "panda"
    realtime: bool = False
    """Demand a PREEMPT_RT kernel: true beside a real arm."""
    rate_hz: float = LoopConfig.rate_hz
    load_kg: float = 0.0
    box_min_m: tuple[float, ...] = ShieldConfig.box_min_m
    box_max_m: tuple[float, ...] = ShieldConfig.box_max_m
    max_speed_m_s: float = ShieldConfig.max_speed_m_s
    max_turn_rad_s: float = ShieldConfig.max_turn_rad_s
    max_jump_m: float = ShieldConfig.max_jump_m
    on_box: str = "clamp"
    on_speed: str = "clamp"
    on_jump: str = "refuse"
    blend_s: float = ServoConfig.blend_s
    pose_timeout_s: float = ServoConfig.pose_timeout_s
    heartbeat_late_s: float = ServoConfig.heartbeat_late_s
    heartbeat_timeout_s: float = ServoConfig.heartbeat_timeout_s
    autostart: bool = True
    """Become active at once; false waits, unconfigured, for a lifecycle manager."""

    def loop(self) -> LoopConfig:
        return LoopConfig(
            rate_hz=self.rate_hz,
            franka=_pick(FrankaConfig, self),
            servo=_pick(ServoConfig, self),
            shield=_pick(ShieldConfig, self),
        )


def _pick(cls: Any, config: ArmConfig) -> Any:
    """Those fields of the node's configuration that a part declares under the same name."""
    names = cls.__dataclass_fields__.keys() & config.__dataclass_fields__.keys()
    return cls(**{name: getattr(config, name) for name in names})


class ArmNode(LifecycleNode):
    """Thin shell around `ArmLoop`, which lives from configure to cleanup."""

    def __init__(self) -> None:
        super().__init__("arm")
        self._loop: ArmLoop | None = None
        self._config = declare_config(self, ArmConfig)
        self._stage = UNCONFIGURED
        self._refusal = ""
        """Why it could not be configured."""
        self._joints, self._pose, self._wrench = JointState(), PoseStamped(), WrenchStamped()
        self._joints_out = publisher(self, "/arm/joint_states")
        self._pose_out = publisher(self, "/arm/ee_pose")
        self._wrench_out = publisher(self, "/arm/external_wrench")
        self._commands = Commands(self, self._tell)
        offer(self, "/arm/home", lambda: self._running(ACTIVE).home())
        offer(self, "/arm/guide", lambda: self._running(ACTIVE).guide())
        offer(self, "/arm/recover", lambda: self._running(ACTIVE, INACTIVE).recover())
        self._health = HealthReporter(self, self._diagnose)
        self._told: tuple[str, str, int, str] = ("", "", 0, "")
        every(self, 0.1, self._say_changes)
        if self._config.autostart:
            self._start()

    def _tell(self, command: Callable[[Servo, int], object]) -> None:
        if self._loop is not None:
            self._loop.tell(command)

    def _running(self, *stages: str) -> ArmLoop:
        """The loop, for what may be asked in these stages only."""
        if self._loop is None or self._stage not in stages:
            raise ComoError(words.asleep(self._stage))
        return self._loop

    # Lifecycle -----------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            raise ComoError(self._refusal)
        self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """An arm that does not answer is no failure: the loop goes on looking for it, and says so."""
        return self._become(INACTIVE, self._begin)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._become(ACTIVE, lambda: self._running(INACTIVE).activate())

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._become(INACTIVE, lambda: self._running(ACTIVE).activate(False))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._become(UNCONFIGURED, self._end)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._become(FINALIZED, self._end)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition broke: let go; what broke stays told."""
        self._end()
        self._stage = UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    def _become(self, stage: str, act: Callable[[], None]) -> TransitionCallbackReturn:
        """Act, and say how it went: rclpy itself would drop whatever is raised, without a word."""
        self._refusal = ""
        try:
            act()
        except ComoError as error:
            self._refusal = str(error)
            self.get_logger().error(self._refusal)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._refusal = f"{type(error).__name__}: {error}; its traceback is above"
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        self._stage = stage
        return TransitionCallbackReturn.SUCCESS

    def _begin(self) -> None:
        self._loop = ArmLoop(self._config.loop(), self._report, active=False)

    def _end(self) -> None:
        """Brake, let go and leave the robot."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    def destroy_node(self) -> None:
        self._end()
        super().destroy_node()

    # State ---------------------------------------------------------------------------------------

    def _report(self, state: ArmState, width_m: float | None) -> None:
        """Called by the loop in every round; without a width from the hand there is no joint state."""
        stamp_ns = state.stamp_ns
        if width_m is not None:
            self._joints_out.publish(
                wire.fill_joint_states(self._joints, state.q, state.dq, width_m, stamp_ns)
            )
        self._pose_out.publish(wire.fill_pose(self._pose, state.pose7, stamp_ns))
        self._wrench_out.publish(wire.fill_wrench(self._wrench, state.wrench, stamp_ns))

    def _say_changes(self) -> None:
        """Faults and drivers are said at once, not a second later; without its loop the node is no use."""
        loop = self._loop
        if loop is not None and not loop.alive:
            raise ComoError("the arm's control loop has ended; its traceback is above, start the node again")
        told, self._told = self._told, words.news(self._stage, loop)
        if self._told != told:
            self._health.publish()
        if self._told[2] > told[2] and loop is not None and loop.servo:
            self.get_logger().warning(loop.servo.mandate.last_alarm)
        if self._told[0] != told[0]:
            said = self._diagnose().message
            if self._told[0] == FAULT:  # rclpy wants one severity for each line of code that logs
                self.get_logger().error(said)
            else:
                self.get_logger().info(said)

    def _diagnose(self) -> Health:
        return words.health(self._stage, self._loop, self._commands, self._refusal)


def main(argv: Sequence[str] | None = None) -> int:
    run_before_others(PRIORITY)
    return run_node(ArmNode, argv, by_network=True)


if __name__ == "__main__":
    raise SystemExit(main())

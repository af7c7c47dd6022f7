"""The arm on the wire: state out at the loop's rate, commands in; home, guide and recover as services.

Callbacks only translate and hand over; the control loop has a thread of its own. There is one executor thread
only: several, run before others, starve each other of the interpreter. A commander of chunks that offers the
topic's lease is missed within that lease when it dies; one that offers none is missed at the end of its chunk
only, and the diagnostics say so. A supervisor is missed by its silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future as Job
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from como_ros import wire
from como_ros.control.mandate import Mandate
from como_ros.control.servo import ServoConfig
from como_ros.control.shield import ShieldConfig
from como_ros.control.speakers import ALONE_NS, CHUNKS_ALONE_NS, Speakers, Turns
from como_ros.drivers.arm_loop import CONNECTING, FAULT, ArmLoop, LoopConfig
from como_ros.drivers.errands import HOMING
from como_ros.drivers.franka import ArmState, FrankaConfig
from como_ros.drivers.priority import run_before_others
from como_ros.errors import ComoError
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import Refused, Watch, every, publisher, subscription

STATE_TOPIC, CHUNK_TOPIC, WIDTH_TOPIC = "/supervisor/state", "/arm/command/chunk", "/gripper/command"
PRIORITY = 6


@dataclass(frozen=True)
class ArmConfig:
    host: str = "127.0.0.1"
    robot: str = "panda"
    realtime: bool = False
    """Demand a PREEMPT_RT kernel: true beside a real arm."""
    rate_hz: float = 100.0
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


class ArmNode(Node):
    """Thin shell around `ArmLoop`."""

    def __init__(self) -> None:
        super().__init__("arm")
        self._config = declare_config(self, ArmConfig)
        self._refused = Refused(self)
        self._width_turns = Turns()
        self._joints, self._pose, self._wrench = JointState(), PoseStamped(), WrenchStamped()
        self._joints_out = publisher(self, "/arm/joint_states")
        self._pose_out = publisher(self, "/arm/ee_pose")
        self._wrench_out = publisher(self, "/arm/external_wrench")
        self._loop = ArmLoop(self._config.loop(), self._report)
        self._health = HealthReporter(self, self._diagnose)
        self._told: tuple[str, str, int, str] = ("", "", 0, "")
        self._subscribe()
        self._offer("/arm/home", self._loop.home)
        self._offer("/arm/guide", self._loop.guide)
        self._offer("/arm/recover", self._loop.recover)
        every(self, 0.1, self._say_changes)

    def _subscribe(self) -> None:
        tell = self._loop.tell
        for topic, act in (
            (STATE_TOPIC, self._on_state),
            ("/arm/command/pose", self._on_pose),
            (CHUNK_TOPIC, self._on_chunk),
        ):
            speakers = Speakers(CHUNKS_ALONE_NS if topic == CHUNK_TOPIC else ALONE_NS)
            subscription(self, topic, self._guarded(topic, act, speakers))
        widths = self._guarded(WIDTH_TOPIC, self._on_widths, self._width_turns)
        subscription(self, WIDTH_TOPIC, self._unless_late(widths))
        self._commanders = Watch(self, CHUNK_TOPIC, lambda: tell(lambda servo, _: servo.commander_lost()))

    def _offer(self, service: str, begin: Callable[[], Job[str]]) -> None:
        """A Trigger service that answers when the job is done, while everything else goes on."""

        async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            job = begin()
            done: Future[None] = Future(executor=self.executor)
            job.add_done_callback(lambda _: done.set_result(None))
            await done
            refusal = job.exception()
            response.success = refusal is None
            response.message = str(refusal) if refusal else job.result()
            return response

        # the default group runs nothing else while an answer is awaited, not even the supervisor's heartbeat
        self.create_service(Trigger, service, answer, callback_group=ReentrantCallbackGroup())

    # Commands ------------------------------------------------------------------------------------

    def _guarded(
        self, topic: str, act: Callable[[Any], None], speakers: Speakers | Turns
    ) -> Callable[[Any, Any], None]:
        """A message that does not read as a command is refused whole and counted, a second speaker stops."""
        guarded = self._refused.guard(topic, act)

        def callback(message: Any, info: Any) -> None:
            if speakers.two(_sender(info), time.monotonic_ns()):
                self._loop.tell(lambda servo, now_ns: servo.contested(topic))
                if topic == STATE_TOPIC:  # neither may say ready: a sweep home ends
                    self._loop.tell(lambda servo, now_ns: servo.supervise("", now_ns))
            else:
                guarded(message)

        return callback

    def _unless_late(self, act: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        """Widths come from a policy or from a person: what who has just yielded still says is dropped."""

        def callback(message: Any, info: Any) -> None:
            if not self._width_turns.is_late(_sender(info), time.monotonic_ns()):
                act(message, info)

        return callback

    def _on_state(self, message: Any) -> None:
        state = message.data
        self._width_turns.begin(state, time.monotonic_ns())
        self._loop.tell(lambda servo, now_ns: servo.supervise(state, now_ns))

    def _on_pose(self, message: Any) -> None:
        pose7, due_ns = wire.pose7_from_msg(message), _steady_ns(wire.stamp_ns(message))
        self._loop.tell(lambda servo, now_ns: servo.command_pose(pose7, due_ns, now_ns))

    def _on_chunk(self, message: Any) -> None:
        stamp_ns, offsets_ns, poses7 = wire.chunk_from_msgs(message)
        due_ns = _steady_ns(stamp_ns) + offsets_ns
        self._loop.tell(lambda servo, now_ns: servo.command_chunk(due_ns, poses7, now_ns, stamp_ns))

    def _on_widths(self, message: Any) -> None:
        stamp_ns, offsets_ns, widths = wire.widths_from_msg(message)
        due_ns = _steady_ns(stamp_ns) + offsets_ns
        self._loop.tell(lambda servo, now_ns: servo.command_widths(due_ns, widths, now_ns, stamp_ns))

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

    def _sentence(self) -> str:
        loop = self._loop
        if loop.mode in (CONNECTING, FAULT) or loop.servo is None:
            return f"{loop.mode}: {loop.fault or 'looking for the arm'}"
        reason = loop.servo.reason
        said = f"{loop.mode}, {loop.servo.activity}" + (f": {reason}" if reason else "")
        return "; ".join(filter(None, (said, loop.link.complaint, loop.hand.fault)))

    @property
    def _driver(self) -> str:
        return "" if self._loop.mode in (CONNECTING, FAULT, HOMING) else self._loop.pace.driver

    @property
    def _mandate(self) -> Mandate | None:
        return self._loop.servo.mandate if self._loop.servo else None

    def _say_changes(self) -> None:
        """Faults and drivers are said at once, not a second later; without its loop the node is no use."""
        if not self._loop.alive:
            raise ComoError("the arm's control loop has ended; its traceback is above, start the node again")
        mandate = self._mandate
        news = (
            (self._loop.mode, self._driver, mandate.alarms, mandate.unheard) if mandate else ("", "", 0, "")
        )
        told, self._told = self._told, news
        if news != told:
            self._health.publish()
        if news[2] > told[2] and mandate:
            self.get_logger().warning(mandate.last_alarm)
        if self._told[0] != told[0]:
            if self._loop.mode == FAULT:  # rclpy wants one severity for each line of code that logs
                self.get_logger().error(self._sentence())
            else:
                self.get_logger().info(self._sentence())

    def _diagnose(self) -> Health:
        loop, pace, mandate = self._loop, self._loop.pace, self._mandate
        refusal = self._refused.last or (loop.servo.last_refusal if loop.servo else "")
        figures: dict[str, Any] = {
            "mode": loop.mode,
            "rounds": pace.rounds,
            "missed": pace.missed,
            "late": pace.late,
            "worst_late_ms": pace.worst_late_ms,
            "success_rate": loop.success_rate,
            "still_since_ns": pace.still_since_ns,
            "driver": self._driver,
            "alarm": (mandate.alarm or mandate.unheard) if mandate else "",
            "last_alarm": mandate.last_alarm if mandate else "",
            "supervisor_silence_ms": mandate.longest_silence_ns / 1e6 if mandate else 0.0,
            "yielded_ns": pace.yielded_ns,
            "steepest_m_s": pace.peaks.step_m_s,
            "linear": _row(pace.peaks.linear),
            "angular": _row(pace.peaks.angular),
            "hand": loop.hand.fault or "ok",
            "commanders_watched": self._commanders.alive,
            "last_refusal": refusal,
            "auto_cleared": loop.mending.auto_cleared,
            "robot_silences": loop.link.silences,
            "refused_malformed": self._refused.count,
            **{name.replace(" ", "_"): n for name, n in loop.counters.items()},
        }
        faults = (loop.mode in (CONNECTING, FAULT), loop.hand.fault, figures["alarm"], loop.link.complaint)
        ok = not any(faults)
        return Health(self._sentence(), ok, figures)

    def destroy_node(self) -> None:
        self._loop.close()
        super().destroy_node()


def _sender(info: Any) -> bytes:
    """What identifies the publisher of a message."""
    return bytes(info["publisher_gid"]["data"])


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _steady_ns(stamp_ns: int) -> int:
    """A stamp of system time on the clock that never jumps."""
    return stamp_ns + time.monotonic_ns() - time.time_ns()


def main(argv: Sequence[str] | None = None) -> int:
    run_before_others(PRIORITY)
    return run_node(ArmNode, argv)


if __name__ == "__main__":
    raise SystemExit(main())

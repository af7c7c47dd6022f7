"""What others may tell the arm node: messages and services, read, attributed and handed to its loop.

Callbacks only translate and hand over. A commander of chunks that offers the topic's lease is missed within
that lease when it dies; one that offers none is missed at the end of its chunk only, and the diagnostics say
so. A supervisor is missed by its silence. Whether a command counts is the loop's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future as Job
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from como_ros import wire
from como_ros.control.servo import Servo
from como_ros.control.speakers import ALONE_NS, CHUNKS_ALONE_NS, Speakers, Turns
from como_ros.errors import ComoError
from como_ros.nodes.wiring import Refused, Watch, subscription

STATE_TOPIC, CHUNK_TOPIC, WIDTH_TOPIC = "/supervisor/state", "/arm/command/chunk", "/gripper/command"

Tell = Callable[[Callable[[Servo, int], object]], None]


class Commands:
    """The arm's subscriptions; `tell` hands a command to the loop, or drops it where there is none."""

    def __init__(self, node: Node, tell: Tell) -> None:
        self._tell = tell
        self.refused = Refused(node)
        self._width_turns = Turns()
        for topic, act in (
            (STATE_TOPIC, self._on_state),
            ("/arm/command/pose", self._on_pose),
            (CHUNK_TOPIC, self._on_chunk),
        ):
            speakers = Speakers(CHUNKS_ALONE_NS if topic == CHUNK_TOPIC else ALONE_NS)
            subscription(node, topic, self._guarded(topic, act, speakers))
        widths = self._guarded(WIDTH_TOPIC, self._on_widths, self._width_turns)
        subscription(node, WIDTH_TOPIC, self._unless_late(widths))
        self.commanders = Watch(node, CHUNK_TOPIC, lambda: tell(lambda servo, _: servo.commander_lost()))

    def _guarded(
        self, topic: str, act: Callable[[Any], None], speakers: Speakers | Turns
    ) -> Callable[[Any, Any], None]:
        """A message that does not read as a command is refused whole and counted, a second speaker stops."""
        guarded = self.refused.guard(topic, act)

        def callback(message: Any, info: Any) -> None:
            if speakers.two(_sender(info), time.monotonic_ns()):
                self._tell(lambda servo, now_ns: servo.contested(topic))
                if topic == STATE_TOPIC:  # neither may say ready: a sweep home ends
                    self._tell(lambda servo, now_ns: servo.supervise("", now_ns))
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
        self._tell(lambda servo, now_ns: servo.supervise(state, now_ns))

    def _on_pose(self, message: Any) -> None:
        pose7, due_ns = wire.pose7_from_msg(message), _steady_ns(wire.stamp_ns(message))
        self._tell(lambda servo, now_ns: servo.command_pose(pose7, due_ns, now_ns))

    def _on_chunk(self, message: Any) -> None:
        stamp_ns, offsets_ns, poses7 = wire.chunk_from_msgs(message)
        due_ns = _steady_ns(stamp_ns) + offsets_ns
        self._tell(lambda servo, now_ns: servo.command_chunk(due_ns, poses7, now_ns, stamp_ns))

    def _on_widths(self, message: Any) -> None:
        stamp_ns, offsets_ns, widths = wire.widths_from_msg(message)
        due_ns = _steady_ns(stamp_ns) + offsets_ns
        self._tell(lambda servo, now_ns: servo.command_widths(due_ns, widths, now_ns, stamp_ns))


def offer(node: Node, service: str, begin: Callable[[], Job[str]]) -> None:
    """A Trigger service that answers when the job is done, while everything else goes on."""

    async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            job = begin()
        except ComoError as refusal:
            response.message = str(refusal)
            return response
        done: Future[None] = Future(executor=node.executor)
        job.add_done_callback(lambda _: done.set_result(None))
        await done
        failure = job.exception()
        response.success = failure is None
        response.message = str(failure) if failure else job.result()
        return response

    # the default group runs nothing else while an answer is awaited, not even the supervisor's heartbeat
    node.create_service(Trigger, service, answer, callback_group=ReentrantCallbackGroup())


def _sender(info: Any) -> bytes:
    """What identifies the publisher of a message."""
    return bytes(info["publisher_gid"]["data"])


def _steady_ns(stamp_ns: int) -> int:
    """A stamp of system time on the clock that never jumps."""
    return stamp_ns + time.monotonic_ns() - time.time_ns()

"""Publishers and subscriptions straight from the topic table: no node states a type or a QoS itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from como_ros import wire

LEASES_S = {"/arm/command/chunk": 0.1}
"""Who watches one of these topics misses a killed publisher within so long, and takes one for dead that
stalls for a third of it. That the supervisor lives, its heartbeat says."""

_PROFILES = {
    "sensor": QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
    "state": QoSProfile(
        depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    ),
    "command": QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
    "stream": QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE),
}

_HEARD_STATE = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""A late joiner gets the newest state only, but a busy listener misses no change: stop, release, arm."""


def profile(topic: str) -> QoSProfile:
    return _PROFILES[wire.topic(topic).qos]


def heard_profile(topic: str) -> QoSProfile:
    return _HEARD_STATE if wire.topic(topic).qos == "state" else profile(topic)


def message_class(topic: str) -> Any:
    """The generated class of the topic's type, `sensor_msgs/msg/Image` for instance."""
    package, _, name = wire.topic(topic).type.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def publisher(node: Node, topic: str) -> Publisher[Any]:
    """With a lease where the topic has one, for a `Watch` over it."""
    qos = profile(topic)
    if topic in LEASES_S:
        qos = _leased(topic, qos.durability)
    return node.create_publisher(message_class(topic), topic, qos)


def _leased(topic: str, durability: DurabilityPolicy) -> QoSProfile:
    qos = profile(topic)
    return QoSProfile(
        depth=qos.depth,
        reliability=qos.reliability,
        durability=durability,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(nanoseconds=round(LEASES_S[topic] * 1e9)),
    )


class Watch:
    """Over the publishers of a topic that offer its lease: `lost` is called when one of them is gone."""

    def __init__(self, node: Node, topic: str, lost: Callable[[], None]) -> None:
        self._lost = lost
        self.alive = 0
        """Publishers under watch; those without a lease are not among them."""
        events = SubscriptionEventCallbacks(liveliness=self._count, incompatible_qos=lambda _: None)
        qos, kind = _leased(topic, DurabilityPolicy.VOLATILE), message_class(topic)
        node.create_subscription(kind, topic, lambda _: None, qos, event_callbacks=events, raw=True)

    def _count(self, event: Any) -> None:
        before, self.alive = self.alive, event.alive_count
        if self.alive < before:
            self._lost()


def subscription(node: Node, topic: str, callback: Callable[..., None], **options: Any) -> Subscription[Any]:
    return node.create_subscription(message_class(topic), topic, callback, heard_profile(topic), **options)


class _Unwoken(MutuallyExclusiveCallbackGroup):
    """For these the executor does not wait."""

    def can_execute(self, entity: Any) -> bool:
        return False


class Newest:
    """For who acts on what is now: `hear` gives the newest message, if it is new, to `act`.

    The process is not woken for those in between, which costs half a millisecond each, and one that was
    held up does not run behind until it has made up for it. That a publisher's QoS does not fit is said by
    the publisher alone: who waits for that event is woken by every message that nobody has taken.
    """

    def __init__(self, node: Node, topic: str, act: Callable[[Any], None]) -> None:
        self._act = act
        self._heard = node.create_subscription(
            message_class(topic),
            topic,
            act,
            QoSProfile(depth=1, reliability=profile(topic).reliability),
            callback_group=_Unwoken(),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def hear(self) -> None:
        with self._heard.handle:
            taken = self._heard.handle.take_message(self._heard.msg_type, False)
        if taken is not None:
            self._act(taken[0])


def every(node: Node, period_s: float, act: Callable[[], None]) -> None:
    """By a clock that nobody sets: on ROS time a machine set back by a minute would beat no heart for one."""
    node.create_timer(period_s, act, clock=Clock(clock_type=ClockType.STEADY_TIME))


class Refused:
    """Messages that do not read as what their topic promises: refused whole, counted, the last one told."""

    def __init__(self, node: Node) -> None:
        self._logger = node.get_logger()
        self.count, self.last = 0, ""

    def guard(self, topic: str, act: Callable[[Any], None]) -> Callable[[Any], None]:
        """A callback that no message can break; for `subscription`."""

        def callback(message: Any) -> None:
            try:
                act(message)
            except wire.WireError as error:
                self.count += 1
                self.last = f"{topic}: {error}"
                self._logger.warning(self.last, throttle_duration_sec=1.0)

        return callback


def trigger(node: Node, service: str, action: Callable[[], str], **options: Any) -> Any:
    """A std_srvs/Trigger service: `action` returns what it did, or raises ValueError to refuse."""

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message, response.success = action(), True
        except ValueError as refusal:
            response.message, response.success = str(refusal), False
            node.get_logger().warning(f"{service}: {refusal}")
        return response

    return node.create_service(Trigger, service, answer, **options)

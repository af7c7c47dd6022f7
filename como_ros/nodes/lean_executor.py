"""An executor of one thread that gathers what it waits for when that changes, not at every wake.

rclpy's own gathers anew at every wake, and wakes a second time after each callback for the sake of executors
with several threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from rclpy.exceptions import TimerCancelledError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor, await_or_execute
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_core
from rclpy.node import Node
from rclpy.timer import Timer
from rclpy.waitable import NumberOfEntities

LISTS = {
    "waitable": "waitables",
    "timer": "timers",
    "subscription": "subscriptions",
    "guard_condition": "guards",
    "client": "clients",
    "service": "services",
}
"""Where a node keeps its entities of each kind, in the order in which they are served."""
FOREVER_NS = -1


class Gathered:
    """All that some nodes wait for, held until `release` so that nobody destroys it under the waiting."""

    def __init__(self, nodes: list[Node], own_guards: list[Any], context: Any) -> None:
        self._held = ExitStack()
        self._held.enter_context(context)
        self._guards = [guard.handle for guard in own_guards if self._holds(guard.handle)]
        self._entities = {kind: dict(self._of(nodes, kind)) for kind in LISTS if kind != "waitable"}
        self._waitables = [(w, node) for node in nodes for w in node.waitables if _free(w) and self._holds(w)]
        more = NumberOfEntities()
        for waitable, _ in self._waitables:
            more += waitable.get_num_entities()
        size = {kind: len(entities) for kind, entities in self._entities.items()}
        self._wait_set = rclpy_core.WaitSet(
            size["subscription"] + more.num_subscriptions,
            size["guard_condition"] + more.num_guard_conditions + len(self._guards),
            size["timer"] + more.num_timers,
            size["client"] + more.num_clients,
            size["service"] + more.num_services,
            more.num_events,
            context,
        )

    def _of(self, nodes: list[Node], kind: str) -> Iterator[tuple[int, tuple[Any, Node]]]:
        """By the handle's address, which is how rclpy tells what is ready."""
        for node in nodes:
            for entity in getattr(node, LISTS[kind]):
                if _free(entity) and self._holds(entity.handle):
                    yield entity.handle.pointer, (entity, node)

    def _holds(self, handle: Any) -> bool:
        try:
            self._held.enter_context(handle)
        except rclpy_core.InvalidHandle:
            return False  # destroyed just now
        return True

    def release(self) -> None:
        self._held.close()

    def wait(self, timeout_ns: int) -> bool:
        """Until something is ready; whether the gathering has to be done anew before the next time.

        InvalidHandle where a publisher or subscription with events has been destroyed.
        """
        self._fill()
        self._wait_set.wait(timeout_ns)
        fired = self._wait_set.get_ready_entities("guard_condition")
        return any(guard.pointer in fired for guard in self._guards)

    def _fill(self) -> None:
        ready = self._wait_set
        ready.clear_entities()
        for guard in self._guards:
            ready.add_guard_condition(guard)
        for kind, entities in self._entities.items():
            add = getattr(ready, f"add_{kind}")
            for entity, _ in entities.values():
                add(entity.handle)
        for waitable, _ in self._waitables:
            waitable.add_to_wait_set(ready)

    def ready(self) -> Iterator[tuple[str, Any, Node]]:
        """(kind, entity, node) of what the last waiting found."""
        ready: Any = self._wait_set
        fired = {kind: ready.get_ready_entities(kind) for kind in self._entities}
        events = [(waitable, node) for waitable, node in self._waitables if waitable.is_ready(ready)]
        yield from (("waitable", *event) for event in events)
        for kind, entities in self._entities.items():
            yield from ((kind, *entities[address]) for address in fired[kind] if address in entities)


def _free(entity: Any) -> bool:
    return entity.callback_group is not None and entity.callback_group.can_execute(entity)


class LeanExecutor(SingleThreadedExecutor):
    """For callbacks that are plain functions, and services that may wait.

    A callback group that forbids an entity forbids it until the gathering is done anew.
    """

    _gathered: Gathered | None = None
    _ready: Iterator[tuple[str, Any, Node]] = iter(())

    def _spin_once_impl(
        self, timeout_sec: Any = None, wait_condition: Callable[[], bool] = lambda: False
    ) -> None:
        """One callback, waited for where the last round has left none."""
        seconds = getattr(timeout_sec, "timeout", timeout_sec)
        ends_ns = None if seconds is None or seconds < 0 else time.monotonic_ns() + round(seconds * 1e9)
        looked = False
        while not self._is_shutdown and not wait_condition():
            self._go_on()
            for kind, entity, node in self._ready:
                if entity in getattr(node, LISTS[kind]):  # not destroyed by one before it
                    self._act(kind, getattr(self, f"_take_{kind}")(entity))
                    return
            if looked and ends_ns is not None and time.monotonic_ns() > ends_ns:
                return
            self._ready, looked = self._round(ends_ns), True

    def _go_on(self) -> None:
        """What waits for an answer, and what an answer has set off."""
        with self._tasks_lock:
            tasks = [task for task, *_ in self._tasks]
        try:
            for task in tasks:
                task()
                if task.done():
                    task.result()
        finally:
            if tasks:
                with self._tasks_lock:
                    self._tasks = [
                        left for left in self._tasks if not (left[0].done() or left[0].cancelled())
                    ]

    def _round(self, ends_ns: int | None) -> Iterator[tuple[str, Any, Node]]:
        """Wait until something is ready."""
        if self._gathered is None:
            own = [guard for guard in (self._guard, self._sigint_gc) if guard]
            self._gathered = Gathered(self.get_nodes(), own, self._context.handle)
        gathered = self._gathered
        try:
            stale = gathered.wait(FOREVER_NS if ends_ns is None else max(0, ends_ns - time.monotonic_ns()))
        except rclpy_core.InvalidHandle:
            self._let_go()
            return iter(())
        if stale:
            self._let_go()
        if not self._context.ok():
            raise ExternalShutdownException
        return gathered.ready()

    def _act(self, kind: str, act: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        """rclpy wraps every callback, also a plain one, in a coroutine."""
        if act is None:
            return  # somebody else has taken it
        if kind == "service":
            self.create_task(act)
            return
        try:
            act().send(None)
        except StopIteration:
            return
        raise TypeError(f"a {kind}'s callback may not wait, it holds up all others")

    def _take_timer(self, timer: Timer) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """As rclpy's, which reads the callback's signature at every call: ours ask for no timer's info."""
        with suppress(rclpy_core.InvalidHandle, TimerCancelledError), timer.handle:
            timer.handle.call_timer()
            return partial(await_or_execute, timer.callback)
        return None

    def _let_go(self) -> None:
        if self._gathered is not None:
            self._gathered.release()
        self._gathered = None

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """By the thread that spins, once it does so no more."""
        self._let_go()
        return super().shutdown(timeout_sec)

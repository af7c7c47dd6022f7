"""The life of a node's process: start, spin until told to stop, leave nothing behind."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_core
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from como_ros.errors import ComoError
from como_ros.nodes.lean_executor import LeanExecutor
from como_ros.nodes.pulse import end_when_it_stands
from como_ros.nodes.shared_memory import own_port
from policies.spaces import ContractError

UNREADABLE = (rclpy_core.RCLError, rclpy_core.RCLInvalidROSArgsError, rclpy_core.UnknownROSArgsError)
"""What rclpy makes of arguments that it cannot read."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KEPT: list[socket.socket] = []
"""The interpreter writes signals to this socket's number; it must stay open as long as the process lives."""


def run_node(
    make: Callable[[], Node],
    argv: Sequence[str] | None = None,
    executor_class: Callable[[], Executor] = LeanExecutor,
    by_network: bool = False,
) -> int:
    """Make the node and spin it until SIGINT or SIGTERM; a mistake the user can mend gives exit code 2.

    What breaks later, when it has begun to spin, gives 1: to start it again may help. `by_network` is for
    nodes that neither send nor see pictures.

    The signals end the spinning, not the ROS context, as rclpy's own handlers would: the node's threads may
    publish until `destroy_node` has ended them.
    """
    told = _watch_signals()
    args = list(sys.argv if argv is None else argv)
    node: Node | None = None
    begun = False
    try:
        with own_port(by_network) as is_ours:
            if is_ours:  # before a node connects an arm: at its priority others would seem to stand
                end_when_it_stands()
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = make()
        executor = executor_class()
        executor.add_node(node)
        stopping = Future[None]()
        threading.Thread(target=_stop_on_signal, args=(told, stopping), daemon=True).start()
        begun = True
        spin(executor, stopping)
    except ExternalShutdownException:
        pass
    except (ComoError, ContractError) as error:
        sys.stderr.write(f"{error}\n")
        return 1 if begun else 2
    except UNREADABLE as error:
        if rclpy.ok():
            raise
        said = str(error).partition(", at /")[0]
        sys.stderr.write(f"the arguments cannot be read: {said}; mend the command line\n")
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _watch_signals() -> socket.socket:
    """A socket to read from once a stop signal has come, even while the main thread waits in C."""
    told, teller = socket.socketpair()
    teller.setblocking(False)
    signal.set_wakeup_fd(teller.fileno())
    _KEPT.append(teller)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    return told


def _stop_on_signal(told: socket.socket, stopping: Future[None]) -> None:
    told.recv(1)
    stopping.set_result(None)


def spin(executor: Executor, stopping: Future[None]) -> None:
    """Until `stopping` is done, which any thread may see to.

    An executor that is shut down by another thread stumbles over the callback that it has just taken up.
    """
    try:
        executor.spin_until_future_complete(stopping)
    finally:
        executor.shutdown()

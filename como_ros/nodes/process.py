"""The life of a node's process: start, spin until told to stop, leave nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from como_ros.errors import ComoError
from policies.spaces import ContractError


def run_node(
    make: Callable[[], Node],
    argv: Sequence[str] | None = None,
    executor_class: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Make the node and spin it until SIGINT or SIGTERM; a mistake the user can mend gives exit code 2."""
    rclpy.init(args=list(sys.argv if argv is None else argv))
    node: Node | None = None
    try:
        node = make()
        executor = executor_class()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ComoError, ContractError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0

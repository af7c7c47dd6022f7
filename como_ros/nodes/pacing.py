"""An executor for nodes that record or show and act on nothing: it wakes seldom, then does all that waits."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from rclpy.executors import SingleThreadedExecutor

ROUND_S = 0.02
"""From one round to the next. A round costs rclpy half a millisecond, whether one message waits or thirty."""


class PacedExecutor(SingleThreadedExecutor):
    """rclpy hands out one message of a topic a round: where more than fifty come a second, the callback must
    take those that wait behind its own. The stamp of an arrival is the middleware's and stays true.
    """

    _begun_s = 0.0

    def _wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Generator[Any, None, None]:
        """One round of rclpy's: wait, then hand out everything that has become ready."""
        time.sleep(max(0.0, self._begun_s + ROUND_S - time.monotonic()))
        self._begun_s = time.monotonic()
        yield from super()._wait_for_ready_callbacks(*args, **kwargs)

"""An executor for nodes that record or show and act on nothing: it wakes seldom, then does all that waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from como_ros.nodes.lean_executor import LeanExecutor

ROUND_S = 0.02
"""From one round to the next. A round costs half a millisecond, whether one message waits or thirty."""


class PacedExecutor(LeanExecutor):
    """A round hands out one message of a topic: where more than fifty come a second, the callback must take
    those that wait behind its own. The stamp of an arrival is the middleware's and stays true.
    """

    _begun_s = 0.0

    def _round(self, ends_ns: int | None) -> Iterator[tuple[str, Any, Any]]:
        time.sleep(max(0.0, self._begun_s + ROUND_S - time.monotonic()))
        self._begun_s = time.monotonic()
        return super()._round(ends_ns)

"""Start a program that is told to end when its parent ends: no orphan drives a robot.

Run as a file, by the child itself, before it becomes the program. The kernel keeps the signal that was asked
for over exec; a parent that was gone before is seen as another.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def leashed(command: Sequence[str]) -> list[str]:
    """The command for a child of this process."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command]


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()

"""Room for whole pictures in the memory that processes share: for nodes that send them.

Fast DDS lets a sender share half a megabyte, less than one VGA picture; of best-effort pictures most are then
lost between two processes of one machine. Only the sender's setting matters.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PROFILES = Path(__file__).parents[1] / "fastdds.xml"
VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
SHARED = Path("/dev/shm")
NEEDED_MB = 64
"""Twice the segment: another node may need one too."""


def share_pictures() -> None:
    """To be called before ROS begins; the user's own profiles go first."""
    if VARIABLE in os.environ or not SHARED.is_dir():
        return
    free_mb = shutil.disk_usage(SHARED).free / 1e6
    if free_mb < NEEDED_MB:
        sys.stderr.write(
            f"{SHARED} has {free_mb:.0f} MB left, {NEEDED_MB} needed: large pictures will be lost between "
            "processes; give a container more with --shm-size=1g\n"
        )
        return
    os.environ[VARIABLE] = str(PROFILES)

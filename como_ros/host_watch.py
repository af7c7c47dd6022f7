"""How much of this machine's processors its host gave to others, where the machine is a virtual one.

What waits meanwhile is late through no fault of its own, and nothing inside could have prevented it.
"""

from __future__ import annotations

from pathlib import Path

WORTH_TELLING = 0.01
STOLEN = 7
"""Which column of the kernel's counts; the two behind it are counted elsewhere already."""


class HostWatch:
    """Since it was made."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._begun = self._look()

    def share(self) -> float:
        """Of all processors' time; 0 on a machine of its own, or on a kernel that does not say."""
        stolen, passed = (now - then for now, then in zip(self._look(), self._begun, strict=True))
        return max(0.0, stolen / passed) if passed > 0 else 0.0

    def _look(self) -> tuple[int, int]:
        """Ticks that the host kept, and all that went by."""
        if not self._stat.exists():
            return 0, 0
        ticks = [int(text) for text in self._stat.read_text().split("\n", 1)[0].split()[1 : STOLEN + 2]]
        return (ticks[STOLEN] if len(ticks) > STOLEN else 0), sum(ticks)


def kept(share: float) -> str:
    """To be put behind what was late; nothing where it was too little to matter."""
    if share < WORTH_TELLING:
        return ""
    return f"; this machine's host kept {share:.0%} of its processors meanwhile"

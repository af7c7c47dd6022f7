"""A system clock that somebody sets is seen; one that is slewed, or read late, is not taken for one."""

import pytest

from como_ros.clock import ClockWatch

MS = 1_000_000


class Clocks:
    """System time and a steady clock to turn by hand."""

    def __init__(self) -> None:
        self.system_ns, self.steady_ns = 1_700_000_000_000 * MS, 5_000 * MS
        self.held_up_ns = 0

    def system(self) -> int:
        self.pass_by(self.held_up_ns)
        return self.system_ns

    def steady(self) -> int:
        return self.steady_ns

    def pass_by(self, ns: int) -> None:
        self.system_ns, self.steady_ns = self.system_ns + ns, self.steady_ns + ns


@pytest.mark.parametrize("jump_ms", [60, -60, 3_600_000, -3_600_000])
def test_a_clock_that_is_set_is_seen_once(jump_ms):
    clocks = Clocks()
    watch = ClockWatch(clocks.system, clocks.steady)
    clocks.pass_by(10 * MS)
    assert watch.jump_s() == 0
    clocks.system_ns += jump_ms * MS
    clocks.pass_by(10 * MS)
    assert watch.jump_s() == pytest.approx(jump_ms / 1e3)
    clocks.pass_by(10 * MS)
    assert watch.jump_s() == 0


def test_a_clock_that_is_slewed_by_a_tenth_is_followed():
    clocks = Clocks()
    watch = ClockWatch(clocks.system, clocks.steady)
    for _ in range(1000):
        clocks.pass_by(10 * MS)
        clocks.system_ns += MS
        assert watch.jump_s() == 0


def test_a_thread_held_up_between_two_readings_sees_no_jump():
    clocks = Clocks()
    watch = ClockWatch(clocks.system, clocks.steady)
    clocks.held_up_ns = 200 * MS
    assert watch.jump_s() == 0
    clocks.held_up_ns = 0
    assert watch.jump_s() == 0

"""A device's stamps in system time, whatever becomes of system time."""

import pytest

from como_ros.drivers.device_clock import DeviceClock

S = 1_000_000_000


def stamps(set_by_s: float, after: int = 30, frames: int = 60) -> tuple[list[int], list[int]]:
    """Mapped stamps and true capture times of frames at 10 Hz; system time is set once on the way."""
    clock, mapped, true = DeviceClock(), [], []
    for number in range(frames):
        device_ns = number * S // 10
        system_ns = 10_000 * S + device_ns + (round(set_by_s * S) if number >= after else 0)
        mapped.append(clock.to_system_ns(device_ns, system_ns + (number % 3) * 1_000_000))
        true.append(system_ns)
    return mapped, true


@pytest.mark.parametrize("back_s", [0.5, 5.0, 3600.0])
def test_stamps_follow_system_time_that_was_set_back(back_s):
    """They stood an hour in the future otherwise, a nanosecond apart: no picture would look old."""
    mapped, true = stamps(-back_s)
    assert max(abs(a - b) for a, b in zip(mapped[33:], true[33:], strict=True)) < 3_000_000


def test_stamps_follow_system_time_that_was_set_forward_within_the_window():
    mapped, true = stamps(5.0, frames=140)
    assert all(mapped[i] <= true[i] + 3_000_000 for i in range(140))
    assert abs(mapped[-1] - true[-1]) < 3_000_000


def test_stamps_go_forward_while_the_estimate_gets_better():
    clock = DeviceClock()
    late, soon = clock.to_system_ns(0, S), clock.to_system_ns(S * 95 // 100, S + 1000)
    assert late < soon

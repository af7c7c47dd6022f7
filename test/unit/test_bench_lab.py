"""What `como bench lab` accepts and how its rows are judged; the run itself is minutes long."""

import pytest

from como_ros.bench_lab import Figures, run_bench
from como_ros.errors import ComoError
from como_ros.gates import at_least, at_most
from como_ros.lab.soak import PERIOD_S, ticks


@pytest.mark.parametrize(
    ("options", "said"),
    [({"minutes": -1}, "between 0 and a day"), ({"seed": 9999}, "not to be seen")],
)
def test_what_cannot_be_run_is_refused_before_a_lab_starts(options, said):
    with pytest.raises(ComoError, match=said):
        run_bench(**options)


def test_rows_are_judged_by_their_side_of_the_gate():
    assert at_most("F1", "", 3.9, 4.0)["ok"]
    assert not at_most("F1", "", 4.1, 4.0)["ok"]
    assert at_least("F3", "", 0.96, 0.95)["ok"]
    assert not at_least("F3", "", float("nan"), 0.95)["ok"]


def test_figures_keep_the_worst_of_all_episodes():
    figures = Figures()
    for force_n, factor in ((12.0, 0.99), (30.0, 0.97), (5.0, 1.0)):
        figures.add({"peak_force_n": force_n, "peak_torque_nm": 1.0, "realtime_factor": factor})
    assert (figures.peak_force_n, figures.slowest) == (30.0, 0.97)


def test_set_points_come_at_their_rate_and_end_in_time():
    tries = [list(ticks(0.1)) for _ in range(5)]
    assert max(map(len, tries)) >= 0.08 / PERIOD_S, "a machine that stalls leaves some out"
    for times in tries:
        assert len(times) <= 0.1 / PERIOD_S + 1
        assert times == sorted(times)
        assert times[-1] < 0.1

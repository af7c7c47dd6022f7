"""What a virtual machine's host kept for others is told; a machine of one's own has nothing to tell."""

import pytest

from como_ros.host_watch import HostWatch, kept


def stat(file, user, idle, stolen):
    file.write_text(f"cpu  {user} 0 0 {idle} 0 0 0 {stolen} 50 60\ncpu0 1 2 3\n")


def test_the_share_is_of_the_time_since_the_watch_began(tmp_path):
    stat(tmp_path / "stat", 100, 100, 10)
    watch = HostWatch(tmp_path / "stat")
    stat(tmp_path / "stat", 150, 130, 30)
    assert watch.share() == pytest.approx(0.2)
    stat(tmp_path / "stat", 250, 130, 30)
    assert watch.share() == pytest.approx(0.1)


def test_a_system_without_these_counts_has_a_share_of_nothing(tmp_path):
    assert HostWatch(tmp_path / "none").share() == 0
    (tmp_path / "short").write_text("cpu  1 2 3 4\n")
    assert HostWatch(tmp_path / "short").share() == 0


def test_this_machine_has_a_share_between_none_and_all():
    assert 0 <= HostWatch().share() <= 1


def test_only_what_matters_is_told():
    assert kept(0.004) == ""
    assert kept(0.12) == "; this machine's host kept 12% of its processors meanwhile"

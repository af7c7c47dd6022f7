"""Each check says what it found and, where that is not good, what to do; a broken library is one line."""

from pathlib import Path

import pytest

from como_ros import doctor
from como_ros.doctor import Library


def machine(root: Path, version: str = "#1 SMP PREEMPT_DYNAMIC", governors: tuple[str, ...] = ()) -> Path:
    """The files of a machine that the checks look at."""
    (root / "proc/sys/net/core").mkdir(parents=True)
    (root / "proc/version").write_text(f"Linux version 6.1 {version}\n")
    (root / "proc/sys/net/core/rmem_max").write_text("212992\n")
    for i, name in enumerate(governors):
        folder = root / f"sys/devices/system/cpu/cpu{i}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    return root


def test_a_kernel_without_real_time_is_named_with_the_remedy(tmp_path):
    check = doctor.kernel(machine(tmp_path))
    assert not check.ok
    assert "boot a PREEMPT_RT one" in check.detail


def test_a_real_time_kernel_is_recognised_by_its_version_or_by_its_flag(tmp_path):
    assert doctor.kernel(machine(tmp_path / "a", "#1 SMP PREEMPT_RT")).ok
    flagged = machine(tmp_path / "b")
    (flagged / "sys/kernel").mkdir(parents=True)
    (flagged / "sys/kernel/realtime").write_text("1\n")
    assert doctor.kernel(flagged).ok


def test_one_core_that_saves_power_is_enough_to_be_told(tmp_path):
    check = doctor.governor(machine(tmp_path, governors=("performance", "powersave")))
    assert not check.ok
    assert "powersave" in check.detail
    assert "scaling_governor`" in check.detail


def test_a_machine_without_frequency_scaling_is_fine(tmp_path):
    assert doctor.governor(machine(tmp_path)).ok


def test_small_network_buffers_are_named_with_the_command(tmp_path):
    check = doctor.network(machine(tmp_path))
    assert not check.ok
    assert "0.2 MiB: run `sudo sysctl -w net.core.rmem_max=" in check.detail


def test_limits_are_reported_for_priority_and_memory():
    assert [check.name for check in doctor.limits()] == ["rtprio", "memlock"]


def test_how_late_the_machine_wakes_is_told_and_judged_by_the_worst():
    check = doctor.waking(beats=50)
    worst_ms = float(check.detail.partition(" at most")[0].split()[-1])
    assert worst_ms > 0
    assert check.ok == (worst_ms <= 1) == ("PREEMPT_RT" not in check.detail)


@pytest.mark.parametrize(
    ("variables", "bad"),
    [
        ({}, []),
        ({"ROS_DOMAIN_ID": "7", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, []),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, ["rmw"]),
        ({"ROS_DOMAIN_ID": "250"}, ["discovery"]),
        ({"ROS_DOMAIN_ID": "lab"}, ["discovery"]),
        ({"ROS_DOMAIN_ID": ""}, []),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/not/there.xml"}, ["profiles"]),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost"}, ["discovery"]),
    ],
)
def test_dds_settings_that_make_nodes_miss_each_other_are_named(variables, bad):
    assert [check.name for check in doctor.dds(variables) if not check.ok] == bad


def test_the_disk_is_measured_where_episodes_will_be_written(tmp_path):
    check = doctor.disk(tmp_path / "not" / "there" / "yet", block_mb=1, blocks=2)
    assert str(tmp_path) in check.detail
    assert "MB/s" in check.detail
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_is_one_line_with_the_way_to_get_it():
    check = doctor.library(Library("missing", "import no_such_library", "no-such-library", "core"))
    assert not check.ok
    assert check.detail.startswith("ModuleNotFoundError: No module named 'no_such_library'")
    assert "`pip install '.[core]'` where como_ros was checked out" in check.detail


def test_a_library_that_no_wheel_brought_is_there_all_the_same():
    """ROS 2 from a distribution's packages, for one: it was said to be missing."""
    check = doctor.library(Library("json", "import json", "no-such-wheel", "core"))
    assert (check.ok, check.detail) == (True, "installed, not from a wheel")


def test_a_machine_without_shared_memory_is_told_how_to_get_some(tmp_path):
    check = doctor.shared_memory(tmp_path / "shm")
    assert not check.ok
    assert "--shm-size=1g" in check.detail


def test_a_library_that_crashes_is_one_line():
    assert (
        "ended with -6" in doctor.library(Library("crash", "import os; os.abort()", "numpy", "core")).detail
    )


def test_an_arm_that_does_not_answer_is_one_line_with_what_to_look_at():
    check = doctor.fci("127.0.0.2")
    assert not check.ok
    assert check.detail.endswith("is the robot on, unlocked, FCI activated, in this network?")
    assert "Connection" in check.detail


def test_the_result_has_one_row_a_check_and_no_robots_rows_for_the_lab(tmp_path):
    rows = doctor.run_doctor(tmp_path, lab=True)["checks"]
    names = [row["name"] for row in rows]
    assert {"rclpy", "franky", "pyrealsense2", "onnxruntime", "egl", "rmw", "discovery", "disk"} <= set(names)
    assert len(set(names)) == len(names)
    assert not {"kernel", "governor", "rtprio", "memlock", "waking", "network"} & set(names)
    assert all(set(row) == {"name", "ok", "detail"} and row["detail"] for row in rows)

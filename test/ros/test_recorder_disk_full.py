"""A small disk that fills up while the recorder process writes to it; needs the right to mount one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ros_probe import wait_until

from como_ros import bags
from como_ros.bag_repair import repair

TRAFFIC = str(Path(__file__).parents[1] / "ros_traffic.py")
ALONE = ["unshare", "--mount", "sh", "-c"]


def small_disk_allowed(folder: Path) -> bool:
    tried = subprocess.run([*ALONE, f"mount -t tmpfs none {folder}"], capture_output=True)
    return tried.returncode == 0


def test_a_disk_that_fills_up_ends_the_episode_with_a_sentence_and_what_was_written_is_whole(
    probe, processes, tmp_path
):
    if not (shutil.which("unshare") and small_disk_allowed(tmp_path)):
        pytest.skip("this machine lets nobody mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    record = f"exec {sys.executable} -m como_ros.nodes.recorder --ros-args -p out:={disk} -p min_free_gb:=0.0"
    recorder = processes.run([*ALONE, f"mount -t tmpfs -o size=100k none {disk} && {record}"])
    health = probe.listen("/diagnostics")
    processes.run([sys.executable, TRAFFIC, "300", "1000"])
    done, told = probe.call("/recorder/start")
    assert done, told

    def said() -> str:
        words = [status.message for _, message in list(health) for status in message.status]
        return next((word for word in words if "No space left" in word), "")

    wait_until(said, "the recorder to say that the disk is full")
    kept, told = probe.call("/recorder/keep")
    assert not kept
    assert "the disk refused (No space left on device); what reached the disk can be read" in told
    seen = Path(f"/proc/{recorder.pid}/root{disk}/episode_000000")
    saved = shutil.copytree(seen, tmp_path / "saved")
    assert not bags.read_meta(saved).closed
    events = len(list(bags.read_events(saved)))
    assert events > 50
    repair(saved, settled_s=0.0)
    assert len(list(bags.read_events(saved))) == events

"""The recorder as its own process, fed by another process over Fast DDS."""

import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from ros_probe import PATIENCE_S, wait_until
from std_msgs.msg import String

from como_ros import bags
from como_ros.bag_checks import check_episode
from como_ros.nodes.answering import AGAIN_S
from como_ros.nodes.station import Station

TRAFFIC = str(Path(__file__).parents[1] / "ros_traffic.py")


@pytest.fixture
def traffic(processes):
    def start(frames: int, states: int):
        return processes.run([sys.executable, TRAFFIC, str(frames), str(states)])

    return start


def counts(episode: Path) -> Counter:
    return Counter(key for key, _, _ in bags.read_events(episode))


def test_every_message_reaches_the_bag(probe, processes, traffic, tmp_path):
    (tmp_path / "station.json").write_text('{"T_base_camera": {}}')
    processes.node("recorder", out=tmp_path, task="pick_place", calibration=tmp_path / "station.json")
    instruction = probe.speak("/policy/instruction")
    instruction.publish(String(data="pick up the cube"))
    source, begun_ns = traffic(60, 200), time.time_ns()
    done, told = probe.call("/recorder/start")
    assert done, told
    assert source.wait(timeout=60) == 0
    assert probe.call("/recorder/keep")[0]
    episode = tmp_path / "episode_000000"
    found = counts(episode)
    assert (found["images/front"], found["images/wrist"], found["joints"]) == (60, 60, 200)
    meta = bags.read_meta(episode)
    assert (meta.instruction, meta.outcome, meta.contract.image_hw) == ("pick up the cube", "kept", (48, 64))
    assert found["instruction"] == 1
    assert meta.provenance["calibration"] == '{"T_base_camera": {}}'
    row = check_episode(episode)
    assert row["recorder_drops"] == {}
    assert "ee_pose was never recorded" in row["problems"]
    assert any(flag.startswith("ee_pose silent for") for flag in row["flags"])
    assert not any("lost" in flag for flag in row["flags"])
    paced_s = 200 / row["rates_hz"]["joints"]
    assert abs(paced_s - 2.0) < 0.2 + probe.stalls.after(begun_ns, 10.0)


@pytest.mark.parametrize("moment", [90, 250])
def test_what_was_flushed_survives_a_kill(moment, processes, probe, traffic, tmp_path, reaction):
    heard = probe.listen("/arm/joint_states")
    recorder = processes.node("recorder", out=tmp_path)
    traffic(300, 1000)
    assert probe.call("/recorder/start")[0]
    episode = tmp_path / "episode_000000"
    wait_until(lambda: len(heard) > moment, "traffic")
    recorder.send_signal(signal.SIGKILL)
    killed_ns = time.time_ns()
    recorder.wait(timeout=60)
    meta = bags.read_meta(episode)
    assert (meta.outcome, meta.closed) == (bags.INTERRUPTED, False)
    arrived = [arrival.arrived_ns for arrival in bags.read_arrivals(episode)]
    reaction("recorder killed", (killed_ns - arrived[-1]) / 1e9, 1.0, probe.stalls.after(arrived[-1]))
    assert counts(episode)["joints"] > moment / 5


def test_a_recorder_started_again_after_a_kill_listens_where_nobody_sends_to_the_dead_one(
    processes, probe, tmp_path
):
    """Its port in shared memory would be removed under it by those who still know the dead one."""
    said, ports = probe.listen("/recorder/state"), []
    for _ in range(2):
        recorder, before = processes.node("recorder", out=tmp_path), len(said)
        wait_until(lambda before=before: len(said) > before, "the recorder's state")
        maps = Path(f"/proc/{recorder.pid}/fd")
        open_files = [Path(path).resolve().name for path in maps.iterdir()]
        ports.append({name for name in open_files if re.fullmatch(r"fastdds_port(?!70)\d+_el", name)})
        recorder.kill()
        recorder.wait(timeout=60)
    assert len(ports[0]) == len(ports[1]) == 1
    assert ports[0] != ports[1]


def test_who_asks_a_recorder_that_is_just_coming_back_is_answered(processes, tmp_path):
    """The first request goes to the dead one, which is still known."""
    recorder = processes.node("recorder", out=tmp_path)
    with Station() as station:
        station.wait_ready(["recorder"], PATIENCE_S, lambda: None)
        recorder.kill()
        recorder.wait(timeout=60)
        processes.node("recorder", out=tmp_path)
        assert station.call("/recorder/start") == f"recording {tmp_path / 'episode_000000'}"


def test_a_stop_signal_closes_the_bag_cleanly(processes, probe, traffic, tmp_path):
    heard = probe.listen("/arm/joint_states")
    recorder = processes.node("recorder", out=tmp_path)
    traffic(60, 1000)
    assert probe.call("/recorder/start")[0]
    wait_until(lambda: len(heard) > 100, "traffic")
    recorder.send_signal(signal.SIGTERM)
    assert recorder.wait(timeout=60) == 0
    meta = bags.read_meta(tmp_path / "episode_000000")
    assert (meta.outcome, meta.closed) == (bags.INTERRUPTED, True)
    assert counts(tmp_path / "episode_000000")["joints"] > 50


def test_who_asks_twice_at_once_begins_one_episode_and_who_asks_later_is_refused(probe, processes, tmp_path):
    processes.node("recorder", out=tmp_path)
    begun = probe.call("/recorder/start")
    assert begun == (True, f"recording {tmp_path / 'episode_000000'}")
    assert probe.call("/recorder/start") == begun
    time.sleep(AGAIN_S)
    refused, why = probe.call("/recorder/start")
    assert not refused
    assert "episode_000000 is being recorded" in why
    kept = probe.call("/recorder/keep")
    assert kept[0]
    assert probe.call("/recorder/keep") == kept
    assert not probe.call("/recorder/discard")[0]


def test_an_episode_that_failed_stands_in_the_way_of_no_other_and_can_be_discarded(
    probe, processes, tmp_path
):
    """Start was refused until keep or discard, which refused as well and left it among the others."""
    said = probe.listen("/recorder/state")
    processes.node("recorder", out=tmp_path)
    for number in (0, 1):
        episode = tmp_path / f"episode_{number:06d}"
        assert probe.call("/recorder/start") == (True, f"recording {episode}")
        (episode / f"{episode.name}.mcap").unlink()
        wait_until(lambda: said[-1][1].data.startswith("failed: its file was removed"), "the failure")
    aside = tmp_path / "discarded" / "episode_000001"
    assert probe.call("/recorder/discard") == (True, f"moved to {aside}")
    assert aside.is_dir()
    wait_until(lambda: said[-1][1].data == "idle", "the end of it")


def test_discarded_episodes_are_moved_aside_and_their_number_is_not_used_again(probe, processes, tmp_path):
    states = probe.listen("/recorder/state")
    processes.node("recorder", out=tmp_path)
    assert probe.call("/recorder/start")[0]
    assert probe.call("/recorder/discard")[0]
    assert bags.episodes(tmp_path) == []
    assert (tmp_path / "discarded" / "episode_000000").is_dir()
    assert probe.call("/recorder/start")[0]
    wait_until(lambda: states[-1][1].data == "recording episode_000001", "the next episode")
    assert probe.call("/recorder/keep")[0]
    wait_until(lambda: states[-1][1].data == "idle", "the end of the episode")


def test_the_operators_verdict_is_the_episodes_outcome(probe, processes, tmp_path):
    processes.node("recorder", out=tmp_path)
    for ending in ("keep", "keep_success", "keep_failure"):
        assert probe.call("/recorder/start")[0]
        assert probe.call(f"/recorder/{ending}")[0]
    assert [bags.read_meta(path).outcome for path in bags.episodes(tmp_path)] == [
        "kept",
        "success",
        "failure",
    ]


def test_a_stream_that_stops_is_named_within_a_second_and_stays_a_flag(probe, processes, traffic, tmp_path):
    told = probe.listen("/diagnostics")
    images = probe.listen("/front/color/image_raw")
    processes.node("recorder", out=tmp_path)
    source = traffic(1000, 3000)
    assert probe.call("/recorder/start")[0]
    wait_until(lambda: len(images) > 30, "images")
    source.kill()
    killed_ns = time.time_ns()

    def named() -> bool:
        sayings = [s for _, m in list(told) for s in m.status if s.name == "recorder"]
        return any("images/front silent for" in s.message and s.level == b"\x02" for s in sayings)

    wait_until(named, "the silent stream's name")
    assert (time.time_ns() - killed_ns) / 1e9 < 1.0 + probe.stalls.after(killed_ns, 2.0)
    kept, answer = probe.call("/recorder/keep")
    assert kept
    assert "flagged: " in answer
    assert any(
        flag.startswith("images/front silent for")
        for flag in bags.read_meta(tmp_path / "episode_000000").flags
    )


def test_rates_and_drops_are_told_while_the_episode_runs(probe, processes, traffic, tmp_path):
    told = probe.listen("/diagnostics")
    processes.node("recorder", out=tmp_path)
    traffic(300, 1000)
    assert probe.call("/recorder/start")[0]

    def figures() -> dict[str, str]:
        own = [status for _, message in told for status in message.status if status.name == "recorder"]
        return {value.key: value.value for value in own[-1].values} if own else {}

    wait_until(lambda: float(figures().get("joints Hz", 0)) > 80, "the rate of the joints")
    assert figures()["drops"] == "0"

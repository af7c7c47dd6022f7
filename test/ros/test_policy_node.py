"""The policy in its own process: chunks from fresh observations only, and only while it is told to run."""

import threading
import time

import numpy as np
import pytest
from constant_bundle import write_constant_bundle
from geometry_msgs.msg import PoseStamped
from ros_probe import wait_until
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from como_ros import wire

EE = np.array([0.46, 0.0, 0.40, 1.0, 0.0, 0.0, 0.0])


class Station:
    """Camera, arm and supervisor, as far as the policy can tell."""

    def __init__(self, probe) -> None:
        self.state = "ready"
        self.images_flow = True
        self.image_hw = (128, 128)
        self._probe = probe
        self._images = {name: probe.speak(f"/{name}/color/image_raw") for name in ("front", "wrist")}
        self._joints = probe.speak("/arm/joint_states")
        self._pose = probe.speak("/arm/ee_pose")
        self._state = probe.speak("/supervisor/state")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        tick = 0
        while not self._stop.wait(0.01):
            now = time.time_ns()
            self._joints.publish(wire.fill_joint_states(JointState(), np.zeros(7), np.zeros(7), 0.08, now))
            self._pose.publish(wire.fill_pose(PoseStamped(), EE, now))
            if tick % 10 == 0:
                self._state.publish(String(data=self.state))
            if tick % 10 == 5 and self.images_flow:
                for name, image in self._images.items():
                    blank = np.zeros((*self.image_hw, 3), np.uint8)
                    image.publish(wire.fill_image(Image(), blank, now, name))
            tick += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def station(probe):
    station = Station(probe)
    yield station
    station.close()


@pytest.fixture
def bundle(tmp_path):
    return write_constant_bundle(tmp_path / "bundle", (0.01, 0.0, 0.0), width_m=0.03)


def armed(station, health) -> None:
    """The supervisor arms a policy that is up; one that comes up armed waits to be armed again."""
    wait_until(lambda: said(health) == "idle: supervisor is ready", "the policy to be up", 60)
    station.state = "policy"


def said(health) -> str:
    statuses = [m.status[0] for _, m in health if m.status[0].name == "policy"]
    return statuses[-1].message if statuses else ""


def figures(health) -> dict[str, float]:
    status = [m.status[0] for _, m in health if m.status[0].name == "policy"][-1]
    return {pair.key: float(pair.value) for pair in status.values}


def test_it_is_silent_until_armed_then_sends_timed_chunks_every_four_actions(
    probe, processes, station, bundle
):
    chunks, widths = probe.listen("/arm/command/chunk"), probe.listen("/gripper/command")
    health = probe.listen("/diagnostics")
    processes.node("policy", bundle=f'"{bundle}"')
    wait_until(lambda: said(health) == "idle: supervisor is ready", "the policy to be up", 60)
    assert not chunks
    armed(station, health)
    wait_until(lambda: len(chunks) >= 8, "chunks")
    arrived, message = chunks[5]
    gaps_s = np.diff([at for at, _ in chunks[1:8]])
    stalled_s = probe.stalls.after(time.time_ns() - 5 * 10**9, 5.0)
    assert np.median(gaps_s) == pytest.approx(0.4, abs=0.08 + stalled_s)
    stamp_ns, offsets_ns, poses = wire.chunk_from_msgs(message)
    ages_s = (time.monotonic() - arrived) + stamp_ns / 1e9 - time.time()
    slack_s = probe.stalls.after(stamp_ns - 10**9, 3.0)
    assert -0.15 - slack_s < ages_s < 0.2 + slack_s  # the first pose is due about when the message arrives
    free = poses[4:]  # what comes before may be committed from the chunk before
    np.testing.assert_allclose(np.diff(free[:, 0]), 0.01, atol=1e-6)
    assert set(np.diff(offsets_ns)) == {100_000_000}
    assert wire.widths_from_msg(widths[5][1])[2][-1] == pytest.approx(0.03, abs=1e-6)
    wait_until(lambda: "inference_ms_p50" in figures(health), "latency figures")


def test_frozen_cameras_make_it_refuse_cut_the_chunk_short_and_recover(
    probe, processes, station, bundle, reaction
):
    chunks, health = probe.listen("/arm/command/chunk"), probe.listen("/diagnostics")
    processes.node("policy", bundle=f'"{bundle}"')
    armed(station, health)
    wait_until(lambda: len(chunks) >= 3, "chunks", 60)
    station.images_flow = False
    frozen, frozen_ns = time.monotonic(), time.time_ns()
    wait_until(lambda: said(health).startswith("holding: images/front is"), "the refusal")
    wait_until(lambda: [m for _, m in list(chunks) if len(m.points) == 1], "the order to hold")
    holds = [at for at, m in list(chunks) if at > frozen and len(m.points) == 1]
    assert len(holds) == 1
    # maximum age, one camera period, one inference
    reaction("camera frozen", holds[0] - frozen, 0.5 + 0.1 + 0.15, probe.stalls.after(frozen_ns))
    count = len(chunks)
    time.sleep(0.7)
    assert len(chunks) == count
    station.images_flow = True
    wait_until(lambda: len(chunks) > count and said(health) == "running", "recovery")


def test_larger_pictures_of_another_driver_are_cut_and_shrunk(probe, processes, station, bundle):
    """As realsense2_camera publishes them, which knows nothing of contracts."""
    chunks, health = probe.listen("/arm/command/chunk"), probe.listen("/diagnostics")
    station.image_hw = (480, 640)
    processes.node("policy", bundle=f'"{bundle}"')
    armed(station, health)
    wait_until(lambda: len(chunks) >= 3, "chunks", 60)


def test_smaller_images_are_refused_by_name_and_nothing_is_sent(probe, processes, station, bundle):
    chunks, health = probe.listen("/arm/command/chunk"), probe.listen("/diagnostics")
    station.image_hw = (64, 64)
    processes.node("policy", bundle=f'"{bundle}"')
    armed(station, health)
    wait_until(lambda: "camera 'front' gives (64, 64, 3)" in said(health), "the refusal", 60)
    assert "camera 'wrist' gives (64, 64, 3)" in said(health)
    assert not chunks


def test_a_malformed_message_is_refused_and_counted_and_the_policy_goes_on(probe, processes, station, bundle):
    chunks, health = probe.listen("/arm/command/chunk"), probe.listen("/diagnostics")
    images, poses = probe.speak("/front/color/image_raw"), probe.speak("/arm/ee_pose")
    processes.node("policy", bundle=f'"{bundle}"')
    armed(station, health)
    wait_until(lambda: len(chunks) >= 2, "chunks", 60)
    wait_until(lambda: said(health), "the first diagnostics")
    image = Image(encoding="bayer_rggb8", height=4, width=4, step=4, data=bytes(16))
    for speaker, message in ((images, image), (poses, PoseStamped())):
        told = figures(health)["malformed"]
        deadline = time.monotonic() + 15
        while figures(health)["malformed"] == told:  # a publisher is not heard from its first moment on
            assert time.monotonic() < deadline, "the count stays where it was"
            speaker.publish(message)
            time.sleep(0.3)
        time.sleep(1.2)  # until the next diagnostics
    count = len(chunks)
    wait_until(lambda: len(chunks) > count, "another chunk")


def test_leaving_the_policy_state_silences_it_at_once(probe, processes, station, bundle):
    chunks, health = probe.listen("/arm/command/chunk"), probe.listen("/diagnostics")
    processes.node("policy", bundle=f'"{bundle}"')
    armed(station, health)
    wait_until(lambda: len(chunks) >= 2, "chunks", 60)
    station.state = "stopped"
    wait_until(lambda: said(health) == "idle: supervisor is stopped", "the policy to be idle")
    count = len(chunks)
    time.sleep(1.0)
    assert len(chunks) == count


def test_a_policy_started_again_in_the_middle_of_a_run_waits_to_be_armed_again(
    probe, processes, station, bundle
):
    chunks, health = probe.listen("/arm/command/chunk"), probe.listen("/diagnostics")
    station.state = "policy"
    processes.node("policy", bundle=f'"{bundle}"')
    wait_until(lambda: "waiting to be armed again" in said(health), "the policy to be up", 60)
    time.sleep(0.5)
    assert not chunks
    station.state = "ready"
    armed(station, health)
    wait_until(lambda: chunks, "chunks")


def test_a_damaged_bundle_ends_the_process_before_anything_moves(processes, bundle, reaction):
    with (bundle / "expert.onnx").open("ab") as file:
        file.write(b"x")
    process = processes.node("policy", bundle=f'"{bundle}"')
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "expert.onnx is truncated or altered" in errors
    reaction.shown("tampered")


def test_a_bundle_for_another_robot_ends_the_process_before_anything_moves(processes, bundle):
    process = processes.node("policy", bundle=f'"{bundle}"', robot="fr3")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "was made for another contract: robot: 'fr3' != 'panda'" in errors

"""Pictures packed by the camera node on request, and recorded as they cross the wire."""

import pytest
from ros_probe import wait_until

pytest.importorskip("pyrealsense2")
from como_ros import bags
from como_ros.lab.canned_feed import draw_pictures

HW = (240, 320)
RAW = "/front/color/image_raw"


def test_compressed_pictures_are_packed_while_somebody_records_them_and_cost_less_room(
    probe, processes, tmp_path
):
    pictures = draw_pictures(tmp_path / "pictures.npz", HW)
    images = probe.listen(RAW)
    processes.node("camera", canned=pictures, width=HW[1], height=HW[0], rate_hz=15)
    wait_until(lambda: len(images) > 5, "pictures")
    processes.node("recorder", out=tmp_path / "out", compressed="true")
    assert probe.call("/recorder/start")[0]
    wait_until(lambda: probe.node.count_subscribers(f"{RAW}/compressed"), "the recorder to ask")
    begun = len(images)
    wait_until(lambda: len(images) > begun + 20, "pictures while it records")
    assert probe.call("/recorder/keep")[0]
    episode = tmp_path / "out" / "episode_000000"
    topics = {raw.channel.topic for _, raw in bags.read_raw(episode)}
    assert f"{RAW}/compressed" in topics
    assert RAW not in topics
    sizes = [len(raw.cdr) for _, raw in bags.read_raw(episode) if raw.channel.topic == f"{RAW}/compressed"]
    assert max(sizes) < HW[0] * HW[1] * 3 / 3
    shapes = [value.shape for _, _, value in bags.read_events(episode, {"images/front"})]
    assert len(shapes) > 10
    assert set(shapes) == {(*HW, 3)}
    assert bags.read_meta(episode).contract.image_hw == HW

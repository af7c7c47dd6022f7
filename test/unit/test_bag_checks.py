"""`como bags check` names what is wrong with each episode and still reads the rest."""

from pathlib import Path

import numpy as np
import pytest

from como_ros import bags, wire
from como_ros.bag_checks import run_check
from como_ros.typestore import message
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
POSE7 = np.array([0.4, 0, 0.3, 1, 0, 0, 0])


def write_episode(folder: Path, skip=lambda topic, i: False, contract: Contract | None = None) -> Path:
    """One second; `skip(topic, index)` leaves a message out."""
    writer = bags.EpisodeWriter(folder, contract or Contract(image_hw=(8, 8)), "pick up the cube", drops="{}")

    def put(topic: str, i: int, msg: object) -> None:
        if not skip(topic, i):
            writer.write_message(topic, msg, wire.stamp_ns(msg))

    for i in range(100):
        stamp_ns = START_NS + i * 10 * MS
        joints = message("sensor_msgs/msg/JointState")
        put("/arm/joint_states", i, wire.fill_joint_states(joints, np.zeros(7), np.zeros(7), 0.04, stamp_ns))
        put("/arm/ee_pose", i, wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), POSE7, stamp_ns))
        for camera in ("front", "wrist"):
            rgb = wire.fill_image(
                message("sensor_msgs/msg/Image"), np.zeros((8, 8, 3), np.uint8), stamp_ns, ""
            )
            if i % 10 == 0:
                put(f"/{camera}/color/image_raw", i // 10, rgb)
    writer.close("success")
    return folder


def only_row(folder: Path) -> dict:
    (row,) = run_check(folder)["episodes"]
    return row


def test_a_sound_episode_is_ok_with_its_rates(tmp_path):
    row = only_row(write_episode(tmp_path / "e"))
    assert row["ok"], row["problems"]
    assert row["rates_hz"]["joints"] == pytest.approx(100)
    assert row["rates_hz"]["images/front"] == pytest.approx(10)
    assert (row["gaps"], row["drops"]["joints"], row["outcome"]) == ([], 0, "success")


def test_single_missing_messages_are_counted_but_do_no_harm(tmp_path):
    row = only_row(
        write_episode(tmp_path / "e", lambda topic, i: topic == "/arm/joint_states" and i in (5, 50, 51))
    )
    assert row["ok"], row["problems"]
    assert row["drops"]["joints"] == 3


def test_a_silence_longer_than_the_maximum_age_is_a_gap(tmp_path):
    row = only_row(write_episode(tmp_path / "e", lambda topic, i: topic == "/arm/ee_pose" and 20 <= i < 50))
    assert not row["ok"]
    assert row["gaps"] == [
        {"key": "ee_pose", "stamp_ns": START_NS + 190 * MS, "seconds": pytest.approx(0.31)}
    ]


def test_a_camera_that_was_never_recorded_is_named(tmp_path):
    row = only_row(write_episode(tmp_path / "e", lambda topic, i: topic == "/wrist/color/image_raw"))
    assert row["problems"] == ["images/wrist was never recorded"]


def test_images_of_another_size_than_the_contract_says_are_named(tmp_path):
    row = only_row(write_episode(tmp_path / "e", contract=Contract()))
    assert "images/front is (8, 8), the contract says (128, 128)" in row["problems"]


def test_one_damaged_episode_does_not_hide_the_others(tmp_path):
    for i in range(3):
        write_episode(tmp_path / f"episode_{i:06d}")
    broken = tmp_path / "episode_000001" / "episode_000001.mcap"
    broken.write_bytes(broken.read_bytes()[:3000])
    rows = run_check(tmp_path)["episodes"]
    assert [row["ok"] for row in rows] == [True, False, True]
    assert "episode_000001.mcap is cut short" in rows[1]["problems"][0]


def test_an_episode_of_another_contract_is_named_with_the_difference(tmp_path):
    write_episode(tmp_path / "episode_000000")
    write_episode(tmp_path / "episode_000001", contract=Contract(image_hw=(8, 8), robot="fr3"))
    rows = run_check(tmp_path)["episodes"]
    assert rows[0]["ok"]
    assert rows[1]["problems"] == [f"another contract than {rows[0]['path']}: robot: 'panda' != 'fr3'"]


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(bags.BagError, match="holds no episodes"):
        run_check(tmp_path)

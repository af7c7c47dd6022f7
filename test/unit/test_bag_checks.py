"""`como bags check` names what is wrong with each episode and still reads the rest."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from como_ros import bags, wire
from como_ros.bag_checks import run_check
from como_ros.bag_meta import custom_data
from como_ros.typestore import TYPES, message
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
POSE7 = np.array([0.4, 0, 0.3, 1, 0, 0, 0])


def write_episode(
    folder: Path,
    skip=lambda topic, i: False,
    contract: Contract | None = None,
    spoil=lambda topic, i, msg: None,
    arrives_ns=lambda topic: 0,
    also=lambda writer: None,
    seconds: int = 1,
) -> Path:
    """`skip` leaves a message out, `spoil` changes one, `arrives_ns` is how long each takes."""
    writer = bags.EpisodeWriter(folder, contract or Contract(image_hw=(8, 8)), "pick up the cube", drops="{}")

    def put(topic: str, i: int, msg: object) -> None:
        if not skip(topic, i):
            arrived_ns = wire.stamp_ns(msg) + arrives_ns(topic)
            spoil(topic, i, msg)
            writer.write_message(topic, msg, arrived_ns)

    for i in range(100 * seconds):
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
    also(writer)
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


@pytest.mark.parametrize(
    ("shown", "silent", "since"),
    [(slice(0, 1), 2.99, 0), (slice(0, 15), 1.59, 1400 * MS), (slice(15, 30), 1.5, 0)],
    ids=["one picture", "died", "late"],
)
def test_a_camera_that_dies_or_comes_late_is_silent_until_the_end_or_from_the_beginning(
    shown, silent, since, tmp_path
):
    """Only silences between two of its pictures were seen: half an episode without a camera was sound."""
    wanted = set(range(30)[shown])
    row = only_row(
        write_episode(
            tmp_path / "e", lambda topic, i: topic.startswith("/front") and i not in wanted, seconds=3
        )
    )
    assert row["problems"] == [f"images/front is silent for {silent:.2f} s"]
    assert row["gaps"] == [
        {"key": "images/front", "stamp_ns": START_NS + since, "seconds": pytest.approx(silent, abs=0.01)}
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


@pytest.mark.parametrize(
    ("topic", "spoil", "named"),
    [
        ("/arm/joint_states", lambda m: m.position.__setitem__(2, np.nan), "not finite"),
        ("/front/color/image_raw", lambda m: setattr(m, "encoding", "yuv422"), "'yuv422' is no colour image"),
        ("/arm/ee_pose", lambda m: setattr(m.header, "frame_id", "camera"), "'camera' is not the base"),
        ("/arm/ee_pose", lambda m: setattr(m.header.stamp, "nanosec", 2**31), "is no time"),
    ],
)
def test_one_bad_message_is_named_by_file_topic_stamp_and_remedy_and_the_rest_reads(
    tmp_path, topic, spoil, named
):
    write_episode(tmp_path / "episode_000000")
    write_episode(
        tmp_path / "episode_000001", spoil=lambda name, i, msg: name == topic and i == 5 and spoil(msg)
    )
    rows = run_check(tmp_path)["episodes"]
    assert [row["ok"] for row in rows] == [True, False]
    (problem,) = rows[1]["problems"]
    arrived_ns = START_NS + (500 if "image" in topic else 50) * MS
    assert f"episode_000001.mcap: {topic} at {arrived_ns} ns" in problem
    assert named in problem
    assert "; record it anew or leave the episode out" in problem


def test_what_several_nodes_say_of_themselves_may_cross_on_the_way(tmp_path):
    def crossing(writer) -> None:
        for stamp_ns in (START_NS + 2 * MS, START_NS + MS):
            said = message("diagnostic_msgs/msg/DiagnosticArray", status=[])
            said.header.stamp.sec, said.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            writer.write_message("/diagnostics", said, START_NS + 3 * MS)

    row = only_row(write_episode(tmp_path / "e", also=crossing))
    assert row["ok"], row["problems"]


@pytest.mark.parametrize(("back_ms", "sound"), [(22, True), (2000, False)])
def test_a_state_that_the_recorder_remembered_may_stand_before_one_that_it_had_yet_to_hear(
    tmp_path, back_ms, sound
):
    def also(writer):
        ready = message("std_msgs/msg/String", data="ready")
        for stamp_ns in (START_NS, START_NS - back_ms * MS, START_NS + MS):
            writer.write_message("/supervisor/state", ready, stamp_ns)

    row = only_row(write_episode(tmp_path / "e", also=also))
    assert row["ok"] == sound
    assert sound or "supervisor_state has stamps that go backwards" in row["problems"][0]


def test_a_topic_that_is_not_on_the_wire_is_named_but_not_what_ros_itself_publishes(tmp_path):
    episode = write_episode(tmp_path / "e")
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for key, value in custom_data(episode)[0].items():
            writer.set_custom_data(key, value)
        connections = {
            name: writer.add_connection(name, kind, typestore=TYPES)
            for name, kind in {
                "/rosout": "rcl_interfaces/msg/Log",
                "/side/color/image_raw": "sensor_msgs/msg/Image",
                **{topic.name: topic.type for topic in wire.TOPICS.values()},
            }.items()
        }
        for name in ("/rosout", "/side/color/image_raw"):
            writer.write(connections[name], START_NS, b"not looked into")
        for _, raw in bags.read_raw(episode):
            writer.write(connections[raw.channel.topic], raw.log_ns, raw.cdr)
    (problem,) = only_row(tmp_path / "bag")["problems"]
    assert problem.startswith(f"/side/color/image_raw, first at {START_NS} ns, is not on the wire; remap it")


def test_a_clock_ahead_of_the_recorders_is_found_in_a_bag(tmp_path):
    row = only_row(write_episode(tmp_path / "e", arrives_ns=lambda topic: -50 * MS * ("wrist" in topic)))
    (problem,) = row["problems"]
    assert problem.startswith("images/wrist is stamped 0.050 s after it arrived")


def test_an_episode_of_another_contract_is_named_with_the_difference(tmp_path):
    write_episode(tmp_path / "episode_000000")
    write_episode(tmp_path / "episode_000001", contract=Contract(image_hw=(8, 8), robot="fr3"))
    rows = run_check(tmp_path)["episodes"]
    assert rows[0]["ok"]
    assert rows[1]["problems"] == [f"another contract than {rows[0]['path']}: robot: 'panda' != 'fr3'"]


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(bags.BagError, match="holds no episodes"):
        run_check(tmp_path)

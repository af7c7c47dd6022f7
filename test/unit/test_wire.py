"""Messages become numpy and back without loss, whichever library made the message object."""

import array
from types import SimpleNamespace

import numpy as np
import pytest

from como_ros import wire
from como_ros.errors import ComoError
from como_ros.typestore import deserialize, message

STAMP_NS = 1_700_000_000_123_456_789
POSE7 = np.array([0.4, -0.1, 0.3, 0.0, 0.6, 0.0, 0.8])


def namespace_header() -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id="")


def namespace_image() -> SimpleNamespace:
    return SimpleNamespace(header=namespace_header(), data=array.array("B"))


def bag_image() -> object:
    return message("sensor_msgs/msg/Image")


def random_rgb(height: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


# Images


@pytest.mark.parametrize("new_image", [namespace_image, bag_image])
def test_an_image_survives_the_round_trip_with_its_stamp(new_image):
    rgb = random_rgb()
    msg = wire.fill_image(new_image(), rgb, STAMP_NS, "front_color_optical_frame")
    key, stamp_ns, value = wire.decode("/front/color/image_raw", msg)
    assert (key, stamp_ns) == ("images/front", STAMP_NS)
    np.testing.assert_array_equal(value, rgb)


def test_filling_keeps_the_container_that_the_message_library_expects():
    assert isinstance(wire.fill_image(namespace_image(), random_rgb(), 0, "").data, array.array)
    assert isinstance(wire.fill_image(bag_image(), random_rgb(), 0, "").data, np.ndarray)


class GeneratedImage:
    """As generated ROS messages do, copies every array that is assigned to its data."""

    def __init__(self) -> None:
        self.header = namespace_header()
        self.copied_bytes = 0
        self._data = array.array("B")

    @property
    def data(self) -> array.array:
        return self._data

    @data.setter
    def data(self, value: array.array) -> None:
        self.copied_bytes += len(value)
        self._data = array.array("B", value)


def test_filling_lets_a_generated_message_copy_no_pixels_of_its_own():
    msg = GeneratedImage()
    rgb = random_rgb()
    for _ in range(2):
        np.testing.assert_array_equal(wire.image_from_msg(wire.fill_image(msg, rgb, 0, "")), rgb)
    assert msg.copied_bytes == 0


def test_an_image_that_is_not_contiguous_is_written_in_the_right_order():
    rgb = random_rgb()[:, ::-1]
    np.testing.assert_array_equal(wire.image_from_msg(wire.fill_image(bag_image(), rgb, 0, "")), rgb)


def test_reading_an_image_copies_nothing():
    msg = wire.fill_image(namespace_image(), random_rgb(), 0, "")
    view = wire.image_from_msg(msg)
    msg.data[0] = 255 - msg.data[0]
    assert view[0, 0, 0] == msg.data[0]


def test_a_filled_image_does_not_change_when_the_source_buffer_is_reused():
    rgb = random_rgb()
    msg = wire.fill_image(bag_image(), rgb, 0, "")
    before = wire.image_from_msg(msg).copy()
    rgb[:] = 0
    np.testing.assert_array_equal(wire.image_from_msg(msg), before)


def test_padded_rows_and_bgr_come_back_as_plain_rgb():
    rgb = random_rgb()
    rows = np.concatenate([rgb[:, :, ::-1].reshape(4, 15), np.full((4, 7), 99, np.uint8)], 1)
    msg = SimpleNamespace(height=4, width=5, step=22, encoding="bgr8", is_bigendian=0, data=rows.tobytes())
    np.testing.assert_array_equal(wire.image_from_msg(msg), rgb)


@pytest.mark.parametrize("big", [0, 1])
def test_depth_keeps_its_sixteen_bits_in_either_byte_order(big):
    depth = np.array([[0, 1, 255], [256, 4000, 65535]], np.uint16)
    raw = depth.astype(">u2" if big else "<u2").tobytes()
    msg = SimpleNamespace(height=2, width=3, step=6, encoding="16UC1", is_bigendian=big, data=raw)
    np.testing.assert_array_equal(wire.depth_from_msg(msg), depth)


@pytest.mark.parametrize("new_image", [namespace_image, bag_image])
def test_depth_survives_the_round_trip(new_image):
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    msg = wire.fill_depth(new_image(), depth, STAMP_NS, "front_color_optical_frame")
    np.testing.assert_array_equal(wire.depth_from_msg(msg), depth)


@pytest.mark.parametrize(
    ("field", "value"), [("encoding", "yuv422"), ("data", b"123"), ("step", 3), ("width", 6)]
)
def test_an_image_that_contradicts_itself_is_refused(field, value):
    msg = wire.fill_image(bag_image(), random_rgb(), STAMP_NS, "")
    setattr(msg, field, value)
    with pytest.raises(wire.WireError, match=rf"/front/color/image_raw, message stamped {STAMP_NS}"):
        wire.decode("/front/color/image_raw", msg)


def test_only_a_uint8_colour_image_can_be_filled_in():
    with pytest.raises(wire.WireError, match="float64"):
        wire.fill_image(bag_image(), np.zeros((4, 4, 3)), 0, "")


# Joints, poses, wrench


def test_joints_are_found_by_name_whatever_their_order():
    q = np.arange(7) / 10
    msg = wire.fill_joint_states(message("sensor_msgs/msg/JointState"), q, np.zeros(7), 0.05, STAMP_NS)
    msg.name, msg.position = msg.name[::-1], msg.position[::-1]
    key, stamp_ns, value = wire.decode("/arm/joint_states", msg)
    assert (key, stamp_ns) == ("joints", STAMP_NS)
    np.testing.assert_allclose(value, [*q, 0.05])


def test_a_joint_state_without_fingers_is_refused_by_name():
    msg = SimpleNamespace(name=list(wire.ARM_JOINTS), position=[0.0] * 7)
    with pytest.raises(wire.WireError, match="panda_finger_joint1"):
        wire.joints_from_msg(msg)


def test_a_joint_state_with_nan_is_refused_whole():
    q = np.array([0, 0, np.nan, 0, 0, 0, 0])
    msg = wire.fill_joint_states(message("sensor_msgs/msg/JointState"), q, np.zeros(7), 0.05, STAMP_NS)
    with pytest.raises(wire.WireError, match="not finite"):
        wire.decode("/arm/joint_states", msg)


def test_a_pose_survives_the_round_trip():
    msg = wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), POSE7, STAMP_NS)
    assert msg.header.frame_id == "panda_link0"
    np.testing.assert_array_equal(wire.pose7_from_msg(msg), POSE7)


def test_a_quaternion_of_zeros_is_no_orientation():
    msg = wire.fill_pose(message("geometry_msgs/msg/PoseStamped"), np.zeros(7), STAMP_NS)
    with pytest.raises(wire.WireError, match="unit length"):
        wire.decode("/arm/ee_pose", msg)


def test_a_wrench_survives_the_round_trip():
    msg = wire.fill_wrench(message("geometry_msgs/msg/WrenchStamped"), np.arange(6.0), STAMP_NS)
    np.testing.assert_array_equal(wire.decode("/arm/external_wrench", msg)[2], np.arange(6.0))


def test_a_camera_matrix_survives_the_round_trip():
    matrix = np.array([[120.0, 0, 64], [0, 121, 63], [0, 0, 1]])
    msg = message("sensor_msgs/msg/CameraInfo")
    wire.fill_camera_info(msg, matrix, [0.0] * 5, (128, 128), STAMP_NS, "front_color_optical_frame")
    np.testing.assert_array_equal(wire.decode("/front/color/camera_info", msg)[2], matrix)


# The table


def test_every_topic_has_a_message_type_and_a_key_of_its_own():
    assert all(message(topic.type) for topic in wire.TOPICS.values())
    assert len({topic.key for topic in wire.TOPICS.values()}) == len(wire.TOPICS)


def test_text_without_a_header_takes_the_time_it_arrived():
    msg = message("std_msgs/msg/String", data="pick up the cube")
    assert wire.decode("/policy/instruction", msg, 42) == ("instruction", 42, "pick up the cube")


def test_an_unknown_topic_is_refused_with_the_known_ones():
    with pytest.raises(ComoError, match="/arm/joint_states"):
        wire.topic("/arm/joint_state")


def test_bytes_that_are_no_message_are_refused():
    with pytest.raises(ComoError, match="7 bytes are no sensor_msgs/msg/Image"):
        deserialize(b"garbage", "sensor_msgs/msg/Image")

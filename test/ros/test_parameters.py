"""What a user may get wrong on a node's command line, and what he is told before anything moves."""

from contextlib import ExitStack

import pytest
import rclpy
from rclpy.node import Node

from como_ros.errors import ComoError
from como_ros.nodes.arm import ArmConfig
from como_ros.nodes.camera import CameraConfig
from como_ros.nodes.params import declare_config
from como_ros.nodes.policy import PolicyConfig
from como_ros.nodes.recorder import RecorderConfig
from como_ros.nodes.replay import ReplayConfig
from como_ros.nodes.shared_memory import domain_id
from como_ros.nodes.supervisor import SupervisorConfig
from como_ros.nodes.teleop import TeleopConfig

SERIALS = "['1','2']"


@pytest.fixture
def context(own_domain):
    """Of one process."""
    context = rclpy.Context()
    context.init(domain_id=domain_id())
    yield context
    context.try_shutdown()


def told(context, cls, **given: str):
    """The configuration that a node makes of `-p name:=text`."""
    arguments = [part for name, text in given.items() for part in ("-p", f"{name}:={text}")]
    node = Node("node", context=context, cli_args=["--ros-args", *arguments])
    with ExitStack() as after:
        after.callback(node.destroy_node)
        config = declare_config(node, cls)
    if cls is ArmConfig:
        config.loop()  # what the arm looks at when it is configured
    return config


@pytest.mark.parametrize(
    ("cls", "given", "why"),
    [
        (ArmConfig, {"max_sped_m_s": "0.05"}, "node: no parameter max_sped_m_s; known: host, robot, "),
        (ArmConfig, {"max_speed_m_s": ".nan"}, "max_speed_m_s is nan, expected a finite number"),
        (ArmConfig, {"max_speed_m_s": ".inf"}, "max_speed_m_s is inf, expected a finite number"),
        (ArmConfig, {"max_speed_m_s": "1.9"}, r"max_speed_m_s must lie in 0 to 1.7, got 1.9"),
        (ArmConfig, {"robot": "fr3", "max_turn_rad_s": "9.0"}, "max_turn_rad_s must lie in 0 to 2.5, got 9"),
        (ArmConfig, {"robot": "ur5"}, "no limits for robot 'ur5'; known robots: fr3, panda"),
        (ArmConfig, {"load_kg": "-1"}, "load_kg must lie in 0 to 3, got -1"),
        (ArmConfig, {"host": "5"}, "host is 5, expected a text"),
        (ArmConfig, {"box_min_m": "[0.1, 0.1]"}, "workspace box needs x, y and z"),
        (SupervisorConfig, {"deadman_timeout_s": "-1.0"}, "deadman_timeout_s must lie in 0.05 to 10, got -1"),
        (PolicyConfig, {"bundle": "x", "image_max_age_s": "-1.0"}, "image_max_age_s must lie in 0.02 to 5"),
        (PolicyConfig, {"bundle": "x", "intent_rate_hz": "0"}, "intent_rate_hz must lie in 0.1 to 100"),
        (TeleopConfig, {"rate_hz": "0.0"}, "the hand's rate_hz must lie in 20 to 500, got 0"),
        (ReplayConfig, {"rate_hz": "-5"}, "the replay's rate_hz must lie in 20 to 500, got -5"),
        (RecorderConfig, {"queue_mb": "0"}, "the recorder's queue_mb must lie in 1 to 100000, got 0"),
        (CameraConfig, {"names": "front"}, r"names is 'front', expected a list, like \['123', '456'\]"),
        (CameraConfig, {"serials": "[1, 2]"}, r"serials is \[1, 2\], expected a list, like \['123'"),
        (CameraConfig, {"names": "[front, front]", "serials": SERIALS}, "each camera has its own"),
        (CameraConfig, {"serials": "['1','1']"}, "each camera has its own"),
        (CameraConfig, {"names": "['side']", "serials": "['1']"}, "known cameras: front, wrist"),
        (CameraConfig, {"serials": SERIALS, "rate_hz": "0"}, "the camera's rate_hz must lie in 1 to 10000"),
        (CameraConfig, {"serials": SERIALS, "depth": "1"}, "depth is 1, expected true or false"),
    ],
)
def test_what_is_no_setting_is_refused_with_what_would_be(context, cls, given, why):
    with pytest.raises(ComoError, match=why):
        told(context, cls, **given)


def test_a_second_node_of_a_process_may_be_given_what_is_meant_for_the_first(context):
    """The console's process holds the console and a teleop node."""
    told(context, SupervisorConfig, heartbeat_hz="30")
    assert told(context, ArmConfig, heartbeat_hz="30", robot="fr3").robot == "fr3"


def test_a_recorders_queue_is_in_megabytes():
    """For an hour it was a tenth of what was asked for."""
    assert RecorderConfig(queue_mb=3).queue_bytes == 3_000_000


@pytest.mark.parametrize("text", ["lab", "-1", "233"])
def test_a_domain_that_is_none_is_told_in_a_sentence(monkeypatch, text):
    monkeypatch.setenv("ROS_DOMAIN_ID", text)
    with pytest.raises(ComoError, match=f"ROS_DOMAIN_ID is '{text}', expected a number from 0 to 232"):
        domain_id()

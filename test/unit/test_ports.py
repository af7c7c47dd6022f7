"""Every process gets a port of its own from Fast DDS, and keeps what else its profile says."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from como_ros.nodes.shared_memory import (
    DOMAINS_WITH_ROOM,
    OFFSETS,
    PEERS,
    PLAIN,
    PROFILES,
    RANGE,
    VARIABLE,
    own_port,
    tuned,
)

NAMES = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
FIRST_PORT, PORTS_OF_A_DOMAIN, LAST_PORT = 7400, 250, 65535
DISCOVERY = {0, 1, 10}
"""Offsets of ports on which participants are found."""


def offset(profile: str) -> int:
    root = ElementTree.fromstring(profile)
    (found,) = root.findall(".//dds:participant/dds:rtps/dds:port/dds:offsetd3", NAMES)
    return int(found.text)


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    return monkeypatch


def test_processes_after_one_another_get_ports_that_differ_and_are_nobody_elses():
    offsets = [offset(tuned(PLAIN, pid)) for pid in range(4000, 4000 + OFFSETS)]
    assert len(set(offsets)) == OFFSETS
    assert not DISCOVERY & set(offsets)
    assert all(number % 2 for number in offsets)
    assert FIRST_PORT + DOMAINS_WITH_ROOM[-1] * PORTS_OF_A_DOMAIN + max(offsets) < LAST_PORT


def test_a_process_says_that_it_is_there_three_times_a_second():
    root = ElementTree.fromstring(tuned(PLAIN, 1))
    (found,) = root.findall(".//dds:leaseAnnouncement", NAMES)
    assert [part.text for part in found] == ["0", "300000000"]
    (writer,) = root.findall(".//dds:data_writer", NAMES)
    assert writer.get("is_default_profile") == "true"


def transports(profile: str) -> set[str]:
    root = ElementTree.fromstring(profile)
    return {found.text for found in root.findall(".//dds:transport_descriptor/dds:type", NAMES)}


@pytest.mark.parametrize(
    ("range_", "peers", "wanted", "told"),
    [
        ("LOCALHOST", "", {"UDPv4"}, "SYSTEM_DEFAULT"),
        ("SUBNET", "", {"UDPv4"}, "SUBNET"),
        ("LOCALHOST", "10.0.0.2", set(), "LOCALHOST"),  # whom ROS alone can find
    ],
)
def test_who_sees_no_pictures_does_without_shared_memory_and_stays_where_it_was_told(
    environment, range_, peers, wanted, told
):
    environment.setenv(RANGE, range_)
    environment.setenv(PEERS, peers)
    with own_port(by_network=True):
        profile = Path(os.environ[VARIABLE]).read_text()
        assert transports(profile) == wanted
        assert os.environ[RANGE] == told
        assert ("127.0.0.1" in profile) == (told == "SYSTEM_DEFAULT")
    assert os.environ[RANGE] == range_


def test_whoever_sends_pictures_keeps_the_room_for_them(environment):
    environment.setenv(VARIABLE, str(PROFILES))
    with own_port():
        profile = Path(os.environ[VARIABLE]).read_text()
    assert "<segment_size>33554432</segment_size>" in profile
    assert offset(profile) == offset(tuned(PLAIN, os.getpid()))


def test_the_file_is_there_while_ros_begins_and_the_users_own_goes_first(environment):
    with own_port():
        file = Path(os.environ[VARIABLE])
        assert file.is_file()
    assert not file.exists()
    assert VARIABLE not in os.environ
    environment.setenv(VARIABLE, "mine.xml")
    with own_port():
        assert os.environ[VARIABLE] == "mine.xml"

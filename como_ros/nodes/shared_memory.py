"""How this process speaks Fast DDS: a port that no process had before, found soon, room for pictures.

Fast DDS counts ports upwards, so that a node that was killed and is started again gets the port of the dead
one. Whoever sends still knows the dead one for a while, takes its port in shared memory for abandoned,
removes it and makes it anew, from several processes and for every message. A living node that opens it
meanwhile listens to a file that is no longer there: it is seen by everybody and hears nobody.

By default a participant says every 3 s that it is there, and a reliable writer says every 3 s what it has
sent. Where the first word is lost, and on a busy machine it is, a node hears nobody for so long. And a dead
one is known for 20 s; killed with a lock in its hand it holds up all who share memory with it for as long.

And a sender shares half a megabyte by default, less than one VGA picture; of best-effort pictures most are
then lost between two processes of one machine. Only the sender's setting matters.

Whoever has no pictures to send or to see does without shared memory. Every sender locks the port that it
sends to, and one that is killed with the lock in its hand keeps all others waiting for a second, in the midst
of whatever they do: the arm once followed an old set-point for so long. Messages by UDP wait for nobody.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from como_ros.errors import ComoError

PROFILES = Path(__file__).parents[1] / "fastdds.xml"
VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
SHARED = Path("/dev/shm")
NEEDED_MB = 64
"""Twice the segment: another node may need one too."""
FIRST_OFFSET, OFFSETS = 13, 1000
"""Fast DDS's own offset of a port for user data is 11; every second one lies between those of discovery."""
LAST_DOMAIN = 232
DOMAINS_WITH_ROOM = range(216)
"""Higher ones end too close to the last port there is."""
RANGE, HERE, PEERS = "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST", "ROS_STATIC_PEERS"
PLAIN = """<?xml version="1.0" encoding="UTF-8" ?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <profiles>
    <participant profile_name="node" is_default_profile="true">
      <rtps>
      </rtps>
    </participant>
  </profiles>
</dds>
"""
NETWORK = """<?xml version="1.0" encoding="UTF-8" ?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>network</transport_id>
        <type>UDPv4</type>
        <maxInitialPeersRange>32</maxInitialPeersRange>
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="node" is_default_profile="true">
      <rtps>
        <userTransports>
          <transport_id>network</transport_id>
        </userTransports>
        <useBuiltinTransports>false</useBuiltinTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"""
ON_THIS_MACHINE = """
          <metatrafficUnicastLocatorList><locator/></metatrafficUnicastLocatorList>
          <initialPeersList>
            <locator><udpv4><address>127.0.0.1</address></udpv4></locator>
          </initialPeersList>"""
"""What ROS itself arranges for its range LOCALHOST, to which it adds shared memory in any case."""
FOUND_SOON = """\
        <builtin>
          <discovery_config>
            <initialAnnouncements>
              <count>10</count>
              <period><sec>0</sec><nanosec>50000000</nanosec></period>
            </initialAnnouncements>
            <leaseAnnouncement><sec>0</sec><nanosec>300000000</nanosec></leaseAnnouncement>
            <leaseDuration><sec>3</sec></leaseDuration>
          </discovery_config>
        </builtin>"""
REPAIRED_SOON = """\
  <data_writer profile_name="prompt" is_default_profile="true">
      <times>
        <heartbeat_period><sec>0</sec><nanosec>50000000</nanosec></heartbeat_period>
      </times>
    </data_writer>
  """


def share_pictures() -> None:
    """To be called before ROS begins; the user's own profiles go first."""
    if VARIABLE in os.environ or not SHARED.is_dir():
        return
    free_mb = shutil.disk_usage(SHARED).free / 1e6
    if free_mb < NEEDED_MB:
        sys.stderr.write(
            f"{SHARED} has {free_mb:.0f} MB left, {NEEDED_MB} needed: large pictures will be lost between "
            "processes; give a container more with --shm-size=1g\n"
        )
        return
    os.environ[VARIABLE] = str(PROFILES)


def domain_id() -> int:
    """The number of the ROS domain that the environment names."""
    text = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not text.isdecimal() or int(text) > LAST_DOMAIN:
        raise ComoError(f"ROS_DOMAIN_ID is {text!r}, expected a number from 0 to {LAST_DOMAIN}")
    return int(text)


@contextmanager
def own_port(by_network: bool = False) -> Iterator[bool]:
    """While ROS begins: it reads the port from a file. Yields whether it does: a user's own go first.

    `by_network` does without shared memory.
    """
    given = os.environ.get(VARIABLE)
    if given not in (None, str(PROFILES)) or domain_id() not in DOMAINS_WITH_ROOM:
        yield False
        return
    is_here = os.environ.get(RANGE) == HERE
    if is_here and os.environ.get(PEERS):  # ROS alone knows those
        by_network = False
    profile = PROFILES.read_text() if given else NETWORK if by_network else PLAIN
    arranged = is_here and by_network
    with tempfile.NamedTemporaryFile("w", prefix="como_dds_", suffix=".xml") as file:
        file.write(tuned(profile, os.getpid(), arranged))
        file.flush()
        with _set(VARIABLE, file.name), _set(RANGE, "SYSTEM_DEFAULT" if arranged else None):
            yield True


@contextmanager
def _set(name: str, value: str | None) -> Iterator[None]:
    """For a while; for no value leave it as it is."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def tuned(profile: str, pid: int, on_this_machine: bool = False) -> str:
    """The profile with a port that the next processes do not share, and little time between two words."""
    port = f"<port><offsetd3>{FIRST_OFFSET + 2 * (pid % OFFSETS)}</offsetd3></port>"
    found = FOUND_SOON.replace("<builtin>", f"<builtin>{ON_THIS_MACHINE}") if on_this_machine else FOUND_SOON
    before, rtps, behind = profile.partition("<rtps>")
    inside, end, last = behind.partition("</profiles>")
    return f"{before}{rtps}\n        {port}\n{found}{inside}{REPAIRED_SOON}{end}{last}"

"""A port that a killed process left half made silences nobody for long."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ros_probe import Probe, wait_until

from como_ros.sweeper import FOLDER, LOOKS, Sweeper

LISTENER = """
import time
from como_ros.nodes.spinning import Spinning
from como_ros.nodes.wiring import subscription

class Listener(Spinning):
    def listen(self):
        subscription(self._node, "/supervisor/state", lambda message: print("heard", flush=True))

listener = Listener("listener", by_network=False)
listener.listen()
with listener:
    time.sleep(60)
"""
SENDER = """
import sys, time
from std_msgs.msg import String
from como_ros.nodes.spinning import Spinning
from como_ros.nodes.wiring import publisher

class Sender(Spinning):
    def send(self):
        says = publisher(self._node, "/supervisor/state")
        self._node.create_timer(0.02, lambda: says.publish(String(data="ready")))

sender = Sender("sender", by_network=sys.argv[1] == "network")
sender.send()
with sender:
    time.sleep(60)
"""
BEING_MADE, READY = b"\x01", b"\x02"
PORT_BYTES = 52400


@pytest.fixture
def probe(own_domain):
    """By network: in shared memory it could be silenced itself, and the test with it."""
    probe = Probe(by_network=True)
    yield probe
    probe.close()


def ports_of(pid: int) -> set[Path]:
    """What a process has mapped; a dead one's port may lie there under the same number."""
    mapped = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()}
    files = {Path(name) for name in mapped if name.startswith(f"{FOLDER}/fastdds_port")}
    return {file for file in files if not file.name.endswith(("_el", "_sl"))}


def killed_listener() -> set[Path]:
    """Its ports, all that is left of it."""
    process = subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "heard\n"
    left = ports_of(process.pid)
    process.kill()
    process.communicate()
    return left


def leave_half_made(port: Path) -> None:
    """As a sender does that is killed while it makes the port of the dead one anew."""
    half = port.with_name(f"half_{port.name}")
    half.write_bytes(BEING_MADE + bytes(PORT_BYTES - 1))
    port.with_name(f"{port.name}_el").unlink(missing_ok=True)
    half.rename(port)


def heard_through(kept: list, seconds: float) -> int:
    before = len(kept)
    time.sleep(seconds)
    return len(kept) - before


@pytest.fixture
def half_made():
    """Ports that go whatever comes: the next test, and every other graph here, would stand still at them."""
    made: set[Path] = set()
    yield made
    for port in made:
        port.unlink(missing_ok=True)


def sends_beside_a_half_made_port(probe, processes, half_made, by: str) -> list:
    kept = probe.listen("/supervisor/state")
    processes.run([sys.executable, "-c", SENDER, by])
    wait_until(lambda: kept, "the sender")
    left = killed_listener()
    assert left
    half_made |= left
    for port in left:
        leave_half_made(port)
    return kept


def test_who_sends_to_a_half_made_port_is_silent_until_it_is_swept(probe, processes, half_made):
    kept = sends_beside_a_half_made_port(probe, processes, half_made, "shared memory")
    wait_until(lambda: not heard_through(kept, 0.5), "the sender to be silenced", 10.0)
    processes.run([sys.executable, "-m", "como_ros.sweeper"])
    wait_until(lambda: heard_through(kept, 0.5) > 5, "the sender to be heard again", 10.0)


def test_who_sends_by_network_alone_waits_for_nobodys_port(probe, processes, half_made):
    """The arm, the supervisor and the hand that teleoperates do."""
    kept = sends_beside_a_half_made_port(probe, processes, half_made, "network")
    assert heard_through(kept, 2.0) > 50


def swept(folder: Path) -> list[str]:
    sweeper = Sweeper(folder)
    return [name for _ in range(LOOKS + 1) for name in sweeper.look()]


@pytest.mark.parametrize("made", [b"", b"\x01\0", b"\0" * 4096, b"\x01" + bytes(4095)])
def test_what_stays_half_made_is_given_up(tmp_path, made):
    file = tmp_path / "fastdds_port7411"
    file.write_bytes(made)
    with file.open("rb") as waits:
        assert swept(tmp_path) == [file.name]
        assert not file.exists()
        assert waits.read(4) == b"\x03\0\0\0"  # whoever waits has it open
        assert waits.seek(0, 2) >= 4096


def test_what_is_made_locks_others_files_and_what_is_being_made_stay(tmp_path):
    for name, made in (
        ("fastdds_port7413", READY + bytes(4095)),
        ("fastdds_port7413_el", b""),
        ("fastdds_0123456789abcdef", READY + bytes(4095)),
        ("sem.fastdds_port7413_mutex", b"\x01" + bytes(31)),
    ):
        (tmp_path / name).write_bytes(made)
    young = tmp_path / "fastdds_port7415"
    sweeper = Sweeper(tmp_path)
    for _ in range(3 * LOOKS):  # made anew over and over, as senders do
        young.unlink(missing_ok=True)
        (tmp_path / "new").write_bytes(BEING_MADE + bytes(4095))
        (tmp_path / "new").rename(young)
        keeps = young.open("rb")  # its number is not given to the next
        assert sweeper.look() == []
        young.unlink()
        young.write_bytes(b"\x02" + bytes(4095))
        assert sweeper.look() == []
        keeps.close()
    assert len(list(tmp_path.iterdir())) == 5

"""A process in which Fast DDS stands still ends, and says so; one in which it runs is left alone."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ros_probe import wait_until

from como_ros.nodes import pulse

ATTACH, ALL_THREADS = 16, 0x40000000
PR_SET_NAME = 15
CLIENT = """
import sys, time
from como_ros import cli
from como_ros.nodes.spinning import Spinning

def verb(argv):
    with Spinning("client"):
        print("up", flush=True)
        sys.stdin.readline()
    print("result", flush=True)
    return 7

cli._run = verb
raise SystemExit(cli.main())
"""
DREW = """
import sys
from pathlib import Path
from como_ros import cli
from como_ros.lab.canned_feed import draw_pictures
from como_ros.nodes.spinning import Spinning

def verb(argv):
    draw_pictures(Path(sys.argv[1]), (16, 16))
    with Spinning("client"):
        return 7

cli._run = verb
raise SystemExit(cli.main())
"""
libc = ctypes.CDLL(None, use_errno=True)


def clockwork(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task")
    return next(int(t.name) for t in tasks.iterdir() if (t / "comm").read_text().startswith("dds.ev"))


def stop_thread(task: int) -> None:
    """This one alone, as a debugger does."""
    if libc.ptrace(ATTACH, task, None, None):
        pytest.skip(f"no thread may be stopped here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(task, ALL_THREADS)


def ended(process, task: int) -> int:
    """Its exit code; who stopped a thread must take note of its end first."""
    os.waitpid(task, ALL_THREADS)
    return process.wait(10)


def named(name: bytes, work) -> threading.Event:
    """A thread with a name that the kernel knows, at it until the event is set."""
    done, begun = threading.Event(), threading.Event()

    def run() -> None:
        libc.prctl(PR_SET_NAME, name, 0, 0, 0)
        begun.set()
        work(done)

    threading.Thread(target=run, daemon=True).start()
    assert begun.wait(5)
    return done


def test_a_thread_that_waits_for_ever_stands_still_and_one_that_wakes_does_not():
    awake = named(b"pulse.test.a", lambda done: [time.sleep(0.01) for _ in iter(done.is_set, True)])
    assert pulse.runs(name="pulse.test")
    stuck = named(b"pulse.test.b", lambda done: done.wait())
    wait_until(lambda: not pulse.runs(0.5, "pulse.test"), "the thread to have begun to wait")
    counted = pulse.Pulse("pulse.test")
    rounds = []
    for _ in range(4):
        rounds.append(counted.still_ticks())
        time.sleep(0.05)
    assert rounds == [0, 1, 2, 3]
    awake.set()
    stuck.set()


def test_a_node_whose_clockwork_stands_ends_and_says_why(probe, processes):
    node = processes.node("supervisor")
    probe.call("/supervisor/stop")
    task = clockwork(node.pid)
    begun = time.monotonic()
    stop_thread(task)
    assert ended(node, task) == 1
    assert time.monotonic() - begun > pulse.PERIOD_S * (pulse.STILL_TICKS - 1)
    assert "Fast DDS has locked itself in this process and hears no newcomer" in node.stderr.read()


def test_a_program_whose_clockwork_stands_still_gives_its_result_and_ends(own_domain):
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert client.stdout.readline() == "up\n"
    task = clockwork(client.pid)
    stop_thread(task)
    client.stdin.write("\n")
    client.stdin.flush()
    assert client.stdout.readline() == "result\n"
    assert ended(client, task) == 7
    assert "what it held is left to the end" in client.stderr.read()


def test_a_program_that_drew_pictures_and_spoke_ros_ends_with_its_own_code(own_domain, tmp_path):
    """The graphics driver's last act once ended `como bench camera` with 139, gates met."""
    command = [sys.executable, "-c", DREW, str(tmp_path / "pictures.npz")]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7

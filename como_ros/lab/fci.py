"""The lab as a robot controller: our MuJoCo world behind the Franka protocol, arm on 1337, hand on 1338.

franka-sim speaks the protocol; `LabServer` adds what a real controller does beyond it, `LabArm` is the world
that is moved. Motion limits and communication constraints are enforced. Beside it: the world's state in
shared memory for the cameras, and a Unix socket for the lab's own commands (`como_ros.lab.control`). Runs
until SIGINT or SIGTERM:

    python -m como_ros.lab.fci --task pick_place --seed 3 --state lab --control /tmp/como_lab.sock
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType

from como_ros.drivers.priority import stay_on_one_core
from como_ros.errors import ComoError
from como_ros.lab.arm import LabArm, LabConfig
from como_ros.lab.control import ControlSocket
from como_ros.lab.faults import FAULTS, Faults, Order
from como_ros.lab.fci_server import HOST, LabServer
from como_ros.lab.hand_server import LabHand, LabHandServer
from como_ros.lab.limit_tables import check_robot
from como_ros.lab.tasks import get_task

LOCK = Path("/tmp/como_lab_fci.lock")
LOCK_WAIT_S = 120.0


class Lab:
    """The running server: made, `run` in the main thread, told to `stop` from anywhere."""

    def __init__(self, config: LabConfig, on_ready: Callable[[], None] = lambda: None) -> None:
        self.config = config
        self.arm = LabArm(config, on_ready)
        self.server = LabServer(config.robot, self.arm)
        self.server.gripper_server = LabHandServer(HOST, LabHand(self.arm))
        self.faults = Faults(self)

    def run(self) -> None:
        try:
            self.server.start()
        finally:
            self.server.stop()

    def stop(self) -> None:
        self.arm.running = False


@contextmanager
def only_one_lab(wait_s: float = LOCK_WAIT_S, given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """The protocol's ports are fixed, so labs on one machine take turns; yields whether it is our turn."""
    deadline = time.monotonic() + wait_s
    with LOCK.open("w") as file:
        while not (ours := _locked(file.fileno())) and not given_up():
            if time.monotonic() > deadline:
                raise ComoError(
                    f"another lab holds ports 1337 and 1338 for more than {wait_s:.0f} s; stop it first"
                )
            time.sleep(0.1)
        yield ours


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shorten(record: logging.LogRecord) -> bool:
    """What a client did wrong is told in a line, without where in franka-sim it was noticed."""
    record.exc_info = None
    return True


def _check(config: LabConfig) -> None:
    """Refuse what cannot be before anything waits or starts."""
    check_robot(config.robot)
    get_task(config.task).sample(config.seed, config.spread)
    if config.fault:
        Order.parse(config.fault)


def serve(config: LabConfig, verbose: bool = False) -> None:
    """Run the lab in this process, on one core of it, until SIGINT or SIGTERM."""
    _check(config)
    stay_on_one_core()
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(message)s")
    if not verbose:
        logging.getLogger("franka_sim.franka_sim_server").addFilter(_shorten)
    stopped = threading.Event()
    labs: list[Lab] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        stopped.set()
        for lab in labs:
            lab.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    def announce() -> None:
        if stopped.is_set():
            labs[0].stop()
        if config.fault:
            labs[0].faults.set(Order.parse(config.fault))
        where = f"arm {HOST}:1337, hand {HOST}:1338, task {config.task}, seed {config.seed}"
        print(f"lab ready: {where}, state {config.state}, control {config.control}", flush=True)  # noqa: T201

    with only_one_lab(given_up=stopped.is_set) as ours:
        if not ours:
            return
        lab = Lab(config, announce)
        labs.append(lab)
        with ControlSocket(Path(config.control), lab):
            lab.run()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m como_ros.lab.fci",
        description="Serve the lab's arm.",
        epilog="Faults: " + "; ".join(f"{name}: {fault.about}" for name, fault in FAULTS.items()),
    )
    for setting in fields(LabConfig):
        parser.add_argument(f"--{setting.name}", type=type(setting.default), default=setting.default)
    parser.add_argument("--verbose", action="store_true")
    options = vars(parser.parse_args(argv))
    verbose = options.pop("verbose")
    try:
        serve(LabConfig(**options), verbose)
    except (ComoError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A GELLO leader arm: seven Dynamixel servos are the Panda's joints, an eighth is the gripper's trigger.

The servos are only read, their torque is off. The leader has no deadman of its own: whoever combines it with
one sets `held`. Tested against a pseudo-terminal that speaks Dynamixel 2.0; no servo has been connected.

Calibrate once, with the leader held in the arm's home pose and the trigger open:
    python -m como_ros.drivers.teleop_leader PORT gello.json
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from math import pi
from pathlib import Path
from typing import Any

import numpy as np

from como_ros.control.homing import HOME_Q
from como_ros.control.kinematics import ee_pose7
from como_ros.drivers.teleop import OPEN_M, Reading
from como_ros.errors import ComoError

JOINTS = 7
TICKS = 4096
"""Of one turn."""
TORQUE_ENABLE, PRESENT_POSITION, POSITION_BYTES = 64, 132, 4
STALE_S, RETRY_S = 0.2, 0.02
NO_PORT = (
    "the leader arm needs its serial port; give --leader-port /dev/serial/by-id/... "
    "(ros2 launch: leader_port:=...)"
)


@dataclass(frozen=True)
class LeaderCalibration:
    """How ticks of the servos become joint angles and a width."""

    signs: tuple[float, ...] = (1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    """Which way each servo is mounted, 1 or -1."""
    offsets_rad: tuple[float, ...] = (0.0,) * JOINTS
    trigger_open_ticks: int = 2048
    trigger_closed_ticks: int = 1536
    ids: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    """Of the seven joints, then of the trigger."""
    baud: int = 57600

    def __post_init__(self) -> None:
        for name, count in (("signs", JOINTS), ("offsets_rad", JOINTS), ("ids", JOINTS + 1)):
            if len(getattr(self, name)) != count:
                raise ComoError(f"leader: {name} has {len(getattr(self, name))} values, {count} needed")
        if not set(self.signs) <= {1.0, -1.0}:
            raise ComoError(f"leader: signs are 1 or -1, got {list(self.signs)}")
        if self.trigger_open_ticks == self.trigger_closed_ticks:
            raise ComoError("leader: the trigger's open and closed ticks are the same; calibrate again")


def joints(calibration: LeaderCalibration, ticks: np.ndarray) -> np.ndarray:
    """(8,) ticks -> (7,) joint angles of the arm that the leader shows."""
    angles = np.asarray(ticks[:JOINTS], float) * 2 * pi / TICKS
    return np.array(calibration.signs) * angles + np.array(calibration.offsets_rad)


def width_m(calibration: LeaderCalibration, ticks: np.ndarray) -> float:
    start, end = calibration.trigger_closed_ticks, calibration.trigger_open_ticks
    return OPEN_M * float(np.clip((ticks[JOINTS] - start) / (end - start), 0.0, 1.0))


def calibrated(calibration: LeaderCalibration, ticks: np.ndarray, q: np.ndarray) -> LeaderCalibration:
    """The offsets that make these ticks the pose `q`; the trigger is open, its travel is kept."""
    unset = replace(calibration, offsets_rad=(0.0,) * JOINTS)
    opened = int(ticks[JOINTS])
    travel = calibration.trigger_closed_ticks - calibration.trigger_open_ticks
    return replace(
        calibration,
        offsets_rad=tuple((q - joints(unset, ticks)).tolist()),
        trigger_open_ticks=opened,
        trigger_closed_ticks=opened + travel,
    )


def load(path: Path) -> LeaderCalibration:
    try:
        told = json.loads(path.read_text())
        return LeaderCalibration(**{key: _tuples(value) for key, value in told.items()})
    except FileNotFoundError as error:
        raise ComoError(
            f"{path} is missing; make it with `python -m como_ros.drivers.teleop_leader PORT {path}`"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ComoError(f"{path} is no leader's calibration ({error}); make it anew") from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Bus:
    """The servos on one serial port."""

    def __init__(self, port: str, calibration: LeaderCalibration) -> None:
        sdk = _sdk()
        self._port, self._packets = sdk.PortHandler(port), sdk.PacketHandler(2.0)
        try:
            self._port.openPort()
            self._port.setBaudRate(calibration.baud)
        except OSError as error:
            raise ComoError(
                f"{port} cannot be opened ({error.strerror or error}); plug the leader in, and allow its "
                "port with `sudo usermod -aG dialout $USER`, then log in again"
            ) from error
        self._ids = calibration.ids
        self._group = sdk.GroupSyncRead(self._port, self._packets, PRESENT_POSITION, POSITION_BYTES)
        for number in self._ids:
            self._group.addParam(number)
            self._packets.write1ByteTxRx(self._port, number, TORQUE_ENABLE, 0)

    def ticks(self) -> np.ndarray:
        """(8,) present positions; waits for the servos' answers, some 20 ms."""
        if told := self._group.txRxPacket():
            missing = [i for i in self._ids if self._packets.ping(self._port, i)[1]]
            why = f"servos {missing} do not answer" if missing else self._packets.getTxRxResult(told)
            raise ConnectionError(f"leader: {why}")
        raw = [self._group.getData(i, PRESENT_POSITION, POSITION_BYTES) for i in self._ids]
        return np.array(raw, np.uint32).astype(np.int32)

    def close(self) -> None:
        self._port.closePort()


class Leader:
    """Read in a thread of its own; `read` gives the newest, or raises where there is none."""

    def __init__(self, port: str, calibration: LeaderCalibration) -> None:
        if not port:
            raise ComoError(NO_PORT)
        self._calibration = calibration
        self._bus = Bus(port, calibration)
        self._error = ""
        self._newest = (time.monotonic(), self._bus.ticks())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="leader", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                self._newest, self._error = (time.monotonic(), self._bus.ticks()), ""
            except OSError as error:  # one lost packet is no reason to stop; silence is
                self._error = str(error)
                self._ended.wait(RETRY_S)

    def read(self) -> Reading:
        heard_s, ticks = self._newest
        age_s = time.monotonic() - heard_s
        if age_s > STALE_S:
            raise ConnectionError(self._error or f"the leader has been silent for {age_s:.1f} s")
        pose7 = ee_pose7(joints(self._calibration, ticks))
        return Reading(pose7=pose7, width_m=width_m(self._calibration, ticks))

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)
        self._bus.close()


def _sdk() -> Any:
    try:
        import dynamixel_sdk
    except ImportError as error:
        raise ComoError("the leader arm needs dynamixel-sdk; pip install 'como_ros[devices]'") from error
    return dynamixel_sdk


def main(arguments: list[str]) -> int:
    """Write the calibration of a leader that is held in the arm's home pose, its trigger open."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m como_ros.drivers.teleop_leader PORT FILE\n")
        return 2
    try:
        bus = Bus(arguments[0], LeaderCalibration())
        found = calibrated(LeaderCalibration(), bus.ticks(), np.array(HOME_Q))
        bus.close()
        Path(arguments[1]).write_text(json.dumps(asdict(found), indent=1) + "\n")
    except (ComoError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

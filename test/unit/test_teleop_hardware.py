"""Reports, axes, ticks and errors of the devices that people hold, without those devices."""

import errno
import os
import struct
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import numpy as np
import pytest

from como_ros.control.homing import HOME_Q
from como_ros.control.kinematics import ee_pose7
from como_ros.drivers import teleop_gamepad as pad
from como_ros.drivers import teleop_leader as leader
from como_ros.drivers import teleop_spacemouse as mouse
from como_ros.errors import ComoError

# SpaceMouse --------------------------------------------------------------------------------------

PUSHED_AWAY = bytes.fromhex("01 0000 a2fe 0000")  # y = -350: the cap is pushed away from the person
PULLED_UP = bytes.fromhex("01 0000 0000 a2fe 0000 0000 0000")  # all six in one report, as newer models send
TWISTED = bytes.fromhex("02 0000 0000 af00")  # rotation about its z, which points down, by 175
BOTH_BUTTONS = bytes.fromhex("03 03 00")


def read(*reports: bytes):
    state = mouse.CapState()
    for report in reports:
        state = mouse.parse(state, report)
    return mouse.reading(state)


def test_pushing_the_cap_away_moves_forward_and_lifting_it_moves_up():
    np.testing.assert_allclose(read(PUSHED_AWAY).push6, [1, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(read(PULLED_UP).push6, [0, 0, 1, 0, 0, 0], atol=1e-12)


def test_translation_and_rotation_arrive_apart_and_count_together():
    np.testing.assert_allclose(read(PUSHED_AWAY, TWISTED).push6, [1, 0, 0, 0, 0, -0.5], atol=1e-12)
    np.testing.assert_allclose(read(TWISTED, PULLED_UP).push6, [0, 0, 1, 0, 0, 0], atol=1e-12)


def test_the_first_button_is_the_deadman_and_the_second_the_gripper():
    pressed, released = read(BOTH_BUTTONS), read(BOTH_BUTTONS, bytes.fromhex("03 00 00"))
    assert (pressed.held, pressed.buttons) == (True, {"toggle"})
    assert (released.held, released.buttons) == (False, frozenset())


@pytest.mark.parametrize(
    "report", [b"\x01", b"\x01\x00\x00", b"\x17\x64\x00", b"\x03", b"\x02" + b"\xff" * 3]
)
def test_a_report_that_is_short_or_unknown_changes_nothing(report):
    assert mouse.parse(mouse.CapState((0.5,) * 6, 1), report) == mouse.CapState((0.5,) * 6, 1)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"vendor_id": 0x256F, "product_id": 0xC635, "usage_page": 1, "usage": 8}, True),
        ({"vendor_id": 0x046D, "product_id": 0xC626, "usage_page": 1, "usage": 8}, True),
        ({"vendor_id": 0x256F, "product_id": 0xC664, "usage_page": 1, "usage": 6}, False),
        ({"vendor_id": 0x046D, "product_id": 0xC52B, "usage_page": 1, "usage": 2}, False),
    ],
)
def test_ordinary_mice_and_keyboards_of_the_same_makers_are_left_alone(row, found):
    assert mouse.is_spacemouse(row) is found


def test_without_a_spacemouse_the_error_says_what_to_do():
    hidraw = pytest.importorskip("hidraw")
    if any(map(mouse.is_spacemouse, hidraw.enumerate())):
        pytest.skip("a SpaceMouse is plugged in")
    with pytest.raises(ComoError, match="no SpaceMouse found; plug it in"):
        mouse.SpaceMouse()


def test_a_spacemouse_that_may_not_be_opened_is_an_error_with_the_udev_rule(tmp_path):
    pytest.importorskip("hidraw")
    with pytest.raises(ComoError, match=r"cannot be opened; allow it once with: .*70-spacemouse\.rules"):
        mouse._open(str(tmp_path / "hidraw0").encode())


# Gamepad -----------------------------------------------------------------------------------------


def test_sticks_move_as_seen_from_behind_the_arm():
    np.testing.assert_array_equal(pad.reading({pad.ABS_Y: -1.0}, frozenset()).push6, [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(pad.reading({pad.ABS_X: -1.0}, frozenset()).push6, [0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(pad.reading({pad.ABS_RY: -1.0}, frozenset()).push6, [0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(pad.reading({pad.ABS_RX: -1.0}, frozenset()).push6, [0, 0, 0, 0, 0, 1])


def test_the_left_bumper_is_the_deadman_and_buttons_have_names():
    found = pad.reading({}, frozenset({pad.BTN_TL, pad.BTN_START, pad.BTN_A}))
    assert (found.held, found.buttons) == (True, {"start", "close"})


@pytest.mark.parametrize(
    ("row", "found"), [((0, 0, 255), -1.0), ((255, 0, 255), 1.0), ((0, -8, 8), 0), ((5, 7, 7), 0)]
)
def test_raw_axes_are_centred(row, found):
    assert pad.centred(*row) == pytest.approx(found)


def test_without_a_gamepad_the_error_says_what_to_do():
    evdev = pytest.importorskip("evdev")
    if evdev.list_devices():
        pytest.skip("this machine has input devices")
    with pytest.raises(ComoError, match="gamepad"):
        pad.Gamepad()


def test_a_virtual_gamepad_drives_and_its_loss_is_an_error():
    evdev = pytest.importorskip("evdev")
    if not os.access("/dev/uinput", os.W_OK):
        pytest.skip("needs /dev/uinput, which this machine lacks")
    codes = evdev.ecodes
    axis = evdev.AbsInfo(value=0, min=-32768, max=32767, fuzz=0, flat=0, resolution=0)
    abilities = {
        codes.EV_ABS: [(code, axis) for code in pad.AXES],
        codes.EV_KEY: [pad.BTN_A, pad.BTN_TL, pad.BTN_START],
    }
    with evdev.UInput(abilities, name="como test pad") as virtual:
        time.sleep(0.5)
        gamepad = pad.Gamepad()
        virtual.write(codes.EV_ABS, pad.ABS_Y, -32768)
        virtual.write(codes.EV_KEY, pad.BTN_TL, 1)
        virtual.syn()
        time.sleep(0.05)
        found = gamepad.read()
        assert found.held
        assert found.push6[0] == pytest.approx(1.0, abs=1e-3)
    time.sleep(0.2)
    with pytest.raises(OSError, match=os.strerror(errno.ENODEV)):
        gamepad.read()


# Leader arm --------------------------------------------------------------------------------------


def crc16(data: bytes) -> int:
    """As Dynamixel 2.0 defines it: polynomial 0x8005, nothing reflected, starting at 0."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1) ^ 0x8005 if value & 0x8000 else value << 1
    return value & 0xFFFF


class Servos:
    """The far end of the leader's cable: a pseudo-terminal that speaks Dynamixel 2.0."""

    def __init__(self, ticks: dict[int, int]) -> None:
        self.ticks, self.torque, self.dumb = ticks, dict.fromkeys(ticks, 1), set()
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        self.port = os.ttyname(self._far)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        held = b""
        while True:
            try:
                held += os.read(self._near, 256)
            except OSError:
                return
            while (start := held.find(b"\xff\xff\xfd\x00")) >= 0 and len(held) >= start + 7:
                end = start + 7 + int.from_bytes(held[start + 5 : start + 7], "little")
                if len(held) < end:
                    break
                self._answer(held[start:end])
                held = held[end:]

    def _answer(self, packet: bytes) -> None:
        assert crc16(packet[:-2]) == int.from_bytes(packet[-2:], "little")
        number, instruction, body = packet[4], packet[7], packet[8:-2]
        if instruction == 0x03 and number not in self.dumb:  # write
            address = int.from_bytes(body[:2], "little")
            if address == leader.TORQUE_ENABLE:
                self.torque[number] = body[2]
            self._say(number, b"")
        elif instruction == 0x01 and number not in self.dumb:  # ping
            self._say(number, struct.pack("<HB", 1190, 50))
        elif instruction == 0x82:  # sync read
            assert struct.unpack("<HH", body[:4]) == (leader.PRESENT_POSITION, leader.POSITION_BYTES)
            for each in body[4:]:
                if each not in self.dumb:
                    self._say(each, struct.pack("<i", self.ticks[each]))

    def _say(self, number: int, values: bytes) -> None:
        body = b"\x55\x00" + values
        head = b"\xff\xff\xfd\x00" + bytes([number]) + struct.pack("<H", len(body) + 2)
        os.write(self._near, head + body + struct.pack("<H", crc16(head + body)))

    def close(self) -> None:
        os.close(self._near)
        os.close(self._far)


TICKS = np.array([2048, 1500, 2100, -700, 2048, 3000, 4096, 2048])


@pytest.fixture
def servos():
    pytest.importorskip("dynamixel_sdk")
    servos = Servos(dict(enumerate(TICKS.tolist(), start=1)))
    yield servos
    servos.close()


def wait_until(true, what: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_calibrated_leader_shows_the_arms_pose_through_the_real_protocol(servos):
    calibration = leader.calibrated(leader.LeaderCalibration(), TICKS, np.array(HOME_Q))
    hand = leader.Leader(servos.port, calibration)
    found = hand.read()
    np.testing.assert_allclose(found.pose7, ee_pose7(np.array(HOME_Q)), atol=1e-9)
    assert found.width_m == pytest.approx(0.08)
    assert set(servos.torque.values()) == {0}
    servos.ticks[1] += 1024
    turned = np.array(HOME_Q) + [np.pi / 2, 0, 0, 0, 0, 0, 0]
    wait_until(lambda: np.allclose(hand.read().pose7, ee_pose7(turned)), "a quarter turn at the base")
    hand.close()


def test_a_servo_that_falls_silent_is_an_error_that_names_it(servos):
    hand = leader.Leader(servos.port, leader.LeaderCalibration())
    servos.dumb.add(4)
    with pytest.raises(ConnectionError, match=r"leader: servos \[4\] do not answer"):
        wait_until(lambda: hand.read() is None, "an error")
    hand.close()


def test_calibrating_writes_a_file_that_loads_again(servos, tmp_path):
    path = tmp_path / "gello.json"
    command = [sys.executable, "-m", "como_ros.drivers.teleop_leader", servos.port, str(path)]
    assert subprocess.run(command, timeout=60).returncode == 0
    found = leader.joints(leader.load(path), TICKS)
    np.testing.assert_allclose(found, HOME_Q, atol=1e-9)


def test_a_port_that_is_not_there_is_an_error_with_the_remedy():
    pytest.importorskip("dynamixel_sdk")
    with pytest.raises(ComoError, match=r"cannot be opened.*usermod -aG dialout"):
        leader.Bus("/dev/nowhere", leader.LeaderCalibration())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"signs": [1, 1]}', "signs has 2 values, 7 needed"),
        ('{"signs": [1, 1, 1, 1, 1, 1, 2]}', "signs are 1 or -1"),
        ('{"trigger_open_ticks": 1, "trigger_closed_ticks": 1}', "open and closed ticks are the same"),
        ('{"angle": 3}', "no leader's calibration"),
        ("[]", "no leader's calibration"),
        ("{", "no leader's calibration"),
    ],
)
def test_a_calibration_that_is_none_is_refused(tmp_path, text, sentence):
    path = tmp_path / "gello.json"
    path.write_text(text)
    with pytest.raises(ComoError, match=sentence):
        leader.load(path)


def test_a_missing_calibration_says_how_to_make_one():
    with pytest.raises(ComoError, match=r"make it with `python -m como_ros\.drivers\.teleop_leader"):
        leader.load(Path("/nowhere/gello.json"))

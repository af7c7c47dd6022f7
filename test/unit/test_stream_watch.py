"""Streams that are silent, late, slow or lossy are named within a second; healthy ones never."""

import struct

import pytest

from como_ros.stream_watch import Numbering, StreamWatch, stamp_in
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000
FRONT, WRIST = "/front/color/image_raw", "/wrist/color/image_raw"
STATE = ("/arm/joint_states", "/arm/ee_pose")


def message(stamp_ns: int) -> bytes:
    return b"\x00\x01\x00\x00" + struct.pack("<iI", *divmod(stamp_ns, 10**9)) + b"rest"


class Station:
    """Two cameras at 10 Hz and the arm at 100, watched every 100 ms of a made-up clock."""

    def __init__(self) -> None:
        self.watch = StreamWatch(Contract())
        self.now_s = 5.0
        self.told: list[tuple[float, tuple[str, ...]]] = []
        self.watch.begin(self.now_s)

    def send(self, topic: str, late_s: float = 0.0) -> None:
        now_ns = START_NS + round(self.now_s * 1e9)
        self.watch.note(topic, self.now_s, now_ns, message(now_ns - round(late_s * 1e9)))

    def run(self, seconds: float, cameras=(FRONT, WRIST), every: int = 10, late_s: float = 0.0) -> None:
        """`every` of the front camera is in ticks of 10 ms."""
        self.told.clear()
        for tick in range(round(seconds * 100)):
            for topic in STATE:
                self.send(topic)
            if FRONT in cameras and tick % every == 0:
                self.send(FRONT, late_s)
            if WRIST in cameras and tick % 10 == 0:
                self.send(WRIST)
            if tick % 10 == 9:
                self.told.append((self.now_s, self.watch.check(self.now_s)))
            self.now_s += 0.01

    def first(self, words: str) -> float:
        return next(at for at, said in self.told if any(words in sentence for sentence in said))


def test_a_healthy_station_is_never_accused():
    station = Station()
    station.run(5.0)
    assert not any(said for _, said in station.told)
    assert station.watch.flags == ()
    figures = station.watch.figures(station.now_s)
    assert figures["images/front Hz"] == pytest.approx(10, abs=1)
    assert figures["joints Hz"] == pytest.approx(100, abs=1)
    assert figures["images/front longest_gap_s"] == pytest.approx(0.1)


def test_a_camera_that_falls_silent_is_named_within_a_second_and_flags_the_episode_also_when_it_is_back():
    station = Station()
    station.run(2.0)
    begun_s = station.now_s
    station.run(2.0, cameras=(WRIST,))
    assert station.first("images/front silent for") - begun_s < 0.7
    assert not any("wrist" in sentence for _, said in station.told for sentence in said)
    station.run(3.0)
    assert station.told[-1][1] == ()
    (flag,) = station.watch.flags
    assert flag.startswith("images/front silent for 2.")
    assert flag.endswith("first at 2.5 s")


def test_a_stream_that_never_came_is_silent_and_one_that_nobody_needs_is_not():
    station = Station()
    station.run(2.0, cameras=(WRIST,))
    assert [flag.split(" for")[0] for flag in station.watch.flags] == ["images/front silent"]


def test_a_stream_that_died_before_the_episode_is_named_though_no_observation_needs_it():
    depth, wrench, info = (
        "/wrist/aligned_depth_to_color/image_raw",
        "/arm/external_wrench",
        "/front/color/camera_info",
    )
    station = Station()
    station.watch.hear(depth)
    station.send(wrench)
    station.watch.begin(station.now_s, [info])
    station.run(2.0)
    flagged = {flag.split(" silent")[0] for flag in station.watch.flags}
    assert flagged == {"depth/wrist", "wrench", "camera_info/front"}
    assert station.first("depth/wrist silent for") - 5.0 < 0.7
    assert station.watch.figures(station.now_s)["depth/wrist Hz"] == 0


def test_frames_that_come_too_late_are_named_with_their_age():
    station = Station()
    station.run(2.0)
    begun_s = station.now_s
    station.run(2.0, late_s=0.8)
    assert station.first("images/front 0.80 s late") - begun_s < 1.2


def test_a_camera_that_slows_down_is_named_with_its_rate():
    station = Station()
    station.run(2.0)
    begun_s = station.now_s
    station.run(3.0, every=20)
    assert station.first("images/front slow, 5.0 Hz") - begun_s < 1.0


@pytest.mark.parametrize("every", [25, 33, 40])
def test_a_camera_that_crawls_is_slow_and_not_healthy_for_want_of_pictures(every):
    """Fewer than five pictures a second, none half a second after the last, were judged by nothing."""
    station = Station()
    station.run(2.0)
    begun_s = station.now_s
    station.run(4.0, every=every)
    assert station.first(f"images/front slow, {100 / every:.1f} Hz") - begun_s < 1.5


def test_a_camera_that_comes_late_or_back_is_not_slow_in_its_first_pictures():
    station = Station()
    station.run(2.0, cameras=(WRIST,))
    station.run(2.0)
    station.run(1.2, cameras=(WRIST,))
    station.run(2.0)
    assert [flag for flag in station.watch.flags if "slow" in flag] == []


def test_a_camera_of_30_hz_is_slow_at_15_though_a_policy_could_live_with_it():
    station = Station()
    station.run(3.0, every=3)
    station.run(3.0, every=7)
    assert station.watch.flags[0].startswith("images/front slow, 14.3 Hz")


def test_losses_are_counted_and_stay():
    station = Station()
    station.watch.lose(WRIST, 2, station.now_s)
    station.watch.lose(WRIST, 3, station.now_s + 1)
    station.run(1.0)
    assert station.told[-1][1] == ("images/wrist lost 5 messages",)
    assert station.watch.flags == ("images/wrist lost 5 messages, first at 0.0 s",)


def test_numbers_left_out_are_counted_for_each_sender():
    numbering = Numbering()
    missing = [numbering.missing(sender, number) for sender, number in ((b"a", 7), (b"b", 1), (b"a", 8))]
    assert missing == [0, 0, 0]
    assert numbering.missing(b"a", 12) == 3
    assert numbering.missing(b"a", 1) == 0


def test_a_recorder_that_was_held_up_accuses_nobody():
    station = Station()
    station.run(2.0)
    station.now_s += 1.5
    assert station.watch.check(station.now_s) == ()
    assert station.watch.flags == ()


def test_the_next_episode_begins_without_flags():
    station = Station()
    station.run(2.0, cameras=(WRIST,))
    station.watch.begin(station.now_s)
    station.run(2.0)
    assert station.watch.flags == ()


def test_stamps_are_read_in_either_byte_order_and_a_cut_message_has_none():
    assert stamp_in(message(START_NS + 7)) == START_NS + 7
    assert stamp_in(b"\x00\x00\x00\x00" + struct.pack(">iI", *divmod(START_NS, 10**9))) == START_NS
    assert stamp_in(b"\x00\x01\x00\x00\x01") is None

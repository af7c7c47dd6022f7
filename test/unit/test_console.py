"""The console without ROS: who is let in, when a browser's hand counts, which lights are red."""

import base64
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from http.client import RemoteDisconnected
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("viser")
import msgspec
import viser
from bag_messages import CONTRACT, recording, write_episode
from console_house import House
from viser import _messages
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from como_ros.bag_checks import KILLED
from como_ros.bag_writer import EpisodeWriter
from como_ros.console.gate import SECRET_HEADER, Request, check_token, refusal
from como_ros.console.hand import SETTLE_S, SILENT_S, PageHand, WithDeadman, push
from como_ros.console.page import MAX_WORDS, plain
from como_ros.console.scene import PLAN_M, hand_at
from como_ros.console.shapes import HAND, plain_meshes
from como_ros.console.shelf import THUMB_PX, EpisodeList, not_seen, summary
from como_ros.console.view import STALE_PICTURE_S, Lights, Words, too_long
from como_ros.control.homing import HOME_Q
from como_ros.control.kinematics import ee_pose7, link_frames
from como_ros.drivers.teleop import Reading
from como_ros.errors import ComoError
from como_ros.graphs import Deployment, graph

TOKEN = "correct horse battery"


def request(target="/", host="127.0.0.1:8080", **headers: str) -> Request:
    rows = [f"GET {target} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers.items())]
    return Request.parse(("\r\n".join(rows) + "\r\n\r\n").encode())


# Who is let in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080"])
def test_on_this_machine_everybody_may_come_in_without_a_token(host):
    assert refusal(request(host=host), "") == ""


@pytest.mark.parametrize("others", ['state={"a":1}', "a b=1", "list[0]=1", "flag", 'said="x;y"'])
def test_cookies_of_other_pages_on_the_same_host_keep_nobody_out(others):
    """A browser sends those of every port; one of another grammar hid ours."""
    for cookies in (f"{others}; como_console={TOKEN}", f"como_console={TOKEN}; {others}"):
        assert refusal(request(Cookie=cookies), TOKEN) == ""
    assert refusal(request(Cookie=others), TOKEN) == "no token"


@pytest.mark.parametrize(
    ("asked", "token", "why"),
    [
        (request(host="evil.example"), "", "no name of loopback"),
        (request(Origin="http://evil.example"), "", "a page of http://evil.example asks"),
        (request(Origin="null"), "", "a page of null asks"),
        (request(), TOKEN, "no token"),
        (request("/?token=guess"), TOKEN, "wrong token"),
        (request("/wire", Cookie="como_console=guess"), TOKEN, "wrong token"),
        (request("/?token=" + TOKEN.replace(" ", "+"), Origin="http://evil.example"), TOKEN, "a page of"),
    ],
)
def test_strangers_are_refused_with_the_reason(asked, token, why):
    assert why in refusal(asked, token)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nX-Como-Gate: c\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
    ],
)
def test_what_is_no_plain_get_is_not_read_further(head):
    with pytest.raises(ValueError):  # noqa: PT011 - every sentence differs
        Request.parse(head)


def test_beyond_this_machine_a_token_is_demanded():
    check_token("127.0.0.1", "")
    check_token("0.0.0.0", "correct-horse-battery")
    with pytest.raises(ComoError, match="needs a token of 12 characters"):
        check_token("0.0.0.0", "short")
    with pytest.raises(ComoError, match="letters, digits"):
        check_token("127.0.0.1", "correct; horse battery")


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("locked"), "correct-horse-battery")
    yield house
    house.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("open"), "")
    yield house
    house.close()


@pytest.mark.parametrize("path", ["/", "/console.js", "/scene/", "/?token=wrong", "/scene/?token=wrong"])
def test_a_wrong_token_gets_no_page_and_is_logged(locked, path):
    before = len(locked.log)
    status, headers, body = locked.get(path)
    assert (status, body) == (403, b"")
    assert "Set-Cookie" not in headers
    assert len(locked.log) == before + 1
    assert "refused 127.0.0.1" in locked.log[-1]


@pytest.mark.parametrize("path", ["/wire", "/scene/", "/wire?token=wrong", "/scene?token=wrong"])
def test_a_wrong_token_gets_no_websocket(locked, path):
    with pytest.raises(InvalidStatus, match="403"):
        locked.wire(path)
    with pytest.raises(InvalidStatus, match="403"):
        locked.wire(path.partition("?")[0], Cookie="como_console=wrong")


def test_the_right_token_becomes_a_cookie_that_opens_everything(locked):
    status, headers, _ = locked.get("/?token=correct-horse-battery")
    assert (status, headers["Location"]) == (303, "/")
    assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]
    cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
    assert b"<title>como console</title>" in locked.get("/", **cookie)[2]
    assert b"Viser" in locked.get("/scene/", **cookie)[2]
    with locked.wire(**cookie) as wire:
        assert "you" in json.loads(wire.recv(5))


def test_a_page_of_another_site_gets_nothing_even_without_a_token(opened):
    with pytest.raises(InvalidStatus, match="403"):
        opened.wire(Origin="http://evil.example")
    assert opened.get("/", Host="evil.example")[0] == 403
    assert opened.get("/")[0] == 200


@pytest.mark.parametrize(
    "path", ["/../gate.py", "/%2e%2e/gate.py", "/static/", "/nothing.html", "/index.html/"]
)
def test_only_the_pages_own_files_are_served(opened, path):
    assert opened.get(path)[0] == 404


def test_the_3d_view_closes_whoever_comes_round_the_gate(opened):
    address = f"ws://127.0.0.1:{opened.scene.port}"
    protocol = [f"viser-v{viser.__version__}"]
    with connect(address, subprotocols=protocol) as stranger, pytest.raises(ConnectionClosed):
        stranger.recv(5)
    through = f"ws://127.0.0.1:{opened.port}/scene"
    with connect(through, subprotocols=protocol, additional_headers={SECRET_HEADER: "guess"}) as guest:
        assert guest.recv(5)


def test_a_request_without_end_gets_no_answer(opened):
    with pytest.raises((RemoteDisconnected, OSError)):
        opened.get("/" + "a" * 20000)


def wait_until(true, what: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_buttons_words_and_the_deadman_arrive_and_a_closed_page_lets_go(opened):
    with opened.wire() as wire:
        wire.send(json.dumps({"press": "start"}))
        wire.send(json.dumps({"press": "rm -rf"}))
        wire.send(json.dumps({"say": "  pick   up the cube "}))
        wire.send(json.dumps({"hold": True, "keys": ["w"], "at": 0.0}))
        wait_until(lambda: opened.hand.holder is not None, "the hold")
        assert opened.hand.read().push6[0] == 1.0
        assert (opened.pressed, opened.said) == (["start"], ["pick up the cube"])
    gone = time.monotonic()
    wait_until(lambda: opened.hand.holder is None, "the closed page to let go")
    assert time.monotonic() - gone < SILENT_S


def test_stop_takes_every_hand_off_the_deadman_and_nonsense_lets_go(opened):
    with opened.wire() as wire:
        for last in ({"press": "stop"}, {"hold": True}, {"hold": True, "keys": 3, "at": "x"}, [], 7):
            wire.send(json.dumps({"hold": False}))
            wire.send(json.dumps({"hold": True, "keys": [], "at": 0.0}))
            wait_until(lambda: opened.hand.holder is not None, "the hold")
            wire.send(json.dumps(last))
            wait_until(lambda: opened.hand.holder is None, f"{last} to let go")
    assert opened.pressed[-1] == "stop"


def pictures_until_quiet(wire) -> list[bytes]:
    got = []
    with suppress(TimeoutError):
        while True:
            told = wire.recv(0.3)
            got += [told] if isinstance(told, bytes) else []
    return got


def test_a_page_that_shows_nothing_gets_no_second_picture_and_then_the_newest(opened):
    with opened.wire() as wire:
        for name in (b"first", b"second", b"third"):
            opened.page.pictures = {0: name, 1: b"other"}
            got = pictures_until_quiet(wire)
            assert got == ([b"\0first", b"\1other"] if name == b"first" else [])
        wire.send(json.dumps({"seen": 0}))
        assert pictures_until_quiet(wire) == [b"\0third"]
    opened.page.forget()


MINE, THEIRS = "a" * 32, "b" * 32


@contextmanager
def gizmo_in(house: House, view: str):
    """The gizmo of the 3-D view in somebody's page; call it to drag it along x."""
    address = f"ws://127.0.0.1:{house.port}/scene?view={view}"
    protocol = [f"viser-v{viser.__version__}"]
    with connect(address, subprotocols=protocol, max_size=None, max_queue=None) as socket:

        def drag(x_m: float) -> None:
            said = _messages.TransformControlsUpdateMessage("/gizmo", (0.0, 1.0, 0.0, 0.0), (x_m, 0.0, 0.3))
            socket.send(msgspec.msgpack.encode(said.as_serializable_dict()))

        yield drag


def test_only_the_gizmo_of_who_may_pull_is_followed_and_the_others_snap_back(opened):
    opened.may_pull = lambda view: view == MINE
    opened.scene.place_gizmo(GIZMO7)
    with gizmo_in(opened, MINE) as mine, gizmo_in(opened, THEIRS) as theirs, gizmo_in(opened, "") as nameless:
        for number, stranger in enumerate((theirs, nameless)):
            stranger(0.1)
            time.sleep(0.2)
            mine(0.6 + number)
            wait_until(lambda number=number: opened.scene.gizmo7[0] == 0.6 + number, "the pull")
        theirs(0.1)
        wait_until(lambda: opened.seen == [THEIRS, "", THEIRS], "the strangers to be asked about")
        assert opened.scene.gizmo7[0] == 1.6
    opened.may_pull = opened.hand.may_pull


def test_while_one_page_holds_only_its_own_view_may_pull(hand, now):
    assert hand.may_pull(THEIRS)
    hand.looks_through(1, MINE)
    hand.looks_through(2, THEIRS)
    hand.beat(1, frozenset(), 0.0)
    assert [hand.may_pull(view) for view in (MINE, THEIRS, "")] == [True, False, False]
    now.s += 2 * SILENT_S
    assert hand.may_pull(THEIRS)
    hand.leave(1)
    hand.beat(1, frozenset(), 0.0)
    assert not hand.may_pull(MINE)


# The browser's hand ------------------------------------------------------------------------------


class Now:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


GIZMO7 = np.array([0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def hand(now):
    return PageHand(lambda: GIZMO7, now)


def test_a_page_that_falls_silent_has_let_go(hand, now):
    hand.beat(1, frozenset(), 0.0)
    now.s += SILENT_S * 0.9
    assert hand.read().held
    now.s += SILENT_S * 0.2
    assert not hand.read().held


def test_beats_that_were_held_up_on_the_way_do_not_count(hand, now):
    """A second of Wi-Fi trouble delivers twenty beats at once: the hand may be gone by then."""
    hand.beat(1, frozenset(), 7.0)
    now.s += SILENT_S * 0.9
    hand.beat(1, frozenset(), 7.0 - SILENT_S * 0.5)
    now.s += SILENT_S * 0.9
    assert not hand.read().held


def test_a_grip_that_was_lost_does_not_come_back_until_the_page_has_let_go(hand, now):
    """What a stalled network delivers late, or a finger that rests on after a stop, drives nobody."""
    hand.beat(1, frozenset("w"), 0.0)
    now.s += SILENT_S * 1.1
    hand.beat(1, frozenset("w"), SILENT_S * 1.1)
    assert not hand.read().held
    hand.let_go(1)
    hand.beat(1, frozenset(), SILENT_S * 1.1)
    assert hand.read().held
    hand.let_go()  # a stop
    hand.beat(1, frozenset(), SILENT_S * 1.2)
    assert not hand.read().held


def test_a_second_browser_does_not_slip_into_the_first_ones_grip(hand):
    hand.beat(1, frozenset(), 0.0)
    hand.beat(2, frozenset("w"), 0.0)
    hand.let_go(1)
    hand.beat(2, frozenset("w"), 0.1)
    assert hand.holder is None


def test_only_one_browser_at_a_time_holds(hand, now):
    hand.beat(1, frozenset(), 0.0)
    hand.beat(2, frozenset("w"), 0.0)
    assert (hand.holder, hand.read().push6[0]) == (1, 0.0)
    hand.let_go(2)
    assert hand.holder == 1
    hand.let_go(1)
    hand.beat(2, frozenset("w"), 0.0)
    assert (hand.holder, hand.read().push6[0]) == (2, 1.0)


def test_the_gizmo_counts_once_it_stands_still_where_the_arm_is(hand, now):
    def settled() -> bool:
        hand.beat(1, frozenset(), now.s)
        return hand.read().coupled

    assert not settled()
    now.s += SETTLE_S * 1.1
    assert settled()
    hand.beat(1, frozenset("w"), now.s)
    assert not hand.pulls
    assert hand.read().push6[0] == 1.0
    now.s += SETTLE_S * 0.5
    assert not settled()
    now.s += SETTLE_S
    assert settled()


def test_opposite_keys_cancel_and_unknown_ones_are_nobodys():
    np.testing.assert_array_equal(push(frozenset({"w", "s", "e", "x", "Shift"})), [0, 0, 1, 0, 0, 0])


def test_a_grip_is_one_click(hand):
    hand.click(1, "close")
    hand.click(1, "explode")
    assert [hand.read().buttons for _ in range(2)] == [{"close"}, frozenset()]


def test_while_one_page_drives_another_does_not_work_the_gripper(hand):
    hand.beat(1, frozenset(), 0.0)
    hand.click(2, "open")
    assert hand.read().buttons == frozenset()
    hand.click(1, "open")
    assert hand.read().buttons == {"open"}


class Still:
    """A leader arm that stands still."""

    def read(self) -> Reading:
        return Reading(pose7=GIZMO7, width_m=0.05)

    def close(self) -> None:
        raise AssertionError("nobody closes it here")


def test_a_thing_without_a_deadman_takes_the_pages(hand):
    both = WithDeadman(Still(), hand)
    assert (both.read().held, both.read().width_m) == (False, 0.05)
    hand.beat(1, frozenset(), 0.0)
    assert both.read().held


# What is shown -----------------------------------------------------------------------------------


def levels(lights: Lights, now_s: float) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["level"], row["text"]) for row in lights.rows(now_s)}


def test_a_camera_that_crawls_turns_its_light_red():
    lights = Lights()
    for i in range(8):
        lights.picture("front", i * 0.3)
        lights.picture("wrist", i * 0.1)
    assert levels(lights, 2.2)["front camera"] == ("bad", "slow, 3 Hz")
    assert levels(lights, 0.8)["wrist camera"] == ("ok", "10 Hz")


def test_a_frozen_camera_turns_its_own_light_red():
    lights = Lights()
    for i in range(10):
        lights.picture("front", i * 0.1)
        lights.picture("wrist", i * 0.1)
    lights.note("camera", False, "front: frozen", {}, 0.9)
    found = levels(lights, 1.0)
    assert found["front camera"] == ("bad", "front: frozen")
    assert found["wrist camera"] == ("ok", "10 Hz")
    assert levels(lights, 0.9 + STALE_PICTURE_S + 0.1)["wrist camera"] == ("bad", "no picture for 0.8 s")


def test_a_node_that_falls_silent_turns_red():
    lights = Lights()
    lights.note("arm", True, "tracking", {}, 0.0)
    assert levels(lights, 1.0)["arm"] == ("ok", "tracking")
    assert levels(lights, 4.0)["arm"] == ("bad", "silent for 4 s")


def test_a_stream_that_the_recorder_complains_of_turns_red():
    lights = Lights()
    figures = {"joints Hz": "99.0", "images/front Hz": "3.0", "drops": "0"}
    said = "recording episode_000003; images/front slow, 3.0 Hz"
    lights.note("recorder", False, said, figures, 0.0)
    found = levels(lights, 0.5)
    assert found["images/front"] == ("bad", "images/front slow, 3.0 Hz")
    assert found["joints"] == ("ok", "99 Hz")


def test_words_are_kept_newest_first_and_once(tmp_path):
    words = Words(tmp_path / "episodes")
    for said in ("open the drawer", "pick up the cube", "open the drawer"):
        words.say(said)
    assert Words(tmp_path / "episodes").history == ["open the drawer", "pick up the cube"]


def test_words_of_any_alphabet_are_kept_and_a_file_that_is_none_keeps_nobody_out(tmp_path):
    """Whatever the machine's locale: a console that could not read them did not start."""
    (tmp_path / "instructions.txt").write_bytes(b"caf\xe9\n")
    words = Words(tmp_path)
    words.say('lege "den roten Würfel" in die 盒子')
    assert Words(tmp_path).history == ['lege "den roten Würfel" in die 盒子', "caf\ufffd"]


def test_who_says_more_than_a_policy_reads_is_told():
    assert too_long("ü" * 32) == ""
    assert "only its first 64 bytes" in too_long("ü" * 33)


def test_what_is_said_is_one_line_that_can_be_sent_on():
    assert plain(' put\n\tthe "cube"\u2028 into\x00 the\ud800 tray ') == 'put the "cube" into the tray'
    assert len(plain("x" * 9999)) == MAX_WORDS


def test_an_episode_left_by_a_killed_recorder_is_listed_and_the_one_being_recorded_is_not(tmp_path):
    """The operator lost sight of it."""
    for name in ("episode_000000", "episode_000001"):
        EpisodeWriter(tmp_path / name, CONTRACT).flush()
        for file in (tmp_path / name).iterdir():
            os.utime(file, (time.time() - 60,) * 2)
    shown = EpisodeList(tmp_path, lambda: "recording episode_000001; images/front silent")
    try:
        wait_until(lambda: shown.rows, "the list")
        (row,) = shown.rows
        assert (row["name"], row["ok"], row["problems"]) == ("episode_000000", False, [KILLED])
        shutil.rmtree(tmp_path / "episode_000000")
        wait_until(lambda: not shown.rows, "it to go")
    finally:
        shown.close()


def test_an_episode_is_named_at_once_and_looked_at_then(tmp_path):
    """Beside a busy browser the look took more than a minute, in which it seemed lost."""
    write_episode(tmp_path / "episode_000003", seconds=1.0)
    shown, told = EpisodeList(tmp_path), []
    try:
        wait_until(lambda: told.append(shown.rows) or (shown.rows and shown.rows[0]["ok"]), "the look")
    finally:
        shown.close()
    first = next(rows[0] for rows in told if rows)
    assert (first["name"], first["outcome"], first["ok"]) == ("episode_000003", "success", None)


def test_a_name_that_is_used_again_is_looked_at_again():
    """It showed the picture and the health of the episode that had the name before."""
    first, second = Path("episode_000000"), Path("episode_000001")
    known = {first: (7, {"name": "a"}), second: (7, {"name": "b"})}
    assert not_seen({first: 7, second: 9}, known) == [second]


def test_an_episode_is_shown_with_its_first_and_last_picture_side_by_side(tmp_path):
    row = summary(write_episode(tmp_path / "episode_000003", seconds=1.0))
    assert (row["name"], row["outcome"], row["ok"]) == ("episode_000003", "success", True)
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(row["thumb"]), np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape == (THUMB_PX, 2 * THUMB_PX, 3)
    assert np.abs(sheet[:, :THUMB_PX].astype(int) - sheet[:, THUMB_PX:]).mean() > 10


def test_a_damaged_episode_is_shown_with_what_is_wrong_and_what_can_be_seen(tmp_path):
    """The list said that a command had failed."""
    episode = write_episode(tmp_path / "episode_000000")
    raw = bytearray(recording(episode).read_bytes())
    raw[raw.rindex(b"\x28\xb5\x2f\xfd") + 40] ^= 4
    recording(episode).write_bytes(raw)
    assert "the chunk is damaged" in " ".join(summary(episode)["problems"])


def test_the_ghost_of_the_plan_is_the_hand_itself_where_the_plan_ends():
    """Its line was four metres thick, and so drawn by nobody."""
    q = np.array(HOME_Q) + 0.2
    np.testing.assert_allclose(hand_at(ee_pose7(q)), link_frames(q)[HAND][:3, 3], atol=1e-9)
    assert PLAN_M < 0.01


def test_without_meshes_the_arm_is_drawn_from_joint_to_joint():
    bodies, finger = plain_meshes()
    frames = link_frames(np.array(HOME_Q))
    assert len(bodies) == len(frames)
    for (vertices, faces), here, there in zip(bodies[:-1], frames[:-1], frames[1:], strict=True):
        assert faces.max() < len(vertices)
        ends = np.linalg.norm(vertices @ here[:3, :3].T + here[:3, 3] - there[:3, 3], axis=1)
        assert ends.min() < 0.07
    assert len(finger[0])


# The graph ---------------------------------------------------------------------------------------


def test_a_device_held_in_the_browser_brings_the_console_instead_of_a_teleop_process():
    names = {process.name: process for process in graph("teleop", Deployment(lab=True, device="gizmo"))}
    assert "teleop" not in names
    assert names["console"].parameters["device"] == "gizmo"


def test_a_policy_can_be_taken_over_from_the_console(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    watched = Deployment(lab=True, bundle=str(tmp_path), console=True)
    assert graph("autonomous", watched)[-1].parameters["device"] == "gizmo"
    beside = Deployment(lab=True, bundle=str(tmp_path), console=True, device="scripted")
    found = {process.name: process.parameters for process in graph("autonomous", beside)}
    assert found["teleop"]["device"] == "scripted"
    assert "device" not in found["console"]


@pytest.mark.parametrize("texts", [{"console": "maybe"}, {"port": "http"}])
def test_launch_arguments_that_mean_nothing_are_refused(texts):
    with pytest.raises(ComoError, match=next(iter(texts))):
        Deployment.parse(texts)

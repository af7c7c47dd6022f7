"""A person at the console, against the whole graph in the lab: a real browser with real mouse and keys; and
what a page says and hears, without the browser."""

import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from ros_probe import children, wait_until

pytest.importorskip("viser")
from browser import Browser, chromium, until
from constant_bundle import write_constant_bundle
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from como_ros import bags, wire
from como_ros.graphs import Deployment
from como_ros.nodes.wiring import Newest
from como_ros.up import graph_up

WORKING, DESKTOP, PHONE = (900, 560), (1280, 800), (390, 844)
COARSE = 0.3
"""Of the pixels' number along a side, while nobody looks: drawing the arm takes both cores otherwise."""
CAMERA_M, LOOKS_AT_M, FOV_RAD = np.array([1.25, 0.75, 0.75]), np.array([0.38, 0.0, 0.28]), np.deg2rad(50)
"""As the scene sets them."""
ARROW_M = 0.14
"""Along the gizmo's z, which points down, from its middle to its arrow's head, outside its rings."""
UNHEARD = "The console does not answer"
TRIES = 4
"""A browser that stalls takes the hand off the deadman; a person holds again, and so does the test."""

WATCH_GAPS = """window.worstGap = 0; (last => setInterval(() => {
  const now = performance.now();
  worstGap = Math.max(worstGap, now - last);
  last = now;
}, 50))(performance.now())"""
"""From now on, the longest time for which the page did nothing."""

SLUGGISH_S = 0.25
"""A page that draws so seldom holds no deadman for long."""
HOPELESS_S, CALM_S = 0.6, 60.0
"""One that stands still for so long lets go; it compiles its shaders first, which takes a second or ten."""
needs_browser = pytest.mark.skipif(not chromium(), reason="needs Chromium; `make browser` installs it")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def on_screen(point_m: np.ndarray, box: dict) -> tuple[float, float]:
    """Where the 3-D view, which fills `box`, shows a point."""
    forward = LOOKS_AT_M - CAMERA_M
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right)
    way = point_m - CAMERA_M
    scale = box["height"] / 2 / np.tan(FOV_RAD / 2) / (way @ forward)
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    x, y = middle + scale * np.array([way @ right, -way @ np.cross(right, forward)])
    return float(x), float(y)


def opens(browser: Browser, url: str) -> None:
    """Or skips: without a GPU, and a whole lab on the same cores besides, a page may stand still for ever."""
    begun_s = time.monotonic()
    browser.hurry()
    browser.ask("Page.navigate", url=url)
    browser.js(WATCH_GAPS)
    while browser.js("document.readyState") != "complete" or stalls_s(browser) > HOPELESS_S:
        browser.hurry()
        if (took_s := time.monotonic() - begun_s) > CALM_S:
            pytest.skip(f"after {took_s:.0f} s the page still stands still; nobody drives with that")


@contextmanager
def unless_sluggish(browser: Browser):
    """What fails in a browser that stands still so often is no fault of the page."""
    try:
        yield
    except (AssertionError, TimeoutError) as error:
        if (stalled_s := stalls_s(browser)) > SLUGGISH_S:
            pytest.skip(f"the browser stalls for {stalled_s:.1f} s here: {error}")
        raise


def stalls_s(browser: Browser) -> float:
    """How long it stood still since this was asked last, two seconds from now; for ever if it is deaf."""
    try:
        time.sleep(2.0)
        return float(browser.js("(worst => { worstGap = 0; return worst; })(worstGap)")) / 1e3
    except TimeoutError:
        return float("inf")


class Fingertips:
    """Where they are now; the machine has no time to hear where they have been."""

    def __init__(self, probe) -> None:
        self._pose = Newest(probe.node, "/arm/ee_pose", self._note)

    def _note(self, message) -> None:
        self._at_m = wire.pose7_from_msg(message)[:3]

    def at_m(self) -> np.ndarray:
        self._pose.hear()
        return self._at_m


class Person:
    """Sits at the console."""

    def __init__(self, browser: Browser, fingertips: Fingertips) -> None:
        self.browser, self._fingertips = browser, fingertips

    def state(self) -> str:
        return self.browser.text("#supervisor")

    def presses(self, button: str, then: str) -> None:
        """A button, until it is heard; no slow machine excuses another answer than `then`."""
        until(lambda: not self.browser.js(f"document.querySelector('{button}').disabled"), f"{button}")
        self.browser.js("document.querySelector('#told').textContent = ''")
        self.browser.click(button)
        answers = f"{then.partition(':')[0]}:", UNHEARD
        until(lambda: self.told().startswith(answers), f"{button} to be answered")
        if (told := self.told()).startswith(UNHEARD):
            self.presses(button, then)
        elif not told.startswith(then):
            pytest.fail(f"{button} was answered by {told!r} instead of {then!r}")

    def told(self) -> str:
        return self.browser.text("#told")

    def says(self, words: str) -> None:
        """With a click as slow as a person's: the console tells twice meanwhile what was said before."""
        self.browser.js("document.querySelector('#say').focus(), document.querySelector('#say').select()")
        self.browser.ask("Input.insertText", text=words)
        self.browser.click("#words button", held_s=0.5)
        until(lambda: self.browser.text("#told").startswith(f"said: {words}"), f"{words!r} to be said")

    def shows(self, path: Path, width: int, height: int, mobile: bool = False) -> None:
        """A picture of the page as one comes to it."""
        self.browser.size(width, height, mobile)
        self.browser.js("scrollTo(0, 0), document.querySelector('#side').scrollTo(0, 0)")
        time.sleep(1.0)
        self.browser.js("document.querySelector('#told').hidden = true")
        self.browser.shoot(path)

    @contextmanager
    def holding(self):
        """The space bar down while the block lasts."""
        if self.state() == "stopped":
            self.presses("#rearm", "rearm: state is ready")
        until(lambda: self.state() == "ready", "ready")
        self.browser.key("keyDown", " ", "Space")
        try:
            yield
        finally:
            self.browser.key("keyUp", " ", "Space")
            until(lambda: self.state() == "stopped", "letting go to stop the arm")

    def pulls_the_gizmo_down(self) -> float:
        """By its arrow; -> how far down the arm went."""
        before = self._fingertips.at_m()
        box = self.browser.js("document.querySelector('#scene').getBoundingClientRect().toJSON()")
        x, y = on_screen(before - [0.0, 0.0, ARROW_M], box)
        with self.holding():
            time.sleep(0.6)
            self.browser.mouse("mouseMoved", x, y)
            self.browser.mouse("mousePressed", x, y, 1)
            for step in range(1, 11):
                self.browser.mouse("mouseMoved", x, y + 6 * step, 1)
                time.sleep(0.1)
            time.sleep(0.5)
            self.browser.mouse("mouseReleased", x, y + 60)
        return float(before[2] - self._fingertips.at_m()[2])


def stopped_while_held(person: Person) -> bool:
    """STOP beats the hand on the deadman, which stays down."""
    with person.holding():
        until(lambda: person.state() in ("teleop", "stopped"), "driving")
        person.browser.click("#stop")
        until(lambda: person.state() == "stopped", "the stop")
        time.sleep(0.5)
        return person.state() == "stopped"


@needs_browser
def test_a_person_starts_drags_the_gizmo_and_keeps_the_episode(probe, tmp_path):
    out, port = tmp_path / "episodes", free_port()
    wanted = os.environ.get("COMO_PICTURES")
    pictures, scale = Path(wanted or tmp_path), 1.0 if wanted else COARSE
    deployment = Deployment(lab=True, device="gizmo", out=str(out), port=port)
    fingertips = Fingertips(probe)
    before = children()
    with (
        Browser(tmp_path, *WORKING, scale) as browser,
        graph_up("teleop", deployment, out / "logs"),
        unless_sluggish(browser),
    ):
        opens(browser, f"http://127.0.0.1:{port}/")
        person = Person(browser, fingertips)
        until(lambda: person.state() == "stopped", "the console to know the state")
        until(lambda: browser.js("!!document.querySelector('#camera1').src"), "both cameras")
        person.says("look")
        person.says("put the red cube into the tray")
        person.presses("#rearm", "rearm: state is ready")
        person.presses("#home", "home: home")
        person.presses("#start", "start: recording")
        went_m = [person.pulls_the_gizmo_down()]
        while went_m[-1] < 0.02 and len(went_m) < TRIES:
            went_m.append(person.pulls_the_gizmo_down())
        assert went_m[-1] > 0.02, f"moved down by {went_m} m"
        assert stopped_while_held(person)
        person.shows(pictures / "console.png", *DESKTOP)
        browser.size(*WORKING, scale=scale)
        person.presses("#success", "success: kept")
        until(lambda: "#000000 success" in browser.text("#episodes"), "the episode in the list")
        person.shows(pictures / "console_phone.png", *PHONE, mobile=True)
    (episode,) = bags.episodes(out)
    meta = bags.read_meta(episode)
    assert (meta.outcome, meta.closed) == ("success", True)
    assert meta.instruction == "put the red cube into the tray"
    held = [value for key, _, value in bags.read_events(episode, {"deadman"}) if value]
    heights = [pose7[2] for _, _, pose7 in bags.read_events(episode, {"command_pose"})]
    assert held
    assert max(heights) - min(heights) > 0.02
    wait_until(lambda: children() <= before, "the graph and the browser to end")


class Page:
    """Speaks with the console as its page does."""

    def __init__(self, port: int) -> None:
        self._socket = connect(f"ws://127.0.0.1:{port}/wire", max_size=None)
        self._told: dict = {"n": 0, "text": ""}
        self._sending = threading.Lock()
        self._begun_s = time.monotonic()
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        with suppress(ConnectionClosed):
            for text in self._socket:
                if isinstance(text, str):
                    self._told = json.loads(text).get("told", self._told)

    def say(self, **told) -> None:
        with self._sending:
            self._socket.send(json.dumps(told))

    def presses(self, button: str, then: str) -> None:
        before = self._told["n"]
        self.say(press=button)
        wait_until(lambda: self._told["n"] > before, f"{button} to be answered")
        assert self._told["text"].startswith(then), self._told

    @contextmanager
    def holding(self, key: str):
        """The deadman and a key for a motion."""
        let_go = threading.Event()

        def beat() -> None:
            while not let_go.wait(0.05):
                self.say(hold=True, keys=[key], at=time.monotonic() - self._begun_s)

        hand = threading.Thread(target=beat)
        hand.start()
        try:
            yield
        finally:
            let_go.set()
            hand.join()
            self.say(hold=False)

    def close(self) -> None:
        self._socket.close()


def takes_over(page: Page, station, fingertips: Fingertips) -> float:
    """From the policy that drives, with the deadman and the key for up; -> how far up the arm went."""
    for service in ("/supervisor/release", "/arm/home"):
        station.call(service)
    page.presses("policy", "policy: state is policy")
    wait_until(lambda: station.figures("arm")["driver"] == "policy", "the policy to drive")
    time.sleep(0.5)
    before = fingertips.at_m()
    with page.holding("e"):
        wait_until(lambda: station.supervisor_state != "policy", "the person to take over")
        time.sleep(1.0)
    wait_until(lambda: station.supervisor_state == "stopped", "letting go to stop the arm")
    return float(fingertips.at_m()[2] - before[2])


def test_a_person_at_the_page_takes_over_from_a_policy_and_the_episode_shows_their_part(probe, tmp_path):
    out, port = tmp_path / "episodes", free_port()
    bundle = str(write_constant_bundle(tmp_path / "bundle", (0.004, 0.0, 0.0)))
    deployment = Deployment(lab=True, bundle=bundle, console=True, device="keyboard", out=str(out), port=port)
    fingertips = Fingertips(probe)
    with graph_up("autonomous", deployment, out / "logs") as (_, station):
        page = Page(port)
        page.presses("start", "start: recording")
        rose_m = [takes_over(page, station, fingertips)]
        while rose_m[-1] < 0.02 and len(rose_m) < TRIES:
            rose_m.append(takes_over(page, station, fingertips))
        page.presses("keep", "keep: kept")
        page.close()
    assert rose_m[-1] > 0.02
    (episode,) = bags.episodes(out)
    assert bags.read_meta(episode).provenance["intervention"] == "true"
    drivers, driver = {"command_chunk": set(), "command_pose": set()}, ""
    for key, _, value in bags.read_events(episode, {"supervisor_state", *drivers}):
        if key == "supervisor_state":
            driver = value
        else:
            drivers[key].add(driver)
    assert drivers["command_pose"] <= {"policy", "teleop", "stopped"}
    assert "teleop" in drivers["command_pose"]
    assert "policy" in drivers["command_chunk"]

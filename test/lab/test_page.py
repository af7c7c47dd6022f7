"""The console's page in a real browser, without a graph behind it."""

import json
from contextlib import closing

import pytest

pytest.importorskip("viser")
from browser import Browser, chromium, until
from console_house import House

pytestmark = pytest.mark.skipif(not chromium(), reason="needs Chromium; `make browser` installs it")


@pytest.fixture
def house(tmp_path):
    with closing(House(tmp_path, "")) as house:
        yield house


def told(number: int, text: str) -> str:
    return json.dumps({"supervisor": "ready", "lights": [], "told": {"n": number, "text": text, "ok": True}})


def test_an_answer_given_while_the_page_was_cut_off_is_shown_when_it_is_back(house, tmp_path):
    """A browser that stood still for ten seconds lost its connection, and with it what Home had come to."""
    house.page.state = told(1, "start: of before")
    with Browser(tmp_path) as browser:
        browser.ask("Page.navigate", url=f"http://127.0.0.1:{house.port}/")
        until(lambda: browser.text("#supervisor") == "ready", "the page")
        assert browser.text("#told") == ""
        browser.js("wire.close()")
        until(lambda: house.page.watchers == 0, "the connection to end")
        house.page.state = told(2, "home: home, the hand opened")
        until(lambda: browser.text("#told") == "home: home, the hand opened", "the answer")

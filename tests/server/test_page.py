"""The live page, in a real Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from noria.client import Client
from noria.runtime import Session
from tests.server.nets import event, uninterrupted
from tests.server.processes import ServerProcess, serving

expect.set_options(timeout=20_000)

SECRET = "a-secret-of-more-than-32-characters-x"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(20_000)

    def note(message: ConsoleMessage) -> None:
        # that a new stream is not there yet is told by status 404, which a browser notes
        if message.type in ("error", "warning") and "status of 404" not in message.text:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()


@pytest.fixture
def server(model_path: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(model_path, "--store", f"sqlite:{tmp_path / 'streams.db'}") as process:
        yield process


def open_stream(page: Page, name: str) -> None:
    page.get_by_label("Stream").fill(name)
    page.get_by_role("button", name="Open").click()


def send(page: Page, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    page.get_by_label("As JSON").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def logged(page: Page) -> list[Any]:
    text = page.locator("#log").inner_text()
    return [json.loads(line) for line in text.splitlines() if line]


def painted(page: Page, canvas: str) -> int:
    """How many pixels of a canvas are not empty."""
    script = """(id) => {
        const canvas = document.getElementById(id);
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
        return count;
    }"""
    return int(page.evaluate(script, canvas))


def test_one_opens_a_stream_sends_and_sees(
    server: ServerProcess, session: Session, page: Page, complaints: list[str], tmp_path: Path
) -> None:
    page.goto(server.url)
    open_stream(page, "live")
    expect(page.locator("#status")).to_have_text("Open: 0 events so far.")
    answers = uninterrupted(session, "live")
    given = [{"seq": seq, **next(answers)} for seq in range(1, 4)]
    for seq in range(1, 4):
        send(page, event("live", seq))
        expect(page.locator("#status")).to_have_text(f"Open: {seq} events so far.")
    assert logged(page) == given[::-1]
    expect(page.locator("#hidden")).to_have_attribute("data-seq", "3")
    expect(page.locator("#layer")).to_contain_text("layers.0.h")
    assert painted(page, "answers") > 0
    # three columns of the state, and few neurons at exactly zero
    hidden = session.hidden(session.feed(session.start(), [event("live", s) for s in (1, 2, 3)])[0])
    neurons = sum(len(array) for array in hidden.values())
    assert 2 * neurons < painted(page, "hidden") <= 3 * neurons
    with Client(server.url) as client:
        assert client.stream("gru", "live").seq == 3
    page.screenshot(path=tmp_path / "page.png")
    assert complaints == []


def test_it_keeps_sending_until_it_is_stopped_and_goes_on_later(
    server: ServerProcess, page: Page, complaints: list[str]
) -> None:
    page.goto(server.url)
    open_stream(page, "run")
    page.get_by_role("button", name="Keep sending").click()
    expect(page.locator("#facts")).to_have_text(re.compile(r"\(seq \d\d\)"))
    page.get_by_role("button", name="Stop").click()
    page.wait_for_timeout(300)
    seq = int(page.locator("#status").inner_text().split()[1])
    with Client(server.url) as client:
        assert client.stream("gru", "run").seq == seq
    assert painted(page, "hidden") > 0
    page.reload()
    open_stream(page, "run")
    expect(page.locator("#status")).to_have_text(f"Open: {seq} events so far.")
    assert complaints == []


def test_mistakes_are_told(server: ServerProcess, page: Page) -> None:
    page.goto(server.url)
    open_stream(page, "wrong")
    expect(page.locator("#status")).to_have_text("Open: 0 events so far.")
    send(page, "{")
    expect(page.locator("#status")).to_contain_text("The event is not JSON")
    send(page, {"x": [1, 2]})
    expect(page.locator("#status")).to_contain_text("x is not a list of 3 numbers")
    send(page, {"x": [1, 2, 3]})
    expect(page.locator("#status")).to_have_text("Open: 1 events so far.")
    server.stop()
    expect(page.locator("#status")).to_contain_text("Closed: ")


def test_a_token_is_asked_for_and_used(model_path: Path, page: Page, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.touch(0o600)
    tokens.write_text(f'[one]\nsecret = "{SECRET}"\n')
    store = f"sqlite:{tmp_path / 'streams.db'}"
    with serving(model_path, "--store", store, "--token-file", tokens) as server:
        page.goto(server.url)
        expect(page.locator("#status")).to_contain_text("A token is needed")
        page.get_by_label("Token").fill(SECRET)
        open_stream(page, "mine")
        expect(page.locator("#status")).to_have_text("Open: 0 events so far.")
        send(page, {"x": [1, 2, 3]})
        expect(page.locator("#status")).to_have_text("Open: 1 events so far.")
        assert SECRET not in str(server.log)

"""A real Chromium in which somebody visits the page. It reaches the engine alone, and what it complains of is kept."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from weakref import WeakKeyDictionary

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from api.page import files
from tests.running import ROOT

Look = Literal["light", "dark"]
Size = Literal["desktop", "phone"]

LOOKS: tuple[Look, ...] = ("light", "dark")
SIZES: dict[Size, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# the browser finds no host but this one, whatever asks for another: a tab, a worker or itself
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PATIENCE = 20_000  # milliseconds: generous, as other tests run beside it
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
ENDLESS = re.compile(r"/api/v1/events(\?|$)")  # the live stream, which is never read to its end
QUIET = 3  # looks in a row at which nothing is being read, until a page is taken to be there
LOOKED = 50  # milliseconds between them
ASKED: WeakKeyDictionary[BrowserContext, set[Request]] = WeakKeyDictionary()  # what a browser still waits for
# what the browser itself says of a response that the page shows in words of its own
REFUSED = re.compile(r"^Failed to load resource: the server responded with a status of 4\d\d")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser. Without a program for it, or without a page to show, the test is skipped; in CI it fails."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        _lacking("there is no Chromium on this machine: apt-get install chromium")
    if files.load() is None:
        _lacking("the page is not built: make page")
    expect.set_options(timeout=PATIENCE)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # its sandbox refuses to start for root, whose tests these are in a container
        browser = playwright.chromium.launch(
            executable_path=program, args=[ALONE, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        )
        try:
            yield browser
        finally:
            browser.close()


def _lacking(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def signed_in(url: str, token: str) -> list[Any]:
    """Return the cookies of a new session."""
    found = httpx.post(f"{url}/api/v1/session", json={"token": token}, timeout=30)
    assert found.status_code in {200, 201}, found.text
    return [{"name": one.name, "value": one.value or "", "url": url} for one in found.cookies.jar]


class Visitor:
    """Somebody with a browser of their own: its cookies, its tabs, its look and size.

    `complaints`: errors in the console, what the policy of the page forbade, responses that say that the engine failed,
    and requests to other hosts.
    """

    def __init__(
        self, browser: Browser, url: str, token: str | None, look: Look = "light", size: Size = "desktop"
    ) -> None:
        """`token`: of whom; None: not signed in."""
        self.url = url
        self.complaints: list[str] = []
        self._expected: list[str] = []
        self.context: BrowserContext = browser.new_context(
            base_url=url,
            color_scheme=look,
            locale="en-GB",
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
            **SIZES[size],
        )
        self.context.set_default_timeout(PATIENCE)
        self._asked: set[Request] = set()
        ASKED[self.context] = self._asked
        self.context.on("request", self._requested)
        self.context.on("requestfinished", self._answered)
        self.context.on("requestfailed", self._answered)
        self.context.on("response", self._responded)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self._complain(f"{error.page and error.page.url}: {error.error}"))
        if token is not None:
            self.context.add_cookies(signed_in(url, token))

    def open(self, path: str = "/") -> Page:
        """Go somewhere in a new tab."""
        page = self.context.new_page()
        page.on("close", self._closed)
        page.goto(path)
        return page

    def expect(self, *patterns: str) -> None:
        """Say what this visitor is meant to run into: regular expressions that are found in complaints."""
        self._expected += patterns

    def close(self) -> None:
        self.context.close()

    def unexpected(self) -> list[str]:
        """Return the complaints that nobody said there would be."""
        return [one for one in self.complaints if not any(re.search(pattern, one) for pattern in self._expected)]

    def _complain(self, what: str) -> None:
        self.complaints.append(what)

    def _closed(self, page: Page) -> None:
        """Forget what a tab asked for: that it is not waited for any more, nobody says."""
        self._asked -= {one for one in self._asked if one.frame.page == page}

    def _answered(self, request: Request) -> None:
        self._asked.discard(request)

    def _requested(self, request: Request) -> None:
        if not ENDLESS.search(request.url):
            self._asked.add(request)
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self._complain(f"a request to elsewhere: {request.url}")

    def _responded(self, response: Response) -> None:
        if response.status >= 500:
            self._complain(f"{response.status} from {response.request.method} {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not REFUSED.match(message.text):
            self._complain(f"{message.page and message.page.url}: {message.text}")


Visitors = Callable[..., Visitor]
"""Makes visitors: takes a look, a size and a token."""


def settle(page: Page) -> None:
    """Wait until what a tab shows is there: no part of it is still being read."""
    page.locator("h1").first.wait_for()
    quiet, until = 0, time.monotonic() + PATIENCE / 1000
    while quiet < QUIET:
        assert time.monotonic() < until, f"{page.url} still waits for {[one.url for one in ASKED[page.context]]}"
        page.wait_for_timeout(LOOKED)
        quiet = 0 if ASKED[page.context] else quiet + 1
    expect(page.get_by_text("Loading…")).to_have_count(0, timeout=PATIENCE)


def barriers(page: Page) -> list[str]:
    """Return what keeps somebody from using what a tab shows: what axe-core finds that is serious."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {one['help']} ({', '.join(node['target'][0] for node in one['nodes'][:5])})"
        for one in found["violations"]
        if one["impact"] in GRAVE
    ]

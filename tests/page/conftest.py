"""An engine, a Chromium, and visitors: whose browser complains of anything that the test has not said fails it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.page.chromium import Look, Size, Visitor, Visitors, chromium
from tests.running import Client, Running


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One engine for all of these tests: what a test makes has names of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLOWS_WEBHOOK_ALLOW", "localhost")  # where tests have receivers
        running = Running(tmp_path_factory.mktemp("page") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="package")
def api(running: Running) -> Client:
    return running.client()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module. While it runs, so does Playwright's event loop: such a module has no async tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitors(browser: Browser, running: Running) -> Iterator[Visitors]:
    """Give what makes visitors, of the administrator unless another token, or None, is said."""
    made: list[Visitor] = []

    def visitor(look: Look = "light", size: Size = "desktop", token: str | None = running.token) -> Visitor:
        made.append(Visitor(browser, running.url, token, look, size))
        return made[-1]

    yield visitor
    for one in made:
        one.close()
    assert [complaint for one in made for complaint in one.unexpected()] == []


@pytest.fixture
def visitor(visitors: Visitors) -> Visitor:
    """The administrator, at a desk by daylight."""
    return visitors()


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """The administrator's first tab, at the overview."""
    return visitor.open()

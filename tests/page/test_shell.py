"""The page in a browser: it loads from the engine alone, one signs in and out, and nobody is kept from using it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.page.chromium import Look, Size, Visitor, Visitors, barriers, settle
from tests.page.places import PLACES
from tests.running import Running
from tests.support import wait_until


def test_somebody_signs_in_and_out(visitors: Visitors, running: Running) -> None:
    visitor = visitors(token=None)
    page = visitor.open("/flows?status=failed")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Token").fill(running.token)
    page.get_by_label("Token").press("Enter")
    expect(page.get_by_role("heading", name="Flows", level=1)).to_be_visible()
    assert page.url.endswith("/flows?status=failed"), "where they wanted to go"
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.parametrize(("look", "size"), [("light", "phone")])
def test_nothing_on_any_page_is_in_anybodys_way(visitors: Visitors, look: Look, size: Size) -> None:
    """Before there is anything to show."""
    page = visitors(look, size).open("/")
    found: list[str] = []
    for place in PLACES:
        page.goto(place.path)
        settle(page)
        found += [f"{place.path}: {barrier}" for barrier in barriers(page)]
    assert found == []


def test_what_should_fail_a_test_does(visitor: Visitor) -> None:
    """A script in the document, an error, a request to elsewhere, and what not everybody can use."""
    page = visitor.open()
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(1)'}))")
    page.evaluate("fetch('https://example.org/').catch(() => null)")
    page.evaluate("setTimeout(() => { throw new Error('of the page') })")
    wait_until(lambda: page.evaluate("1") and "of the page" in str(visitor.unexpected()))
    seen = "\n".join(visitor.unexpected())
    assert "Content Security Policy" in seen
    assert "example.org" in seen
    assert "of the page" in seen
    visitor.expect("Content Security Policy", "example.org", "of the page", "ERR_NAME_NOT_RESOLVED")
    page.evaluate("document.body.replaceChildren(document.createElement('button'))")
    assert barriers(page)[0].startswith("button-name")


def test_all_that_is_loaded_is_of_the_engine(page: Page) -> None:
    """And a file is told apart from one of another version by its name."""
    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)")
    assert any(one.startswith("/assets/index-") for one in loaded)
    assert {one.split("/")[1] for one in loaded} <= {"assets", "api", "health"}

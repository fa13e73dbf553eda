"""The page of a flow: what it is, what runs of it, and what became of its occurrences."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests import made
from tests.page.chromium import barriers, settle
from tests.running import Client

SLOW = {"seconds": 30}


def test_what_one_runs_is_there_before_the_engine_has_replied_and_is_followed(page: Page, api: Client) -> None:
    flow = made.flow(api, "page-run", config=SLOW)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/execute", hold)
    page.goto(f"/flows/{flow['id']}")
    page.get_by_role("button", name="Run now").click()
    now = page.get_by_role("region", name="Running now")
    expect(now).to_contain_text("asked for")
    held[0].continue_()
    expect(now).to_contain_text("0 of 1 VM")
    now.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(now).to_be_hidden()
    row = page.get_by_role("table", name="Executions").get_by_role("row").nth(1)
    expect(row).to_contain_text("cancelled")
    expect(row.get_by_role("link")).to_have_attribute("href", re.compile("^/executions/"))


def test_missed_occurrences_are_filled(page: Page, api: Client) -> None:
    flow = made.scheduled(api, "page-fill", "0 12 * * *", "Europe/Berlin")
    page.goto(f"/flows/{flow['id']}?view=occurrences")
    expect(page.get_by_text("every day at 12:00")).to_be_visible()
    expect(page.get_by_role("table", name="Occurrences to come").get_by_text("expected")).not_to_have_count(0)
    settle(page)
    assert barriers(page) == []
    page.get_by_role("button", name="Backfill…").click()
    page.get_by_role("button", name=re.compile(r"^Backfill [78] occurrences$")).click()
    past = page.get_by_role("table", name="Past occurrences")
    expect(past.get_by_text("success")).not_to_have_count(0)
    past.get_by_role("button", name="Explain").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("page-fill")
    page.get_by_role("dialog").get_by_role("link", name="The execution").click()
    expect(page.get_by_role("heading", name="page-fill", level=1)).to_be_visible()


def test_a_copy_is_disabled_and_can_be_deleted(page: Page, api: Client) -> None:
    flow = made.flow(api, "page-original")
    page.goto(f"/flows/{flow['id']}")
    page.get_by_role("button", name="More with this flow").click()
    page.get_by_role("menuitem", name="Clone…").click()
    page.get_by_label("Name of the copy").fill("page-copy")
    page.get_by_role("button", name="Clone", exact=True).click()
    expect(page.get_by_role("heading", name="page-copy", level=1)).to_be_visible()
    expect(page.get_by_role("status").get_by_text("disabled")).to_be_visible()
    page.get_by_role("button", name="More with this flow").click()
    page.get_by_role("menuitem", name="Delete…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="Flows", level=1)).to_be_visible()
    assert [one["name"] for one in api.get("/protection-flows", params={"q": "page-"})["flows"]].count("page-copy") == 0

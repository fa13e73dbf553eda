"""The timeline: what ran and what will of all flows, moved and zoomed by keys, and read as a list."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests import made
from tests.page.chromium import barriers, settle
from tests.running import Client


def test_what_ran_and_what_will_is_moved_through_grouped_and_led_from(page: Page, api: Client) -> None:
    flow = made.scheduled(api, "page-timeline", "0 12 * * *", "Europe/Berlin")
    started = api.call("POST", f"/protection-flows/{flow['id']}/execute", status=202)
    page.goto("/timeline?q=page-timeline")
    row = page.get_by_role("listitem").filter(has_text="page-timeline")
    ran = row.locator("[data-state=success]")
    expect(ran).to_have_attribute("data-kind", "manual")  # once it has ended: nothing was loaded anew
    expect(row.locator("[data-state=expected]")).not_to_have_count(0)
    page.get_by_label("Group by").select_option("repository")
    expect(page.get_by_role("listitem").filter(has_text="1 flow")).to_be_visible()
    page.get_by_label("squeeze gaps").check()
    settle(page)
    assert barriers(page) == []
    page.keyboard.press("+")
    expect(page.get_by_label("How long")).to_have_value(re.compile("^33"))
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(ran).to_have_count(0)  # it is over by then
    page.keyboard.press("0")
    page.get_by_role("tab", name="List").click()
    expect(page.get_by_role("table", name="What ran and what will").get_by_text("manual")).to_be_visible()
    page.get_by_role("tab", name="Chart").click()
    ran.click()
    expect(page).to_have_url(re.compile(f"/executions/{started['id']}$"))
    expect(page.get_by_role("heading", name="page-timeline", level=1)).to_be_visible()

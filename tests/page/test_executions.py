"""Executions: those that run are cancelled, and those that were are tried again, many at once."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests import made
from tests.page.chromium import barriers, settle
from tests.running import Client

SLOW = {"seconds": 30}


def test_many_are_cancelled_at_once_and_tried_again(page: Page, api: Client) -> None:
    flows = [made.flow(api, f"page-many-{number}", config=SLOW) for number in range(2)]
    for flow in flows:
        api.call("POST", f"/protection-flows/{flow['id']}/execute", status=202)
    page.goto("/executions?status=running")
    table = page.get_by_role("table", name="Executions")
    for flow in flows:
        row = table.get_by_role("row").filter(has_text=flow["name"])
        expect(row).to_contain_text("0 of 1")
        row.get_by_label("Choose").click()
    settle(page)
    assert barriers(page) == []
    page.get_by_role("button", name="Cancel 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop them").click()
    for flow in flows:
        expect(table.get_by_text(flow["name"])).to_have_count(0)  # they run no more
    page.get_by_label("Status", exact=True).select_option("cancelled")
    table.get_by_role("row").filter(has_text=flows[0]["name"]).get_by_label("Choose").click()
    page.get_by_role("button", name="Retry 1").click()
    page.get_by_label("Status", exact=True).select_option("running")
    again = table.get_by_role("row").filter(has_text=flows[0]["name"])
    expect(again).to_contain_text("retry")
    again.get_by_role("link", name="running").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("button", name="Retry 1 VM")).to_be_visible()
    page.get_by_role("tab", name="Where the time went").click()
    expect(
        page.get_by_role("list", name="Where the time of each VM went").get_by_role("button")
    ).to_have_accessible_name(re.compile(r"attempt 1 on .*: cancelled"))
    page.go_back()
    expect(page.get_by_role("heading", name="Executions", level=1)).to_be_visible()

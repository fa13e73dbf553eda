"""The audit log on the page: who did what to what, as the address wants it, and as a file."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.page.chromium import Visitor, barriers
from tests.running import Client


def test_who_did_what_is_found_shown_and_exported(visitor: Visitor, api: Client) -> None:
    made = api.create("/policies", name="audited", keep_last=3)
    api.call("PUT", f"/policies/{made['id']}", {"keep_last": 5})
    api.call("POST", "/policies", {"name": "audited"}, status=409)
    page = visitor.open("/audit?entity=policy")
    table = page.get_by_role("table", name="Audit log")
    expect(table.get_by_text("the name 'audited' is taken by another policy")).to_be_visible()
    page.get_by_label("Action").select_option("update")
    expect(page).to_have_url(re.compile(r"/audit\?entity=policy&verb=update$"))
    (row,) = [table.get_by_role("row").filter(has_text="audited").filter(has_text="keep last")]
    expect(table.get_by_role("row")).to_have_count(2)
    assert barriers(page) == []

    row.get_by_role("button", name="update").click()
    changed = page.get_by_role("table", name="What changed").get_by_role("row")
    assert [text.split() for text in changed.all_inner_texts()] == [
        ["Field", "Before", "After"],
        ["keep_last", "3", "5"],
    ]
    page.get_by_role("link", name="All that was done to it").click()
    expect(table.get_by_role("row")).to_have_count(3)

    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(one["actor"], one["action"], one["name"], one["changes"]) for one in rows[:1]] == [
        ("admin", "update", "audited", "keep_last: 3 → 5")
    ]
    assert [one["id"] for one in rows] == [made["id"]] * 2
    table.get_by_role("link", name="audited").first.click()
    expect(page.get_by_role("dialog", name="Policy “audited”")).to_be_visible()

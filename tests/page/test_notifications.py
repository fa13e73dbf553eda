"""Notifications on the page: one is made and tried, its receiver's reply and its messages are shown."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.made import flow
from tests.page.chromium import Visitor, barriers
from tests.running import Client
from tests.webhooks import webhook


def test_somebody_is_to_be_told_and_is(visitor: Visitor, api: Client, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-key-of-the-test")
    made = flow(api, "told of")
    page = visitor.open("/notifications?new=1")
    dialog = page.get_by_role("dialog", name="New notification")
    dialog.get_by_label("Name").fill("ops")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog.get_by_text("A webhook needs a `url`.", exact=True)).to_be_visible()
    assert barriers(page) == []
    with webhook() as (url, bodies):
        dialog.get_by_label("URL").fill(url)
        dialog.get_by_label("Kept in").select_option("a file")
        dialog.get_by_role("textbox", name="File").fill(str(key))
        dialog.get_by_role("combobox", name="How bad").select_option("Everything, also what went well")
        dialog.get_by_label("Of these flows").press_sequentially("told")
        page.get_by_role("option", name="told of").click()
        dialog.get_by_role("button", name="Save and test").click()
        tested = page.get_by_role("dialog", name="Test of “ops”")
        expect(tested.get_by_text("202 Accepted: thank you")).to_be_visible()
        assert [body["type"] for body in bodies] == ["test"]
        tested.get_by_role("button", name="Close", exact=True).last.click()

        api.ended(api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)["id"])
        messages = page.get_by_role("table", name="Messages lately")
        row = messages.get_by_role("row").filter(has_text="Flow 'told of' succeeded")
        expect(row.get_by_text("delivered")).to_be_visible()
        expect(row.get_by_text("202 Accepted: thank you")).to_be_visible()
    (found,) = api.get("/notifications", params={"q": "ops"})["notifications"]
    assert (found["flows"], found["severity"], found["secret_file"]) == ([made["id"]], "info", str(key))

    page.get_by_role("button", name="Actions for ops").click()
    page.get_by_role("menuitem", name="Disable").click()
    rules = page.get_by_role("table", name="Notifications")
    expect(rules.get_by_role("row").filter(has_text="ops").get_by_text("disabled")).to_be_visible()
    assert barriers(page) == []

"""The page of settings: a freeze stands above every page until it is lifted, limits are changed, and the look stays."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.page.chromium import barriers
from tests.running import Client


def test_everything_is_frozen_with_a_reason_and_goes_on(page: Page, api: Client) -> None:
    repository = {"name": "frozen", "type": "simulated", "location": "anywhere"}
    vm = {"context_id": "frozen-1", "vm_name": "Frozen 1", "disks": []}
    flow = {
        "name": "Held back",
        "flow_type": "backup",
        "target_type": "vm",
        "target_id": api.create("/vm-contexts", **vm)["context_id"],
        "repository_id": api.create("/repositories", **repository)["id"],
        "schedule_id": api.create("/schedules", name="frozen", cron_expression="0 * * * *")["id"],
    }
    made = api.create("/protection-flows", **flow)
    page.goto("/settings")
    page.get_by_role("button", name="Freeze everything…").click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="a day").click()
    expect(form.get_by_text("24 starts").first).to_be_visible()
    form.get_by_label("Reason").fill("the storage is moved")
    assert barriers(page) == []
    form.get_by_role("button", name="Freeze", exact=True).click()
    banner = page.get_by_text("Frozen: nothing starts by its schedule until")
    expect(banner).to_contain_text("the storage is moved (admin)")
    card = page.get_by_role("region", name="Freeze")
    expect(card.get_by_role("link", name="Held back")).to_have_attribute("href", f"/flows/{made['id']}")
    page.get_by_role("link", name="Policies").click()
    expect(banner).to_be_visible()
    page.get_by_role("link", name="What it holds back").click()
    page.get_by_role("button", name="Lift it…").click()
    page.get_by_role("dialog").get_by_role("button", name="Lift it").click()
    expect(banner).to_have_count(0)
    expect(card.get_by_text("Flows start by their schedules")).to_be_visible()
    api.call("DELETE", f"/protection-flows/{made['id']}", status=204)


def test_limits_are_changed_and_the_look_stays(page: Page, api: Client) -> None:
    page.goto("/settings")
    limits = page.get_by_role("region", name="Limits")
    limits.get_by_role("button", name="Change…").click()
    form = page.get_by_role("dialog", name="Limits")
    form.get_by_label("Backups at once").fill("7")
    form.get_by_label("Folders of disks").fill("srv")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_label("Folders of disks")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_role("alert")).to_have_count(0)  # it is said at the field, and there alone
    form.get_by_label("Folders of disks").fill("")
    form.get_by_role("button", name="Save").click()
    expect(limits.get_by_role("definition").first).to_contain_text("7")
    assert api.get("/settings")["max_concurrent_jobs"] == 7
    api.call("PUT", "/settings", {"max_concurrent_jobs": None})
    expect(limits.get_by_role("definition").first).to_contain_text("as many as there is room for")

    page.get_by_role("radio", name="dark").check()
    page.reload()
    expect(page.get_by_role("radio", name="dark")).to_be_checked()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert barriers(page) == []

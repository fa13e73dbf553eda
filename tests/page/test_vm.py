"""The page of a VM: whether it is protected and why, and what can be restored."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests import made
from tests.page.chromium import barriers, settle
from tests.running import Client


def test_a_vm_is_backed_up_from_its_page_and_shows_what_can_be_restored(page: Page, api: Client) -> None:
    flow = made.flow(api, "page-vm")
    (vm,) = api.get("/coverage", params={"flow_id": flow["id"]})["vms"]
    page.goto(f"/vms/{vm['context_id']}")
    expect(page.get_by_role("region", name="Protection")).to_contain_text("unprotected")
    expect(page.get_by_text("There is nothing to restore from yet.")).to_be_visible()
    for number in (1, 2):
        page.get_by_role("button", name="Back up now").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Repository").select_option("page-vm")
        dialog.get_by_role("button", name="Back up now").click()
        expect(page.get_by_role("tab", name=f"Restore points ({number})")).to_be_visible()
    expect(page.get_by_role("list", name="Duration").get_by_role("link")).to_have_count(2)
    settle(page)
    assert barriers(page) == []


def test_what_a_vm_is_called_is_changed_and_what_protects_it_keeps_it(page: Page, api: Client) -> None:
    vm = made.vm(api, "page-vm-old")
    repository = api.create("/repositories", name="page-vm-old", type="simulated", location="/x")
    fields = {"flow_type": "backup", "target_type": "vm", "target_id": vm, "repository_id": repository["id"]}
    api.create("/protection-flows", name="page-vm-keeps", **fields)
    page.goto(f"/vms/{vm}?edit=1")
    page.get_by_label("Name", exact=False).first.fill("page-vm-new")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="page-vm-new", level=1)).to_be_visible()
    page.get_by_role("button", name="More with this VM").click()
    page.get_by_role("menuitem", name="Delete…").click()
    expect(page.get_by_role("dialog").get_by_role("link", name="flow page-vm-keeps")).to_be_visible()

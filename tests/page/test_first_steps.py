"""From an engine with nothing in it to the first protected VM, by clicking alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.chromium import Visitor, barriers
from tests.running import Running


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data").start()
    yield running
    assert running.stop() == 0


def test_the_first_vm_is_protected_by_clicking_alone(browser: Browser, empty: Running, tmp_path: Path) -> None:
    disk, folder = tmp_path / "web.raw", tmp_path / "backups"
    disk.write_bytes(b"\0" * 4096 + b"data")
    folder.mkdir()
    visitor = Visitor(browser, empty.url, token=None)
    page = visitor.open()
    page.get_by_label("Token").fill(empty.token)
    page.get_by_role("button", name="Sign in").click()
    steps = page.get_by_role("region", name="Four steps to the first protected VM")
    steps.wait_for()
    assert barriers(page) == []
    dialog = page.get_by_role("dialog").last

    steps.get_by_role("button", name="Do it: Say which VM").click()
    dialog.get_by_label("Name").first.fill("web")
    dialog.get_by_label("Path of disk 1").fill(str(disk))
    dialog.get_by_role("button", name="Save").click()
    steps.get_by_role("button", name="Do it: Say where its backups go").click()
    dialog.get_by_label("Name").fill("backups")
    dialog.get_by_label("Location").fill(str(folder))
    dialog.get_by_role("button", name="Save").click()

    steps.get_by_role("button", name="Do it: Say when and how").click()
    dialog.get_by_role("button", name="New schedule…").click()
    dialog.get_by_label("Name").fill("Nightly")
    dialog.get_by_role("button", name="Save").click()
    for label, chosen in (("VM", "web"), ("Schedule", "Nightly"), ("Repository", "backups")):
        expect(dialog.get_by_role("combobox", name=label, exact=True)).to_have_value(chosen)
    dialog.get_by_role("button", name="Make the flow").click()

    steps.get_by_role("button", name="Run it now").click()
    expect(page.get_by_role("heading", name="Back up web", level=1)).to_be_visible()
    expect(page.locator("main").get_by_text("success").first).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    expect(page.locator("main").get_by_role("status").first).to_contain_text("protected")
    expect(steps).to_have_count(0)
    visitor.close()
    assert visitor.unexpected() == []
    (made,) = empty.client().get("/backups")["backups"]
    assert (made["vm_name"], made["status"]) == ("web", "completed")

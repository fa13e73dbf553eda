"""The page of workers: one on another machine is enrolled by what is pasted there, and revoked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.page.chromium import barriers
from tests.running import ROOT


def test_a_worker_is_enrolled_by_what_is_pasted_and_revoked(page: Page, tmp_path: Path) -> None:
    page.goto("/workers")
    expect(page.get_by_role("region", name="Workers", exact=True).get_by_text("running")).to_be_visible()
    page.get_by_role("button", name="Enrol a worker").click()
    form = page.get_by_role("dialog", name="Enrol a worker")
    form.get_by_label("Name").fill("rack-1")
    form.get_by_label("Labels").fill("site=north")
    form.get_by_role("button", name="Make its token").click()
    shown = page.get_by_role("dialog", name="Enrol “rack-1”")
    pasted = shown.get_by_label("What to paste").inner_text()
    assert barriers(page) == []
    shown.get_by_role("button", name="I have it").click()
    row = page.get_by_role("region", name="Enrolled workers").get_by_role("row", name="rack-1")
    expect(row).to_contain_text("waits to enrol itself")

    # all but the last line, which would start the worker
    script = pasted.rpartition("\n")[0].replace("/var/lib/flows-worker", str(tmp_path / "worker"))
    script = re.sub(r"^flows ", f"{sys.executable} -m cli.main ", script)
    subprocess.run(["sh", "-c", script], cwd=ROOT, check=True, timeout=60, capture_output=True)
    expect(row).to_contain_text("not there")
    expect(row).to_contain_text("site=north")

    row.get_by_role("button", name="Revoke worker rack-1").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    expect(row.get_by_role("button")).to_have_count(0)

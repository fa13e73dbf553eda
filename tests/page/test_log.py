"""The log on the page: live and paused, as the address wants it, back to its beginning, and on to an execution."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import Page, expect

from tests.made import flow
from tests.page.chromium import Visitor, barriers
from tests.running import Client


def types(page: Page) -> list[str]:
    return page.get_by_role("log").get_by_role("button").all_inner_texts()


def test_the_log_is_live_and_can_be_paused(visitor: Visitor, api: Client) -> None:
    made = flow(api, "logged", vms=2)
    other = flow(api, "logged otherwise")
    page = visitor.open(f"/log?flow=logged&pattern=flow.*&from={made['created_at']}")
    log = page.get_by_role("log")
    expect(log.get_by_text("Nothing on the log is like this")).to_be_visible()
    for one in (other, made):
        api.ended(api.call("POST", f"/protection-flows/{one['id']}/execute", status=202)["id"])
    expect(log.get_by_text("logged ended as success")).to_be_visible()
    assert [text.split("\n")[-1] for text in types(page)] == ["flow.started", "flow.planned", "flow.completed"]
    assert barriers(page) == []

    page.get_by_role("button", name="Pause").click()
    execution = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)["id"]
    api.ended(execution)
    expect(page.get_by_text("Paused: 3 more wait")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    expect(log.get_by_text("logged ended as success")).to_have_count(2)
    log.get_by_role("link", name="execution").last.click()
    expect(page).to_have_url(re.compile(f"/executions/{execution}$"))


def test_what_repeats_is_collapsed_and_one_goes_back_to_the_beginning(visitor: Visitor, api: Client) -> None:
    first = api.create("/vm-contexts", vm_name="imported first")["created_at"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: api.create("/vm-contexts", vm_name=f"imported {number}"), range(105)))
    last = api.create("/vm-contexts", vm_name="imported last")
    page = visitor.open(f"/log?each=1&from={first}")
    log = page.get_by_role("log")
    expect(log.get_by_text("vm imported last was created by admin")).to_be_visible()
    expect(page.get_by_text("200 events in 200 lines")).to_be_visible()
    log.evaluate("element => element.scrollTo(0, 0)")
    expect(page.get_by_text("214 events in 214 lines")).to_be_visible()
    log.evaluate("element => element.scrollTo(0, 0)")
    expect(log.get_by_text("Nothing before it is like this.")).to_be_visible()
    expect(log.get_by_text("admin asked to create vm imported first")).to_be_visible()

    page.get_by_label("Collapse what repeats").check()
    expect(page.get_by_text("214 events in 2 lines")).to_be_visible()
    api.call("DELETE", f"/vm-contexts/{last['context_id']}", status=204)
    expect(log.get_by_text(f"vm {last['context_id']} was deleted by admin")).to_be_visible()

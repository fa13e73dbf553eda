"""What happens is seen as it happens, in every tab, and what is down is said, until it is up again."""

from __future__ import annotations

import os
import signal
from typing import Any

from playwright.sync_api import Locator, Page, Request, expect

from bus.stream import WORKER_QUEUE
from tests import made
from tests.page.chromium import Visitor, Visitors, settle
from tests.running import Client, Running, paused, service
from tests.support import wait_until

TABS = 10
LONG = {"seconds": 600}  # a backup that lasts until it is cancelled
AGAIN = (WORKER_QUEUE.ack_wait + 30) * 1000  # milliseconds, until another worker has what one has left behind
POLL = 11_000  # milliseconds, in which a page asks for the engine's health


def run(page: Page, flow: dict[str, Any]) -> None:
    """Run a flow by clicking, and go to its execution."""
    page.goto(f"/flows?q={flow['name']}")
    page.get_by_role("button", name=f"Run {flow['name']} now").click()
    page.get_by_role("link", name="running").click()
    expect(page.get_by_role("heading", name=flow["name"], level=1)).to_be_visible()


def row(page: Page, name: str) -> Locator:
    """Return the row of a VM in an execution."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def test_an_execution_is_watched_and_one_vm_cancelled_then_all_and_tried_again(page: Page, api: Client) -> None:
    flow = made.flow(api, "watched", vms=40, config=LONG)
    run(page, flow)
    expect(row(page, "watched-0")).to_contain_text("running")
    row(page, "watched-0").get_by_role("button", name="Cancel the backup of watched-0").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    expect(row(page, "watched-0")).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="1 cancelled")).to_be_visible()

    page.get_by_role("button", name="Cancel", exact=True).first.click()
    page.get_by_role("dialog", name="Cancel the execution?").get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("button", name="Retry 40 VMs")).to_be_visible()
    cancelled = page.url

    change = {"config": {"seconds": 0}}
    version = api.get(f"/repositories/{flow['repository_id']}")["version"]
    api.call("PUT", f"/repositories/{flow['repository_id']}", change, headers={"If-Match": f'"{version}"'})
    page.get_by_role("button", name="Retry 40 VMs").click()
    expect(page.get_by_text("↻ retry")).to_be_visible()
    expect(page.get_by_role("button", name="40 success")).to_be_visible()
    assert page.url != cancelled


def test_ten_tabs_hear_by_one_stream_and_see_a_killed_worker_s_backup_recover(
    visitor: Visitor, api: Client, running: Running
) -> None:
    """Whichever tab it is that hears for the others: the one that does is closed meanwhile."""
    streams: list[Request] = []
    visitor.context.on("request", lambda one: streams.append(one) if "/api/v1/events?" in f"{one.url}?" else None)
    flow = made.flow(api, "killed", config={"seconds": 6})
    first = visitor.context.new_page()
    run(first, flow)
    expect(row(first, "killed-0")).to_contain_text("running")
    os.kill(service(running, "worker"), signal.SIGKILL)
    tabs = [visitor.open(first.url) for _ in range(TABS - 1)]
    for tab in tabs:
        expect(tab.get_by_role("button", name="1 attempts of killed-0")).to_be_visible()
    assert len(streams) == 1
    first.close()
    for tab in tabs:
        expect(tab.get_by_role("button", name="2 attempts of killed-0")).to_be_visible(timeout=AGAIN)
        expect(row(tab, "killed-0")).to_contain_text("success")
    assert len(streams) == 2, "another tab hears, now that the first is closed"
    tabs[-1].get_by_role("button", name="attempts of killed-0").click()
    expect(tabs[-1].get_by_role("dialog").get_by_text("lost with its worker")).to_be_visible()


def test_a_log_that_is_down_is_said_with_the_age_of_what_is_shown(
    visitor: Visitor, api: Client, running: Running
) -> None:
    made.flow(api, "kept")
    visitor.expect("^503 from GET .*/health/ready", "503")
    page = visitor.context.new_page()
    page.clock.install()
    page.goto("/flows?q=kept")
    settle(page)
    banner = page.get_by_role("alert")
    expect(banner).to_have_count(0)
    with paused(int((running.folder / "nats.pid").read_text())):
        page.clock.fast_forward(POLL)
        expect(banner).to_contain_text("log:")
        expect(banner.locator("time")).to_be_visible()
        expect(page.get_by_role("link", name="kept", exact=True).first).to_be_visible()
    ready(page, api)
    expect(banner).to_have_count(0)
    made.flow(api, "kept-too")
    expect(page.get_by_role("link", name="kept-too", exact=True).first).to_be_visible()


def test_a_recorder_that_is_down_is_said_until_it_is_back(visitor: Visitor, api: Client, running: Running) -> None:
    visitor.expect("503")
    page = visitor.context.new_page()
    page.clock.install()
    page.goto("/flows")
    settle(page)
    banner = page.get_by_role("alert")

    def said() -> bool:
        page.clock.fast_forward(POLL)
        return "recorder" in "".join(banner.all_text_contents())

    with paused(service(running, "recorder")):
        wait_until(said, within=60)
    ready(page, api)
    expect(banner).to_have_count(0)


def ready(page: Page, api: Client) -> None:
    """Wait until the engine is well, and the page has asked for it."""
    api.until_ready()
    page.clock.fast_forward(POLL)


def test_a_session_that_is_revoked_leads_to_the_login(visitors: Visitors, api: Client) -> None:
    token = api.create("/tokens", name="leaver", role="operator")
    page = visitors(token=token["secret"]).open("/flows")
    settle(page)
    api.call("DELETE", f"/tokens/{token['id']}", status=204)
    page.get_by_role("link", name="VMs").click()
    expect(page.get_by_label("Token")).to_be_visible()

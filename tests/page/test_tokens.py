"""The page of tokens: the secret is shown once, opens what it should, and nothing once it is revoked."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from tests.page.chromium import Visitors, barriers
from tests.running import Running


def status_with(running: Running, secret: str) -> int:
    bearer = {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{running.url}/api/v1/policies", headers=bearer, timeout=30).status_code


def test_a_token_is_made_shown_once_and_revoked(page: Page, visitors: Visitors, running: Running) -> None:
    page.goto("/tokens?new")
    form = page.get_by_role("dialog", name="New token")
    form.get_by_role("button", name="Make it").click()
    expect(form.get_by_text("This is needed.")).to_have_count(1)
    form.get_by_label("Name").fill("on call")
    form.get_by_label("viewer").check()
    form.get_by_role("button", name="Make it").click()
    shown = page.get_by_role("dialog", name="The token of “on call”")
    secret = shown.get_by_label("The secret").inner_text()
    page.keyboard.press("Escape")
    expect(shown).to_be_visible()  # a slip does not lose it
    assert barriers(page) == []
    shown.get_by_role("button", name="I have it").click()
    expect(page.get_by_text(secret)).to_have_count(0)
    assert status_with(running, secret) == 200

    # whoever signs in with it sees no page of tokens, and is told why
    other = visitors(token=secret).open("/tokens")
    expect(other.get_by_text("It needs the role admin, and yours is viewer.")).to_be_visible()
    expect(other.get_by_role("navigation", name="Pages").get_by_role("link", name="Tokens")).to_have_count(0)

    page.get_by_role("button", name="Revoke on call").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row", name="on call").get_by_text("revoked")).to_be_visible()
    assert status_with(running, secret) == 401
    expect(page.get_by_role("button", name="Revoke on call")).to_have_count(0)

"""Who opens the bare address is told where to go."""

from __future__ import annotations

import httpx
import pytest

from tests.running import Running

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def leads_somewhere(running: Running, address: str) -> bool:
    """Tell whether there is something; health may say that a busy machine is behind."""
    return httpx.get(f"{running.url}{address}", follow_redirects=True, timeout=30).status_code in {200, 503}


def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere(running: Running) -> None:
    found = httpx.get(f"{running.url}/", headers={"Accept": BROWSER})
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("text/html")
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    assert "://" not in found.text.replace("http://www.w3.org", "")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/xml", ""])
def test_anybody_else_gets_the_same_as_json(running: Running, accept: str) -> None:
    found = httpx.get(f"{running.url}/", headers={"Accept": accept})
    assert found.status_code == 200
    assert found.headers["vary"] == "Accept"
    pointers = found.json()
    assert pointers["documentation"] == "/schema"
    for name in ("documentation", "openapi", "events", "health", "metrics"):
        assert leads_somewhere(running, pointers[name]), name

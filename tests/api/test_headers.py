"""Every response tells a browser to trust it with nothing, whoever made it; one page may run scripts of its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from api.headers import HEADERS
from api.page.routes import SECTIONS
from tests.api.bare import APP
from tests.running import Client, Running

SHOWN = {"/schema", "/schema/", *(f"/{one}{rest}" for one in SECTIONS for rest in ("", "/{rest:path}"))}  # to browsers
PATHS = sorted({route.path for route in APP.routes if isinstance(route, HTTPRoute)})

ALWAYS = {name: value for name, value in HEADERS.items() if name not in {"Content-Security-Policy", "Cache-Control"}}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with TestClient(APP, raise_server_exceptions=False) as client:
        yield client


def test_there_are_routes_to_walk() -> None:
    assert len(PATHS) > 50
    assert {"/", "/metrics", "/schema", "/schema/openapi.json", "/health/live", "/api/v1/events"} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_them(client: TestClient[Litestar], path: str) -> None:
    """The application has no log and no tables here: this is about errors too, those of the engine among them."""
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PATCH"):
        headers = client.request(method, path).headers
        assert {name: headers[name] for name in ALWAYS} == ALWAYS
        assert headers["cache-control"] in {"no-store", "no-cache" if path.startswith("/schema/assets") else "no-store"}
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        shown = ("GET",) if path.startswith("/schema") else ("GET", "HEAD")
        assert ("script-src" in policy) == (path in SHOWN and method in shown)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v1/nowhere", "/schema/nowhere", "/schema/assets/nowhere.js", "/%00"]
)
def test_what_is_not_there_is_a_problem_with_them(client: TestClient[Litestar], path: str) -> None:
    found = client.get(path)
    assert found.status_code == 404
    assert found.headers["content-type"] == "application/problem+json"
    assert {name: found.headers[name] for name in HEADERS} == HEADERS


def test_on_a_running_engine(running: Running, api: Client) -> None:
    """What is served as a rule, a stream, and what the server itself says."""
    for path in ("/", "/health/live", "/health/ready", "/metrics", "/schema/asyncapi.json", "/api/v1/policies"):
        found = api.http.get(f"{running.url}{path}")
        assert found.status_code == 200
        assert {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}.items() <= {
            name: found.headers.get(name) for name in HEADERS
        }.items()
    with api.http.stream("GET", "/events") as stream:
        assert {name: stream.headers[name] for name in HEADERS} == HEADERS
    too_long = httpx.get(f"{running.url}/", headers={"X": "x" * 100_000})
    assert too_long.status_code == 400
    assert too_long.headers["content-type"] == "application/problem+json"
    assert {name: too_long.headers[name] for name in HEADERS} == HEADERS


def test_the_documentation_runs_no_script_but_its_own_files(running: Running) -> None:
    page = httpx.get(f"{running.url}/schema")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "'unsafe-eval'" not in policy
    assert "//" not in policy  # no other host
    assert page.text.count("<script") == page.text.count('<script src="/schema/')
    assert "style=" not in page.text
    assert " on" not in page.text.partition("<body>")[2]  # no handlers within it
    script = httpx.get(f"{running.url}/schema/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert '"/schema/openapi.json"' in script.text
    assets = httpx.get(f"{running.url}/schema/assets/swagger-ui-bundle.js")
    assert assets.headers["cache-control"] == "no-cache"  # it may be kept, if it is asked about
    assert {name: assets.headers[name] for name in ALWAYS} == ALWAYS

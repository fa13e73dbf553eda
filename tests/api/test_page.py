"""The page as it is served: its document at each of its addresses, its files, and what a browser is allowed of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api import headers
from api.page import files, routes
from api.problems import HANDLERS

WEB = Path(__file__).parents[2] / "web"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SCRIPT = "console.log('of the page')\n" * 100
MOST = 150_000  # bytes, compressed, that a page and all that it needs come to


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<!doctype html><script type="module" src="/assets/page-1.js"></script>')
    (tmp_path / "assets/page-1.js").write_text(SCRIPT)
    (tmp_path / "assets/icon.svg").write_text("<svg/>")
    return tmp_path


def served(page: files.Page | None) -> TestClient[Litestar]:
    return TestClient(
        Litestar([routes.router(page)], exception_handlers=HANDLERS, before_send=[headers.secure], openapi_config=None)
    )


@pytest.fixture
def client(built: Path) -> Iterator[TestClient[Litestar]]:
    with served(files.load(built)) as one:
        yield one


@pytest.mark.parametrize("path", ["/", "/login", "/flows", "/flows/a%2Fb", "/executions/x?tab=log", "/?new=1"])
def test_each_address_gives_the_document(client: TestClient[Litestar], path: str) -> None:
    found = client.get(path, headers=BROWSER)
    assert found.status_code == 200
    assert "/assets/page-1.js" in found.text
    assert found.headers["content-security-policy"] == headers.PAGE
    assert "unsafe" not in headers.PAGE
    assert found.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={**BROWSER, "If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_files_are_kept_for_ever_and_sent_compressed(client: TestClient[Litestar]) -> None:
    found = client.get("/assets/page-1.js", headers={"Accept-Encoding": "gzip"})
    assert found.text == SCRIPT
    assert found.headers["content-encoding"] == "gzip"
    assert found.headers["content-type"].startswith("text/javascript")
    assert "immutable" in found.headers["cache-control"]
    plain = client.get("/assets/page-1.js", headers={"Accept-Encoding": "identity"})
    assert plain.text == SCRIPT
    assert "content-encoding" not in plain.headers
    head = client.head("/assets/page-1.js")
    assert (head.status_code, head.content) == (200, b"")
    assert client.get("/assets/icon.svg").headers["content-type"].startswith("image/svg+xml")


@pytest.mark.parametrize("name", ["gone.js", "..%2findex.html", "%2e%2e%2findex.html", "a%00b"])
def test_what_is_no_file_of_the_page_is_not_found(client: TestClient[Litestar], name: str) -> None:
    assert client.get(f"/assets/{name}").status_code == 404


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/xml", ""])
def test_a_program_gets_addresses(client: TestClient[Litestar], accept: str) -> None:
    found = client.get("/", headers={"Accept": accept})
    assert (found.status_code, found.headers["vary"]) == (200, "Accept")
    assert found.json()["documentation"] == "/schema"


def test_without_a_built_page_it_says_how_to_build_it(tmp_path: Path) -> None:
    assert files.load(tmp_path) is None
    with served(None) as client:
        found = client.get("/", headers=BROWSER)
        assert found.status_code == 200
        assert "make page" in found.text
        assert "src=" not in found.text
        assert "://" not in found.text
        assert client.get("/assets/page-1.js").status_code == 404


def test_the_addresses_are_those_of_the_page() -> None:
    shapes = re.findall(r"shape: '/([a-z]*)", (WEB / "src/pages/index.ts").read_text())
    assert {*shapes, "login"} - {""} == set(routes.SECTIONS)


def test_no_page_is_more_than_what_loads_at_once_on_a_slow_line() -> None:
    """As it was built: the document, and all that a page needs before it shows itself."""
    page = files.load()
    if page is None:
        pytest.skip("the page is not built: make page")
    sent = {name: len(one.compressed or one.content) for name, one in page.assets.items()}
    text = {name: one.content.decode() for name, one in page.assets.items() if name.endswith(".js")}
    lists = {name: re.search(r"m\.f=\[(.*?)\]", one) for name, one in text.items()}
    listed = {name: re.findall(r'"assets/([^"]+)"', found[1]) for name, found in lists.items() if found}
    began = set(re.findall(r"/assets/([\w.-]+)", page.index.content.decode()))
    entry = next(one for one in began if one.startswith("index-") and one.endswith(".js"))
    # the pages, each with all that the build says it needs
    needs = re.findall(r'import\(`?"?\./([\w.-]+)`?"?\),__vite__mapDeps\(\[([\d,]*)\]\)', text[entry])
    assert len(needs) > 15, "pages"
    for name, numbers in needs:
        loaded = began | {name} | {listed[entry][int(one)] for one in numbers.split(",") if one}
        total = sum(sent[one] for one in loaded) + len(page.index.content)
        assert total < MOST, f"{name}: {total} bytes"

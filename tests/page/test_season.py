"""Nobody is kept from any page when there is much on it: in both looks and sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize

from tests.page.chromium import LOOKS, SIZES, Visitor, barriers, settle
from tests.page.places import PLACES
from tests.page.world import ids, populated
from tests.running import Running

VIEWPORTS: dict[str, ViewportSize] = {name: options["viewport"] for name, options in SIZES.items()}


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with populated(tmp_path_factory.mktemp("season") / "data", vms=30, flows=6, days=10) as running:
        yield running


def test_nobody_is_kept_from_what_there_is_to_see(browser: Browser, season: Running) -> None:
    """Each page is loaded once: looked at in one size as it is loaded, in the other as it is when that changes."""
    names = ids(season.client())
    found: list[str] = []
    visitor = Visitor(browser, season.url, season.token)
    page = visitor.open()
    for number, place in enumerate(one for one in PLACES if one.signed_in):
        page.goto(place.at(names))
        settle(page)
        sizes = ("desktop", "phone") if number % 2 == 0 else ("phone", "desktop")
        for size, look in zip(sizes, LOOKS, strict=True):
            page.set_viewport_size(VIEWPORTS[size])
            page.emulate_media(color_scheme=look)
            found += [f"{place.name}, {look}, {size}: {barrier}" for barrier in barriers(page)]
    assert visitor.unexpected() == []
    visitor.close()
    assert found == []

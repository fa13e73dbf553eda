"""Screenshots of all pages: `python -m tests.page.screenshots [NAME …]`, or `make screenshots` for all of them.

Each is written in both looks and sizes into docs/screenshots/, and without any data into docs/screenshots/empty/.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.page.chromium import LOOKS, SIZES, Visitor, chromium, settle
from tests.page.places import EMPTY, PLACES, Place
from tests.page.world import ids, populated
from tests.running import ROOT, Running

FOLDER = ROOT / "docs" / "screenshots"
COLOURS = 128  # so that all of them together stay small; the page has few


def shoot(
    browser: Browser, running: Running, places: Iterable[Place], folder: Path, names: Mapping[str, str] | None = None
) -> None:
    """Write a file for each place in each look and size. `names`: ids in their addresses. Raises when one complains."""
    folder.mkdir(parents=True, exist_ok=True)
    for look in LOOKS:
        for size in SIZES:
            for token in (None, running.token):
                visitor = Visitor(browser, running.url, token, look, size)
                for place in places:
                    if place.signed_in == (token is not None):
                        page = visitor.open(place.at(names or {}))
                        settle(page)
                        shot = page.screenshot(animations="disabled", caret="hide")
                        (folder / f"{place.name}-{look}-{size}.png").write_bytes(small(shot))
                        page.close()
                visitor.close()
                if complaints := visitor.unexpected():
                    raise RuntimeError("\n".join(complaints))


def small(png: bytes) -> bytes:
    """Return a picture with few colours."""
    written = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return written.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the screenshots that are named, or all, and say how much they are."""
    parser = argparse.ArgumentParser(prog="python -m tests.page.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(one.name for one in PLACES))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - {one.name for one in PLACES}:
        parser.error(f"there is no page called {', '.join(sorted(unknown))}")
    wanted = [one for one in PLACES if not given.names or one.name in given.names]
    with tempfile.TemporaryDirectory() as data, chromium() as browser:
        running = Running(Path(data) / "empty").start()
        try:
            shoot(browser, running, [one for one in wanted if one in EMPTY], given.folder / "empty")
        finally:
            running.stop()
        with populated(Path(data) / "populated") as running:
            shoot(browser, running, wanted, given.folder, ids(running.client()))
    written = [one.stat().st_size for one in given.folder.rglob("*.png")]
    print(f"{len(written)} screenshots in {given.folder}: {sum(written) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

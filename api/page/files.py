"""The files of the built page, each read, compressed and given an entity tag once. They are few and small."""

from __future__ import annotations

import gzip
import mimetypes
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from schemas.base import Value

INDEX = "index.html"
ASSETS = "assets"
BUILT = files("api.page") / "built"
WORTH = 512  # bytes from which on compression is


class File(Value, frozen=True, kw_only=True):
    """A file as it is sent. `compressed`: by gzip, None when that is not worth it."""

    media_type: str
    content: bytes
    compressed: bytes | None
    etag: str


class Page(Value, frozen=True, kw_only=True):
    """The page: its document, and what that loads, by name."""

    index: File
    assets: dict[str, File]


def load(built: Traversable = BUILT) -> Page | None:
    """Return the page as it was built; None when it was not."""
    index = built / INDEX
    if not index.is_file():
        return None
    folder = built / ASSETS
    assets = {one.name: _file(one) for one in folder.iterdir() if one.is_file()} if folder.is_dir() else {}
    return Page(index=_file(index), assets=assets)


def _file(found: Traversable) -> File:
    content = found.read_bytes()
    compressed = gzip.compress(content, mtime=0) if len(content) >= WORTH else None
    kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    return File(
        media_type="text/javascript" if found.name.endswith(".js") else kind,
        content=content,
        compressed=compressed if compressed is not None and len(compressed) < len(content) else None,
        etag=f'"{sha256(content).hexdigest()[:32]}"',
    )

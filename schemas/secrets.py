"""Secrets are never on the log: a definition with what looks like one is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

_NAMES = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|(^|_)pass$|(^|_|api|access|private)key$", re.IGNORECASE
)
_REFERENCE = re.compile(r"_(env|file)$", re.IGNORECASE)
_USER_INFO = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@", re.IGNORECASE)

ADVICE = "reference it instead: `{name}_env` with the name of an environment variable, or `{name}_file` with a path"


def found(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each field of a definition, spec or patch that holds a secret, with what to do."""
    for path, name, text in _texts(msgspec.to_builtins(value), "", ""):
        if _NAMES.search(name) and not _REFERENCE.search(name):
            yield path, f"{name!r} looks like a secret: {ADVICE.format(name=name)}"
        elif _USER_INFO.search(text):
            yield path, f"an address with a password in it: {ADVICE.format(name='password')}"


def _texts(value: Any, path: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield each text with its path and the name that it stands under; only free names (of settings, labels) count."""
    if isinstance(value, str):
        yield path, name, value
    elif isinstance(value, dict):
        free = path.rpartition(".")[2] in {"config", "destination_config", "labels"}
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _texts(inner, f"{path}.{key}" if path else key, key if free else "")
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _texts(inner, f"{path}[{number}]", name)

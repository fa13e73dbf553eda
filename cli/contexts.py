"""Which engine a command talks to: the one that is named, a remembered one, or the one of a data folder.

What is remembered is in `contexts.json` of the user's configuration: addresses, and paths of files with tokens; never
a token.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from cli import places
from schemas.base import Value

DEFAULT_URL = "http://127.0.0.1:8082"
URL_FILE = "api-url"  # of a data folder: where its engine's API listens, or did when it ran last
CERTIFICATE_FILE = "api-cert.pem"  # and the certificate that it showed there, if it did
TOKEN_FILE = "admin-token"  # noqa: S105  the file's name
UNKNOWN = (
    "no engine is known here: start one with `flows up`, name its folder with --data, or remember one with "
    "`flows context add`"
)


class Context(Value, frozen=True, kw_only=True, omit_defaults=True):
    """An engine, by its address and a file with a token, or by its data folder on this machine.

    `ca`: a file with the certificates that are taken from it.
    """

    url: str | None = None
    token_file: str | None = None
    ca: str | None = None
    data: str | None = None


class Contexts(Value, frozen=True, kw_only=True):
    """What is remembered, by name, and which of them is used."""

    current: str | None = None
    contexts: dict[str, Context] = {}


class Engine(Value, frozen=True, kw_only=True):
    """Where an engine's API is, and the file with the token for it.

    `ca`: a file with the certificates that are taken from it, or that have signed its own. `certificate`: a file with
    the very one that it shows on this machine, by whatever name.
    """

    url: str
    token_file: Path
    ca: Path | None = None
    certificate: Path | None = None


def file() -> Path:
    """Return where contexts are remembered."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "flows" / "contexts.json"


def remembered() -> Contexts:
    """Return what is remembered. Raises `ValueError` when the file does not hold contexts."""
    try:
        return msgspec.json.decode(file().read_bytes(), type=Contexts)
    except FileNotFoundError:
        return Contexts()
    except msgspec.MsgspecError as error:
        raise ValueError(f"{file()} does not hold contexts: {error}. Mend it, or remove it") from error


def remember(contexts: Contexts) -> None:
    """Write what is to be remembered, for this user alone."""
    where = file()
    where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = where.with_name(f"{where.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(contexts), indent=2) + b"\n")
    new.replace(where)


def named(contexts: Contexts, name: str) -> Context:
    """Return a context. Raises `ValueError` when there is none of this name."""
    if name not in contexts.contexts:
        raise ValueError(f"there is no context {name!r}. `flows context list` shows those that there are")
    return contexts.contexts[name]


def engine(
    url: str | None, token_file: Path | None, data: Path | None, name: str | None, ca: Path | None = None
) -> Engine:
    """Return the engine that is meant: by `name`, by `url` or `data`, the remembered one, or that of ./flows-data.

    Raises `ValueError` when none is.
    """
    contexts = remembered()
    if name is None and url is None and data is None:
        name = contexts.current
    if name is not None:
        found = named(contexts, name)
        url, data = url or found.url, data or (Path(found.data) if found.data else None)
        token_file = token_file or (Path(found.token_file) if found.token_file else None)
        ca = ca or (Path(found.ca) if found.ca else None)
    folder = data or places.DEFAULT_DATA
    if token_file is None and data is None:
        token_file = _token_file(contexts, url)
    if token_file is None and not folder.is_dir():
        raise ValueError(UNKNOWN if data is None else f"there is no folder {folder}")
    certificate = folder / CERTIFICATE_FILE if url is None and (folder / CERTIFICATE_FILE).is_file() else None
    return Engine(
        url=url or _url_of(folder), token_file=token_file or folder / TOKEN_FILE, ca=ca, certificate=certificate
    )


def folder(data: Path | None, name: str | None) -> Path | None:
    """Return the data folder that is meant: `data`, or that of context `name`, else of the one that is used.

    None: nothing says it but the environment, or the default. Raises `ValueError` when the engine is elsewhere.
    """
    context = _context(data, name)
    if context is None:
        return data
    if context.data is None:
        raise ValueError(
            f"the engine of {context.url} is elsewhere, and this command reads log and tables themselves: run it "
            "there, or name a folder with --data, or set FLOWS_NATS_URL and FLOWS_DATABASE_URL"
        )
    return Path(context.data)


def is_elsewhere(url: str | None, data: Path | None, name: str | None) -> bool:
    """Tell whether the engine that is meant is known by its address alone, so that only its API can be asked."""
    context = _context(data, name)
    return url is not None or (context is not None and context.data is None)


def _context(data: Path | None, name: str | None) -> Context | None:
    """Return the context that says where log and tables are; None when something else does."""
    if data is not None or (name is None and any(map(os.environ.get, ("FLOWS_NATS_URL", "FLOWS_DATABASE_URL")))):
        return None
    contexts = remembered()
    name = name or contexts.current
    return None if name is None else named(contexts, name)


def _token_file(contexts: Contexts, url: str | None) -> Path | None:
    """Return the file that is remembered for an address."""
    found = (one.token_file for one in contexts.contexts.values() if one.token_file and one.url == url)
    file = next(found, None)
    return Path(file) if file else None


def _url_of(folder: Path) -> str:
    try:
        return (folder / URL_FILE).read_text().strip()
    except OSError:
        return DEFAULT_URL

"""Where a command finds the log, the tables and the token: in a data folder of `flows up`, or by the environment."""

from __future__ import annotations

import os
from pathlib import Path

from cli import settings

DEFAULT_DATA = Path("flows-data")


def nats_url(data: Path | None) -> str:
    """Return the log's address: of a running engine's data folder, else from the environment. Raises `ValueError`."""
    if data is None and (url := os.environ.get("FLOWS_NATS_URL")):
        return settings.nats_url(url)
    from bus.address import with_files, without_password
    from bus.server import CREDENTIALS, in_use

    folder = data or DEFAULT_DATA
    file = folder / "nats-url"
    try:
        url = file.read_text().strip()
    except OSError as error:
        raise ValueError(
            f"cannot read {file}: {error.strerror}. Name the folder of a running `flows up` with --data, "
            "or set FLOWS_NATS_URL"
        ) from error
    if not in_use(folder):
        raise ValueError(not_running(data))
    # what the file holds is for those who subscribe: a command is the operator's
    return with_files(without_password(url), credentials=str(folder.resolve() / CREDENTIALS))


def not_running(data: Path | None) -> str:
    """Return what to tell whoever needs the running engine of a data folder."""
    folder = data or DEFAULT_DATA
    return f"the engine of {folder} does not run: start it with `flows up --data {folder}`"


def database_url(data: Path | None) -> str:
    """Return the tables' address: of a data folder, else from the environment. Raises `ValueError`."""
    if data is None and (url := settings.database_url()):
        return url
    file = (data or DEFAULT_DATA) / "flows.db"
    if not file.exists():
        raise ValueError(
            f"{file} does not exist. Name the folder of a running `flows up` with --data, or set FLOWS_DATABASE_URL"
        )
    return url_of(str(file))


def url_of_existing(database: str) -> str:
    """Return the URL of a database that is read. Raises `ValueError` when it is a SQLite file, and not there."""
    if "://" not in database and not Path(database).is_file():
        raise ValueError(f"there is no file {database}")
    return url_of(database)


def url_of(database: str) -> str:
    """Return a database's URL: as it is, or that of a SQLite file."""
    from services.database import sqlite_url

    return database if "://" in database else sqlite_url(Path(database))


def token(data: Path | None, file: Path | None) -> str:
    """Return the administrator's token: of a file, else of a data folder. Raises `ValueError`."""
    file = file or (data or DEFAULT_DATA) / "admin-token"
    try:
        found = file.read_text(errors="replace").strip()
    except OSError as error:
        raise ValueError(f"cannot read the token from {file}: {error.strerror}. Name it with --token-file") from error
    if not (found.isascii() and found.isprintable() and found):
        raise ValueError(f"{file} does not hold a token: it is one line of letters and digits")
    return found

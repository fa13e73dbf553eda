"""Addresses of NATS: servers, whose credentials, and how servers are verified. All of it is in one text.

`nats://one:4222,nats://two:4222?credentials=/etc/flows/nats&ca=/etc/flows/ca.pem`: the folder has a file for each user,
with its password. `nats://user:password@host` is that user for all parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from bus.errors import Unavailable
from schemas.base import Value

_FORM = "write nats://user:password@host:port, or several with commas; in a password, @ : / , as %40 %3A %2F %2C"
_PARAMETERS = ("credentials", "ca")
_SCHEMES = {"nats", "tls", "ws", "wss"}


class Address(Value, frozen=True, kw_only=True):
    """Where servers are, and the credentials for these and for all others of their cluster.

    `folder` has a file for each user, with its password, when there are no `credentials`. `ca`: the file with the
    certificate that the servers' must be signed by.
    """

    servers: list[str]
    credentials: dict[str, Any] = {}
    folder: str | None = None
    ca: str | None = None

    def of(self, user: str) -> dict[str, Any]:
        """Return the credentials of a user. Raises `Unavailable` when its file cannot be read."""
        if self.credentials or self.folder is None:
            return self.credentials
        file = Path(self.folder) / user
        try:
            return {"user": user, "password": file.read_text().strip()}
        except OSError as error:
            raise Unavailable(
                f"cannot read the password of {user!r}, a user of NATS: {file}: {error.strerror}. "
                "FLOWS_NATS_CREDENTIALS names the folder with these files"
            ) from error


def parse_url(url: str) -> Address:
    """Return the servers and credentials of a URL, or of several with commas between.

    Raises `ValueError` without the password in it.
    """
    servers: list[str] = []
    users: list[tuple[str, str | None]] = []
    given: dict[str, str] = {}
    for one in url.split(","):
        scheme, separator, rest = one.strip().rpartition("://")
        try:
            parts = urlsplit(f"{scheme or 'nats'}://{rest}")
            place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            valid = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
        except ValueError:  # its text has a part of the URL in it
            raise ValueError(f"{without_password(url)!r} is no address of NATS: {_FORM}") from None
        if not valid or parts.path.strip("/") or parts.fragment or (separator and not scheme):
            raise ValueError(f"{without_password(url)!r} is no address of NATS: {_FORM}")
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        if not parameters.keys() <= set(_PARAMETERS):
            raise ValueError(f"{without_password(url)!r} is no address of NATS: {_FORM}")
        given |= parameters
        servers.append(place)
        if parts.username is not None:
            users.append((unquote(parts.username), None if parts.password is None else unquote(parts.password)))
    if len(set(users)) > 1:
        raise ValueError(f"{without_password(url)!r} has more than one user or password: a cluster has the same on all")
    credentials: dict[str, Any] = {}
    if users:
        user, password = users[0]
        credentials = {"token": user} if password is None else {"user": user, "password": password}
    return Address(servers=servers, credentials=credentials, folder=given.get("credentials"), ca=given.get("ca"))


def with_files(url: str, *, credentials: str | None = None, ca: str | None = None) -> str:
    """Return a URL that also says where the folder of passwords and the file of the CA are, unless it does already."""
    for name, value in (("credentials", credentials), ("ca", ca)):
        if value and f"{name}=" not in url.rpartition("?")[2]:
            url += f"{'&' if '?' in url.rpartition(',')[2] else '?'}{name}={quote(value, safe='/')}"
    return url


def as_user(url: str, user: str, password: str) -> str:
    """Return a URL, or several with commas between, with these credentials instead of those that it says."""
    found = parse_url(url)
    places = (server.partition("://") for server in found.servers)
    shown = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return with_files(",".join(f"{scheme}://{shown}@{place}" for scheme, _, place in places), ca=found.ca)


def without_password(url: str) -> str:
    """Return a URL, or several with commas between, that may be shown."""
    shown: list[str] = []
    for one in url.split(","):
        scheme, separator, rest = one.rpartition("://")
        shown.append(f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}")
    return ",".join(shown)

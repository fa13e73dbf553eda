"""Targets: the URLs and addresses that a notification may go to. Pure.

Who defines notifications must not reach, through the notifier, what only the notifier's machine can: its own services,
its neighbours, a cloud's metadata. So addresses that are not public are refused, but for those that whoever runs the
notifier allows by name. An address is judged as it is connected to, never as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from schemas.base import Value

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}")
_NAT64 = ip_network("64:ff9b::/96")  # an IPv4 address is in its last 32 bits
_TRANSLATED = (ip_network("::/96"), ip_network("64:ff9b:1::/48"))  # ways to others that nobody has in earnest


class Refused(Exception):
    """A target that a notification must not go to."""


class Target(Value, frozen=True, kw_only=True):
    """The parts of a webhook's URL. `path` is the request's target: the query is in it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The host and port as a `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Allowed(Value, frozen=True, kw_only=True):
    """What may be reached although it is not public: whole networks, and hosts by their names."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @staticmethod
    def parse(text: str) -> Allowed:
        """Return what `FLOWS_WEBHOOK_ALLOW` says: `10.0.0.0/8,localhost`. Raises `ValueError`."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError:
                if "/" in part or not _HOST.fullmatch(part):
                    raise ValueError(f"{part!r} is neither a network, like 10.0.0.0/8, nor a host's name") from None
                hosts.add(_plain(part))
        return Allowed(networks=tuple(networks), hosts=frozenset(hosts))

    def names(self, host: str) -> bool:
        """Tell whether a host is allowed by its name."""
        return _plain(host) in self.hosts

    def covers(self, address: Address) -> bool:
        """Tell whether an address is in a network that is allowed."""
        return any(address in network for network in self.networks)


NOTHING = Allowed()


def parse(url: str) -> Target:
    """Return the parts of a URL. Raises `Refused` that says what is wrong, and not what else is in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("it is no URL") from None
    if parts.scheme not in PORTS:
        raise Refused("only https:// and http:// can be called")
    if parts.username is not None or parts.password is not None:
        raise Refused("a user or password in it would stand on the log: the signature says who calls")
    if not host or not _HOST.fullmatch(host) or "\\" in url or port == 0:
        raise Refused("there is no host in it that can be called")
    if parts.fragment:
        raise Refused("a `#` and what follows is never sent")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise Refused("letters outside ASCII must be written as %…")
    return Target(scheme=parts.scheme, host=host, port=port or PORTS[parts.scheme], path=path)


def fault(url: str) -> str | None:
    """Return what is wrong with the URL of a webhook, None when nothing is."""
    try:
        parse(url)
    except Refused as refused:
        return str(refused)
    return None


def chosen(host: str, scheme: str, found: Sequence[str], allowed: Allowed) -> str:
    """Return the one of a host's addresses to connect to. Raises `Refused` when any of them must not be reached.

    One of several that is private would be reached sooner or later, by whoever controls the name.
    """
    addresses = [_address(one) for one in found]
    if not addresses:
        raise Refused(f"{host} has no address")
    for address in addresses:
        reason = refusal(address, allowed, host=host)
        if reason is not None:
            where = host if host == str(address) else f"{host} is at {address}"
            raise Refused(f"{where}, {reason}: it is not called unless FLOWS_WEBHOOK_ALLOW allows it")
    if scheme == "http" and not (allowed.names(host) or all(map(allowed.covers, addresses))):
        raise Refused(f"http:// is for what FLOWS_WEBHOOK_ALLOW names, and {host} is not there: use https://")
    return str(addresses[0])


def refusal(address: Address, allowed: Allowed, *, host: str = "") -> str | None:
    """Return what kind of address must not be reached, None for one that may be."""
    meant = _meant(address)
    if allowed.covers(meant) or (host and allowed.names(host)):
        return None
    for kind, text in (
        ("is_loopback", "which is this machine"),
        ("is_link_local", "which is on this network alone, as metadata services are"),
        ("is_multicast", "which is many machines"),
        ("is_unspecified", "which is no machine"),
    ):
        if getattr(meant, kind):
            return text
    if isinstance(meant, IPv6Address) and any(meant in network for network in _TRANSLATED):
        return "which leads to another one"
    return None if meant.is_global else "which is private"


def _address(text: str) -> Address:
    return ip_address(text.partition("%")[0])


def _meant(address: Address) -> Address:
    """Return the IPv4 address within an IPv6 one, where there is one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _plain(host: str) -> str:
    return host.casefold().rstrip(".")

"""The relay: a process that sends one message by apprise, and may connect only where messages may go.

apprise and what it uses look names up themselves. So each connection is judged where Python makes it: at the address.
"""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from schemas.base import Value
from schemas.notifications import Severity
from services.notifier.targets import Allowed, refusal


class Errand(Value, frozen=True, kw_only=True):
    """What is to be sent, and what may be reached although it is not public."""

    url: str
    title: str
    body: str
    severity: Severity
    networks: list[str]
    hosts: list[str]


class Result(Value, frozen=True, kw_only=True):
    """Whether it was sent, and what to say of it."""

    sent: bool
    reason: str


class Guard:
    """Refuses connections, by Python's audit events, and remembers why. It cannot be taken away again."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._named: set[str] = set()  # the addresses of hosts that are allowed by name
        self.refused: str | None = None

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge what Python is about to do. Raises `PermissionError`."""
        if event in {"socket.connect", "socket.sendto"}:
            self._judge(arguments[0], arguments[1])

    def name(self, host: str, addresses: list[str]) -> None:
        """Allow the addresses of a host that is allowed by name."""
        if self._allowed.names(host):
            self._named.update(addresses)

    def _judge(self, connection: Any, address: Any) -> None:
        if connection.family not in {socket.AF_INET, socket.AF_INET6}:
            self._refuse("it is not on a network")
        host = str(address[0]).partition("%")[0]
        if host in self._named:
            return
        reason = refusal(ip_address(host), self._allowed)
        if reason is not None:
            self._refuse(f"{host} must not be reached, {reason}; FLOWS_WEBHOOK_ALLOW can allow it")

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        raise PermissionError(reason)


def send(errand: Errand) -> Result:
    """Send a message. Nothing that is said of it has the URL in it."""
    import apprise  # noqa: PLC0415  it takes long, and only this process needs it

    allowed = Allowed(networks=tuple(map(ip_network, errand.networks)), hosts=frozenset(errand.hosts))
    guard = Guard(allowed)
    service = apprise.Apprise.instantiate(errand.url, suppress_exceptions=True)
    if service is None:
        return Result(sent=False, reason="the secret is no URL that apprise understands")
    host = getattr(service, "host", None)
    if isinstance(host, str) and allowed.names(host):
        found = socket.getaddrinfo(host, None)
        guard.name(host, [str(one[4][0]) for one in found])
    sys.addaudithook(guard.hook)
    kinds = {
        "info": apprise.NotifyType.INFO,
        "warning": apprise.NotifyType.WARNING,
        "error": apprise.NotifyType.FAILURE,
    }
    sent = service.notify(title=errand.title, body=errand.body, notify_type=kinds[errand.severity])
    name = str(service.service_name)
    if guard.refused is not None:
        return Result(sent=False, reason=guard.refused)
    return Result(sent=bool(sent), reason=f"{name} took it" if sent else f"{name} did not take it")


def main() -> None:
    """Read an errand, and write its result."""
    errand = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)
    try:
        result = send(errand)
    except Exception as error:  # noqa: BLE001  whatever it was, it may have the URL in it
        result = Result(sent=False, reason=f"it could not be sent: {type(error).__name__}")
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()

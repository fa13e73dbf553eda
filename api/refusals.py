"""What was refused, in the log: to whom, at which route and why, never what was sent.

At most one line a second for each address; further ones are counted, and the count is told. So nobody fills the disk.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging

log = logging.getLogger(__name__)

REPORTED = frozenset({401, 403, 429})  # statuses of responses that are reported
PAUSE = 1.0  # seconds between two lines about one address
MOST = 100  # addresses with lines of their own at the same time; those beyond share theirs
OTHERS = "other addresses"


def address_of(host: str | None) -> str:
    """Return what stands for a client: its IPv4 address, or its network of IPv6, in which it may take any address."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return (host or "unknown")[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
    return str(address)


class Refusals:
    """Reports refusals. Needs a running event loop."""

    def __init__(self) -> None:
        self._suppressed: dict[str, int] = {}  # by address that was reported within `PAUSE` seconds: refused since then

    def report(self, host: str | None, *, status: int, route: str, reason: str) -> None:
        """Write a line about a refusal, or count it for the next one."""
        address = address_of(host)
        if address not in self._suppressed and len(self._suppressed) >= MOST:
            address = OTHERS
        if address in self._suppressed:
            self._suppressed[address] += 1
            return
        about = {"action": "refused", "address": address, "status": status, "route": route, "reason": reason}
        log.warning("refused %s from %s with %d: %s", route, address, status, reason, extra=about)
        self._pause(address)

    def _pause(self, address: str) -> None:
        self._suppressed[address] = 0
        asyncio.get_running_loop().call_later(PAUSE, self._report_suppressed, address)

    def _report_suppressed(self, address: str) -> None:
        if number := self._suppressed.pop(address):
            about = {"action": "refused_more", "address": address, "suppressed": number}
            log.warning("refused %d more requests from %s within a second", number, address, extra=about)
            self._pause(address)

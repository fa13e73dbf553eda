"""Where a notification may go: addresses in all their notations."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from services.notifier import targets, webhook
from services.notifier.targets import NOTHING, Allowed, Refused
from tests.services.notifier.receiver import Receiver

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_reached(address: str) -> None:
    assert targets.chosen("example.com", "https", [address], NOTHING) == str(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0.0.0.0", "::", "::ffff:0:0"),
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12:3456::1"),
        *("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"),
        *("224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::7f00:1"),
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # 127.0.0.1 behind a tunnel
    ],
)
def test_other_addresses_may_not(address: str) -> None:
    with pytest.raises(Refused, match="FLOWS_WEBHOOK_ALLOW"):
        targets.chosen("example.com", "https", [address], NOTHING)
    with pytest.raises(Refused):
        targets.chosen("example.com", "https", ["8.8.8.8", address], NOTHING)


def test_networks_and_hosts_can_be_allowed() -> None:
    allowed = Allowed.parse("10.0.0.0/8, fd00::/8,Relay.Example. ,localhost")
    assert targets.chosen("x", "https", ["10.1.2.3"], allowed) == "10.1.2.3"
    assert targets.chosen("x", "https", ["::ffff:10.1.2.3"], allowed) == str(ip_address("::ffff:10.1.2.3"))
    assert targets.chosen("relay.example", "https", ["192.168.0.1"], allowed) == "192.168.0.1"
    assert targets.chosen("LOCALHOST", "http", ["127.0.0.1"], allowed) == "127.0.0.1"
    assert targets.chosen("x", "http", ["10.1.2.3"], allowed) == "10.1.2.3"
    with pytest.raises(Refused, match="use https://"):
        targets.chosen("x", "http", ["8.8.8.8"], allowed)
    with pytest.raises(Refused):
        targets.chosen("y", "https", ["10.1.2.3", "192.168.0.1"], allowed)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "a b", "*.example.com", "10.0.0.0/99"])
def test_what_cannot_be_allowed_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="neither a network"):
        Allowed.parse(text)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/", "file:///etc/passwd", "https:///x", "https://", "gopher://x/", "https://a b/"),
        *("https://user@example.com/", "https://user:word@example.com/", "https://example.com/#x", "https://x:0/"),
        *(
            "https://x:99999/",
            "https://[::1/",
            "https://example.com\\@127.0.0.1/",
            "https://exämple.com/",
            "https://x/ä",
        ),
    ],
)
def test_what_is_no_target(url: str) -> None:
    reason = targets.fault(url)
    assert reason is not None
    assert "word" not in reason.replace("password", "")


def test_a_target_keeps_its_query() -> None:
    target = targets.parse("https://Example.com:8443/a/b?c=d&e=%20")
    assert (target.host, target.port, target.path) == ("example.com", 8443, "/a/b?c=d&e=%20")
    assert target.authority == "example.com:8443"
    assert targets.parse("https://[2606:4700::1]").authority == "[2606:4700::1]"


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]"],
)
@pytest.mark.server
async def test_however_this_machine_is_written_it_is_not_called(receiver: Receiver, host: str) -> None:
    with pytest.raises((Refused, webhook.Failed)):
        await webhook.call(f"https://{host}:{receiver.port}/", b"{}", "d", b"key", NOW, NOTHING)
    assert receiver.calls == []


@pytest.mark.server
async def test_the_address_that_was_checked_is_the_one_that_is_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time is looked up once."""
    lookups: list[str] = []

    async def addresses(host: str, _: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["127.0.0.9"]

    monkeypatch.setattr(webhook, "_addresses", addresses)
    allowed = Allowed.parse("hook.example")
    said = await webhook.call(f"http://hook.example:{receiver.port}/", b"{}", "d", b"key", NOW, allowed)
    assert (said.status, lookups) == (200, ["hook.example"])
    (call,) = receiver.calls
    assert call.headers["host"] == f"hook.example:{receiver.port}"

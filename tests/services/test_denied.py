"""A part, or a command, that is not permitted what it does: it ends, and says what, and whose user it is."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from bus.address import with_files
from bus.errors import Unavailable
from bus.log import Log
from bus.server import CREDENTIALS, Server
from cli.attach import attached
from cli.history import prune
from services.hosting import host
from services.registry.app import Registry
from services.setup.app import Setup
from tests.support import T0


def mixed_up(server: Server, folder: Path, *, part: str, password_of: str) -> str:
    """Return the address with passwords among which a part's is another user's."""
    shutil.copytree(server.folder / CREDENTIALS, folder / "mixed")
    (folder / "mixed" / part).write_text((folder / "mixed" / password_of).read_text())
    return with_files(f"nats://127.0.0.1:{server.port}", credentials=str(folder / "mixed"))


@pytest.mark.parametrize(
    ("service", "user", "denied"),
    [
        (Registry(), "recorder", "$kv.flows_checkpoints.service.registry."),
        (Registry(), "subscriber", "$js.api.stream.info.flows"),
        (Setup(), "executor", "$kv.flows_checkpoints.service.setup."),
    ],
)
async def test_a_part_with_another_ones_address_ends_and_says_what_is_denied(
    server: Server, log: Log, service: Registry | Setup, user: str, denied: str
) -> None:
    with pytest.raises(Unavailable) as failed:
        await asyncio.wait_for(host(service, server.url_of(user), asyncio.Event()), 30)
    assert f"NATS does not permit its user '{user}' this (permissions violation for publish to \"{denied}" in str(
        failed.value
    )
    assert server.url_of(user).split(":")[2].split("@")[0] not in str(failed.value)


async def test_passwords_that_are_mixed_up_are_refused(server: Server, log: Log, tmp_path: Path) -> None:
    url = mixed_up(server, tmp_path, part="registry", password_of="worker")
    with pytest.raises(Unavailable, match="NATS refuses the user or password"):
        await host(Registry(), url, asyncio.Event())


async def test_a_command_of_a_subscriber_ends_and_says_so(server: Server, log: Log) -> None:
    with pytest.raises(Unavailable, match="NATS does not permit its user 'subscriber' this"):
        async with asyncio.timeout(30), attached(server.url_of("subscriber"), "flows-log") as found:
            await found.read([">"])
    with pytest.raises(Unavailable, match=r"does not permit its user 'recorder' this .*command.history.prune"):
        await asyncio.wait_for(prune(server.url_of("recorder"), T0), 30)

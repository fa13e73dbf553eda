"""Commands that read, on the data folder of an engine that does not run; and what the others say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.errors import Error

from bus.connection import connect
from bus.errors import LogError
from bus.log import Log
from bus.server import Server, in_use
from bus.setup import declare_at
from cli.attach import reading
from cli.doctor.findings import finding
from cli.doctor.report import _of_stopped
from tests.cli.support import flows
from tests.histories.files import FOLDER, load
from tests.servers import root, server_in
from tests.support import alive, policy, sent

pytestmark = pytest.mark.server


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Log]:
    client = await connect(url, "test")
    try:
        yield Log(client)
    finally:
        await client.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an engine that has done something, was killed, and does not run."""
    folder = tmp_path_factory.mktemp("stopped") / "data"
    server = server_in(folder)
    server.start()

    async def fill() -> None:
        await declare_at(server.url)
        async with opened(root(server)) as log:
            for entry in load(FOLDER / "limits.jsonl"):
                await log.append([entry.envelope], expect={})

    asyncio.run(fill())
    server.kill()
    server.stop()
    done = flows("rebuild", "--into", str(folder / "flows.db"), "--data", str(folder))
    assert done.returncode == 0, done.stderr
    yield folder
    assert not in_use(folder)


def test_log_is_printed(folder: Path) -> None:
    done = flows("log", "--data", str(folder))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(load(FOLDER / "limits.jsonl"))
    assert done.stderr == ""


def test_replay_decides_the_same_again(folder: Path) -> None:
    done = flows("replay", "--data", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 of them different today" in done.stdout
    assert done.stderr == ""


def test_doctor_checks_log_and_tables_and_asks_for_no_service(folder: Path) -> None:
    done = flows("doctor", "--data", str(folder))
    assert done.stdout.startswith("• the engine does not run: its log and its tables are checked as it left them\n")
    assert "✓ the log responds, and holds messages up to" in done.stdout
    assert "gone" not in done.stdout
    assert done.stderr == ""


def test_what_is_due_when_the_engine_starts_is_no_problem_of_a_stopped_one() -> None:
    due = finding(["an occurrence is due: is a scheduler running?"], "", passing=True)
    lost = finding(["a request is lost"], "")
    assert _of_stopped(due).level == "note"
    assert _of_stopped(lost) == lost


def test_nothing_can_be_appended_meanwhile(folder: Path) -> None:
    """Red if the server that is started for readers takes what another client sends it."""

    async def last(url: str) -> int:
        async with opened(url) as log:
            return (await log.identity()).last_sequence

    async def append(url: str) -> None:
        async with opened(url) as log:
            with pytest.raises((Error, TimeoutError, RuntimeError, LogError)):
                await asyncio.wait_for(log.append([sent(policy())], expect={}), 3)

    with reading(folder) as log_at:
        before = asyncio.run(last(log_at.url))
        asyncio.run(append(log_at.url))
        assert asyncio.run(last(log_at.url)) == before
        pid = int((folder / "nats.pid").read_text())
        assert alive(pid)
    assert not alive(pid)


def test_a_running_engine_is_read_where_it_is(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    try:
        with reading(tmp_path / "data") as log_at:
            assert (log_at.url, log_at.stopped) == (server.url, False)
        assert server.running
    finally:
        server.stop()


@pytest.mark.parametrize(
    "arguments",
    [["log", "--follow"], ["dead", "list"], ["prune", "--keep", "90d"], ["replay", "--publish-to", "replay"]],
)
def test_what_needs_the_engine_says_what_to_start(arguments: list[str], folder: Path) -> None:
    done = flows(*arguments, "--data", str(folder))
    assert done.returncode == 1
    assert f"the engine of {folder} does not run: start it with `flows up --data {folder}`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_without_a_log_is_one_line(tmp_path: Path) -> None:
    done = flows("log", "--data", str(tmp_path), env={"HOME": os.environ.get("HOME", "/")})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"flows: cannot read {tmp_path}/nats-url: No such file or directory. Name the folder")

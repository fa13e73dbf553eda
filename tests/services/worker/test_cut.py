"""A worker whose connection is cut in the middle of a backup: what it did counts once, if it is still the newest.

`FLOWS_TEST_CUT`: seconds for which the connection is cut; by default a little longer than a lease, which is short here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.events import BackupCancelled, BackupRequested
from services.hosting import host
from services.worker.app import Worker
from services.worker.engines.engine import BackupError, Report, Result
from tests.proxy import Proxy
from tests.services.conftest import Engine
from tests.services.worker.support import (
    ABOUT,
    LEASE,
    Gate,
    acknowledged,
    lease,
    request,
    say,
)
from tests.support import eventually

__all__ = ["lease"]

CUT = float(os.environ.get("FLOWS_TEST_CUT", str(1.5 * LEASE)))


class Afar:
    """A worker called `one` behind a link that can be cut, with what it keeps."""

    def __init__(self, engine: Engine, outbox: Path) -> None:
        self.proxy = Proxy(engine.server.url)
        self.gate = Gate()
        self.outbox = outbox
        self.worker = Worker(engines={"simulated": self.gate}, worker_id="one", outbox=outbox)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with self.proxy.open():
            task = asyncio.create_task(host(self.worker, self.proxy.url, stop))
            try:
                yield
            finally:
                await self.proxy.mend()
                stop.set()
                await task

    @property
    def kept(self) -> list[Path]:
        return list(self.outbox.glob("*.jsonl"))

    async def finishes_while_cut(self) -> None:
        """Cut the link, and let the engine have its result then."""
        await eventually(lambda: self.gate.begun)
        self.proxy.cut()
        self.gate.open.set()
        await eventually(lambda: self.kept)


@pytest.fixture
def afar(lease: None, engine: Engine, tmp_path: Path) -> Afar:
    return Afar(engine, tmp_path / "outbox")


async def test_what_a_worker_did_while_it_was_cut_off_counts_once(engine: Engine, afar: Afar) -> None:
    async with afar.running():
        sequence = await say(engine.log, request())
        await afar.finishes_while_cut()
        (file,) = afar.kept
        assert file.stat().st_mode & 0o777 == 0o600
        await asyncio.sleep(CUT)  # not a wait: how long the connection is cut
        assert await engine.messages("backup.completed.>") == []
        await afar.proxy.mend()
        await engine.until("backup.completed.>", within=60)
        await acknowledged(engine, sequence)
        await eventually(lambda: not afar.kept)
    (done,) = await engine.messages("backup.completed.>")
    assert (done.attempt, done.snapshot_ref) == (1, "gate:1")
    assert (afar.gate.begun, afar.gate.discarded) == ([1], [])
    assert len(await engine.messages("backup.started.>")) == 1


async def test_an_attempt_that_failed_while_it_was_cut_off_is_followed_by_the_next(engine: Engine, afar: Afar) -> None:
    class Failing(Gate):
        async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
            result = await super().backup(request, attempt, report)
            if attempt == 1:
                raise BackupError("the disk is gone")
            return result

    afar.gate = Failing()
    afar.worker = Worker(engines={"simulated": afar.gate}, worker_id="one", outbox=afar.outbox)
    async with afar.running():
        sequence = await say(engine.log, request(retry_attempts=1))
        await afar.finishes_while_cut()
        await afar.proxy.mend()
        (done,) = await engine.until("backup.completed.>", within=60)
        await acknowledged(engine, sequence)
        assert afar.kept == []
    (retrying,) = await engine.messages("backup.retrying.>")
    assert (retrying.error, done.attempt, afar.gate.begun) == ("the disk is gone", 2, [1, 2])


@pytest.mark.parametrize("over", [True, False], ids=["which has ended", "which is at work"])
async def test_it_counts_for_nothing_when_another_attempt_was_made(engine: Engine, afar: Afar, *, over: bool) -> None:
    """What it left is removed, once it is known what counts instead: not under the hands of the newer attempt."""
    second = Gate()
    async with afar.running():
        sequence = await say(engine.log, request())
        await eventually(lambda: afar.gate.begun)
        async with engine.running(Worker(engines={"simulated": second}, worker_id="two")):
            await afar.finishes_while_cut()
            await eventually(lambda: second.begun, within=CUT + 30)
            if over:
                second.open.set()
                await engine.until("backup.completed.>")
            await afar.proxy.mend()
            await eventually(lambda: not afar.worker._held, within=60)
            if not over:
                assert afar.kept  # not known yet what is to stay
                assert afar.gate.discarded == []
                second.open.set()
            await eventually(lambda: not afar.kept)
            await acknowledged(engine, sequence)
    (done,) = await engine.messages("backup.completed.>")
    assert (done.attempt, done.snapshot_ref, second.begun) == (2, "gate:2", [2])
    assert afar.gate.discarded == [("backup-1", "gate:2")]
    assert second.discarded == []


async def test_it_counts_for_nothing_when_the_executor_has_closed_the_backup(engine: Engine, afar: Afar) -> None:
    async with afar.running():
        await say(engine.log, request())
        await afar.finishes_while_cut()
        await say(engine.log, BackupCancelled(**ABOUT, attempt=1, reason="its worker has not answered"))
        await afar.proxy.mend()
        await eventually(lambda: not afar.kept, within=60)
    assert await engine.messages("backup.completed.>") == []
    assert ("backup-1", None) in afar.gate.discarded


async def test_an_outbox_that_cannot_be_written_or_read_keeps_nobody_from_work(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "half.jsonl").write_text('{"sequence":')
    (tmp_path / "outbox" / "backup-1-1.jsonl").mkdir()  # nothing can take its place
    afar = Afar(engine, tmp_path / "outbox")
    async with afar.running():
        await say(engine.log, request())
        await eventually(lambda: afar.gate.begun)
        afar.proxy.cut()
        afar.gate.open.set()
        await eventually(lambda: "kept in memory alone" in caplog.text)
        await afar.proxy.mend()
        await engine.until("backup.completed.>", within=60)
    assert "half.jsonl holds no outcome of a backup" in caplog.text

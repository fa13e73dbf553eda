"""`flows why`: why a flow ran, or did not, and what became of an execution."""

from __future__ import annotations

from datetime import datetime

import msgspec
from rich.console import Console

from api.readmodel import explain as explaining
from api.readmodel.reader import ReadModel
from api.responses.flows import Explanation
from api.workers import labels
from bus.clock import now
from bus.envelope import Stored
from cli.attach import attached
from cli.client import Api, segment
from cli.failures import NOT_FOUND, Failure
from cli.nouns import FLOW, id_of
from cli.terminal import print_json, print_line
from services import database
from services.explanation.explanation import explain, surveyed
from services.explanation.reading import BACKUPS, FIRST, beginning, question_about


async def by_tables(url: str, what: str, at: datetime | None) -> Explanation | None:
    """Return what the tables tell about a flow (its name or id) or an execution; None when there is no such thing."""
    reader = ReadModel(database.reader(url))
    try:
        flow_id = await explaining.flow_id_of(reader, what)
        if flow_id is not None:
            return await explaining.of_flow(reader, flow_id, at, now())
        execution = await explaining.of_execution(reader, what, now())
        return execution or await explaining.of_flow(reader, what, at, now())  # a flow that was deleted
    finally:
        await reader.close()


def by_api(api: Api, what: str, at: datetime | None) -> Explanation | None:
    """Return what an engine's API tells; None when there is no such thing."""
    query = {} if at is None else {"at": at.isoformat()}
    try:
        places = [(f"{FLOW.path}/{id_of(api, FLOW, what)}/explain", query)]
    except Failure as error:
        if error.code != NOT_FOUND:
            raise
        # an execution, or a flow that was deleted
        places = [(f"/executions/{segment(what)}/explain", {}), (f"{FLOW.path}/{segment(what)}/explain", query)]
    for path, given in places:
        try:
            return msgspec.convert(api.call("GET", path, params=given), Explanation)
        except Failure as error:
            if error.code != NOT_FOUND:
                raise
    return None


async def by_log(url: str, what: str, at: datetime | None) -> Explanation | None:
    """Return what the log itself tells, without any tables; None when there is no such thing. Raises `LogError`."""
    async with attached(url, "flows-why") as log:
        last = (await log.identity()).last_sequence
        entries = await log.read(FIRST, until=last)
        survey = surveyed(one for one in entries if isinstance(one, Stored))
        question = question_about(survey, what, at)
        if (first := beginning(survey, question)) is not None:
            entries += await log.read(BACKUPS, after=first - 1, until=last)
        workers = await labels(log)
    known = sorted((one for one in entries if isinstance(one, Stored)), key=lambda one: one.sequence)
    told = explain(known, question, now(), workers=workers)
    return None if told is None else explaining.response(told)


def show(found: Explanation | None, what: str, console: Console, *, as_json: bool) -> None:
    """Print an explanation, each sentence with where on the log its causes are. Raises `ValueError` without one."""
    if found is None:
        raise ValueError(f"there is no flow {what!r}, nor an execution with this id")
    if as_json:
        print_json(console, found)
        return
    if found.execution_id is not None:
        print_line(console, (f"Execution {found.execution_id}", "dim"))
    for sentence in found.sentences:
        places = ", ".join(f"#{cause.sequence}" for cause in sentence.causes)
        print_line(console, sentence.text, (f"  {places}" if places else "", "dim"))

"""Routes of the audit log: commands, and what became of them."""

from __future__ import annotations

from litestar import get
from litestar.params import FromQuery

from api.context import Context
from api.problems import not_found
from api.readmodel import audit, definitions
from api.readmodel.audit import AuditFilter
from api.responses.log import AuditList, CommandResponse
from api.routes.parameters import READ, Limit, Offset, PathId, Since, Until, moment, page
from bus.subjects import IDENTITIES


@get("/audit", responses=READ, tags=["Audit"], opt={"role": "viewer"})
async def list_audit(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    actor: FromQuery[str | None] = None,
    entity: FromQuery[str | None] = None,
    entity_id: FromQuery[str | None] = None,
    verb: FromQuery[str | None] = None,
    outcome: FromQuery[str | None] = None,
    since: Since = None,
    until: Until = None,
) -> AuditList:
    """List commands, newest first: who asked when for what, its outcome and reason, before and after."""
    wanted = AuditFilter(
        actor=actor,
        entity=entity,
        entity_id=entity_id,
        verb=verb,
        outcome=outcome,
        since=moment("from", since),
        until=moment("to", until),
    )
    return await audit.find(context.reader, wanted, page(limit, offset), identities=context.identity.sees_identities)


@get("/commands/{command_id:str}", responses=READ, tags=["Audit"], opt={"role": "viewer"})
async def get_command(context: Context, command_id: PathId) -> CommandResponse:
    """Return a command and what became of it."""
    found = await definitions.command(context.reader, command_id)
    if found is None or (found.entity in IDENTITIES and not context.identity.sees_identities):
        raise not_found("command", command_id)
    return found

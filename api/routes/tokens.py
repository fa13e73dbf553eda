"""Routes of tokens: who may use the API, and what they may do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from secrets import token_urlsafe
from typing import Annotated, Any

from litestar import Response, Router, delete, get, post
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery, JSONBody, QueryParameter
from msgspec import structs

from api.context import Context, RequestContext
from api.naming import Mention, ids_of
from api.permission import unscoped
from api.problems import ApiError, Pending, address, errors, not_found
from api.readmodel import tokens
from api.requests import TokenRequest
from api.responses.tokens import CreatedToken, PendingToken, TokenList, TokenResponse
from api.routes.parameters import READ, WRITE, Limit, Offset, PathId, page
from api.usage import LastUse, last_use
from bus.errors import LogError
from schemas import commands as c
from schemas import tokens as secrets
from schemas.definitions import TokenSpec

SHOWN_ONCE = (
    "this request came before with its Idempotency-Key, and the secret was shown then, once: the "
    "engine does not know it. If nobody has it, revoke the token and create another one, with another name and key"
)
UNKNOWN_USE = LastUse(used=None, refused=None)
Called = FromQuery[Annotated[str | None, QueryParameter(max_length=255, description="with this name")]]


@get("/", responses={**READ, **errors(403)}, opt={"role": "admin"})
async def list_tokens(context: Context, limit: Limit = 50, offset: Offset = 0, name: Called = None) -> TokenList:
    """List tokens, newest first, revoked and expired ones too; never their secrets."""
    rows, total = await tokens.find(context.reader, page(limit, offset), name=name)
    return TokenList(tokens=await asyncio.gather(*(_shown(context, row) for row in rows)), total=total)


@get("/{token_id:str}", responses={**READ, **errors(403)}, opt={"role": "admin"})
async def get_token(context: Context, token_id: PathId) -> TokenResponse:
    """Return a token; never its secret."""
    return await _shown(context, await _known(context, token_id))


@post(
    "/",
    responses={
        **WRITE,
        202: ResponseSpec(PendingToken, description="It waits on the log", generate_examples=False),
    },
    opt={"role": "admin"},
)
async def create_token(context: Context, data: JSONBody[TokenRequest]) -> Response[CreatedToken | PendingToken]:
    """Create a token. The response has its secret, this once: the engine keeps only a SHA-256 of it.

    A request that comes again with its Idempotency-Key is
    refused, as the secret was shown already.
    """
    if await context.repeats():
        raise ApiError(409, SHOWN_ONCE)
    groups = await _groups(context, data)
    secret = secrets.secret(token_urlsafe(secrets.BYTES))
    spec = TokenSpec(
        name=data.name,
        role=data.role,
        groups=groups,
        expires_at=data.expires_at,
        digest=secrets.digest_of(secret),
    )
    token_id = context.new_id("token")
    headers = {"Cache-Control": "no-store"}
    try:
        await context.submit(c.CreateToken(id=token_id, spec=spec))
        made = await _shown(context, await _known(context, token_id))
    except Pending as pending:
        message = "the command is on the log; the secret opens nothing before its outcome, and is not shown again"
        body = PendingToken(command_id=pending.command_id, status="pending", message=message, secret=secret)
        return Response(body, status_code=202, headers={**headers, "Location": address(pending.command_id)})
    return Response(CreatedToken(**structs.asdict(made), secret=secret), status_code=201, headers=headers)


@delete("/{token_id:str}", responses=WRITE, opt={"role": "admin"})
async def revoke_token(context: Context, token_id: PathId) -> None:
    """Revoke a token, for ever: it opens nothing any more, and its live streams end. What it did stays in the audit."""
    if not await context.repeats():
        await _known(context, token_id)
    await context.submit(c.RevokeToken(id=token_id))


async def _groups(context: RequestContext, data: TokenRequest) -> list[str] | None:
    """Return the ids of the groups that a token is limited to. Raises 422."""
    if data.groups is None:
        return None
    mentions = [Mention(field=f"groups[{n}]", kind="group", text=text) for n, text in enumerate(data.groups)]
    return sorted(set((await ids_of(context, mentions)).values()))


async def _known(context: RequestContext, token_id: str) -> tokens.Row:
    """Return a token's row. Raises 404."""
    row = await tokens.one(context.reader, token_id)
    if row is None:
        raise not_found("token", token_id)
    return row


async def _shown(context: RequestContext, row: dict[str, Any]) -> TokenResponse:
    use = UNKNOWN_USE
    with suppress(LogError):  # that is no reason not to show the rest
        use = await last_use(context.log, row["id"])
    expired = row["expires_at"] is not None and row["expires_at"] <= context.now
    return TokenResponse(
        id=row["id"],
        name=row["name"],
        role=row["role"],
        groups=row["groups"],
        status="revoked" if row["revoked_at"] else "expired" if expired else "active",
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        revoked_by=row["revoked_by"],
        last_used_at=use.used,
        last_refused_at=use.refused,
    )


ROUTER = Router(
    path="/tokens",
    route_handlers=[list_tokens, get_token, create_token, revoke_token],
    guards=[unscoped],
    tags=["Tokens"],
)

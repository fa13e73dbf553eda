"""What a command changes in the tokens of the API. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec import structs

from schemas import commands as c
from schemas.definitions import Token, TokenSpec
from schemas.events import TokenDefined
from schemas.ids import instant
from schemas.tokens import PROVIDED
from schemas.workers import ACTOR
from services.catalogue import Catalogue
from services.registry.checks import Refusal

# who else stands in the audit log: nobody may pass for them
RESERVED = frozenset(
    {"admin", "unknown", "api", "registry", "scheduler", "executor", "worker", "recorder", "notifier", "environment"}
)


def changed(catalogue: Catalogue, command: c.CreateToken | c.RevokeToken, actor: str, time: datetime) -> TokenDefined:
    """Return a token as it is from here on. Raises `Refusal`."""
    current = catalogue.tokens.get(command.id)
    if isinstance(command, c.RevokeToken):
        if current is None:
            raise Refusal("not_found", f"there is no token {command.id!r}")
        if current.revoked_at is None:
            revised = {"version": current.version + 1, "revoked_at": time, "revoked_by": actor}
            current = structs.replace(current, **revised)
        return TokenDefined(id=current.id, version=current.version, definition=current)
    if current is not None:
        raise Refusal("conflict", f"there is a token {command.id!r} already", "id")
    if refusals := list(_refusals(catalogue, command.spec, time)):
        raise Refusal.of(refusals)
    born = Token(**structs.asdict(command.spec), id=command.id, version=1, created_at=time, created_by=actor)
    return TokenDefined(id=born.id, version=born.version, definition=born)


def _refusals(catalogue: Catalogue, spec: TokenSpec, time: datetime) -> Iterator[Refusal]:
    """Yield what is wrong with a new token. A name is never used twice: the audit log knows people by it."""
    name = spec.name.casefold()
    if name in RESERVED or name != name.strip() or name.startswith((PROVIDED, ACTOR)):
        yield Refusal("invalid", f"no token can be named {spec.name!r}: it would pass for somebody else", "name")
    if namesake := next((one for one in catalogue.tokens.values() if one.name.casefold() == name), None):
        been = "was revoked" if namesake.revoked_at else "exists"
        reason = f"a token {namesake.name!r} {been}, and the audit log knows its holder by that name: choose another"
        yield Refusal("conflict", reason, "name")
    if any(one.digest == spec.digest for one in catalogue.tokens.values()):
        yield Refusal("conflict", "there is a token with this secret already", "digest")
    for group in spec.groups or ():
        if group not in catalogue.groups:
            yield Refusal("invalid", f"there is no group {group!r}", "groups")
    if spec.expires_at is not None and spec.expires_at <= time:
        yield Refusal("invalid", f"{instant(spec.expires_at)} has passed already", "expires_at")

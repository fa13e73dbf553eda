"""References in bodies: to an id, or to a name that one definition alone has. On the log there are ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast, get_args

from msgspec import structs

from api.context import Context
from api.problems import invalid, shortened, unknown
from api.readmodel import names
from api.readmodel.names import Named
from api.validation import FieldError
from schemas.base import ID_PATTERN, Value
from schemas.definitions import Kind

V = TypeVar("V", bound=Value)


class Mention(Value, frozen=True, kw_only=True):
    """What a field says of a definition: its id, or its name."""

    field: str
    kind: Kind
    text: str


async def ids_of(
    context: Context, mentions: Iterable[Mention], earlier: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the ids of what is mentioned, by field. Raises 422 that names every field for which there is none."""
    found, wrong = await resolved(context, mentions, earlier)
    if wrong:
        raise invalid(422, wrong)
    return found


async def resolved(
    context: Context, mentions: Iterable[Mention], earlier: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[FieldError]]:
    """Return the ids of what is mentioned, by field, and the fields that lead to nothing, or to several.

    An id that the tables do not have stands for itself: the log may have it already, and who decides knows. Not for one
    with a scope: there, what is not seen does not exist.
    `earlier`: what fields led to when this request came before; it counts for names that have gone since.
    """
    found: dict[str, str] = {}
    wrong: list[FieldError] = []
    all_of, sees_all = list(mentions), context.identity.groups is None
    for kind in cast("tuple[Kind, ...]", get_args(Kind)):
        some = [one for one in all_of if one.kind == kind]
        there = await names.existing(context.reader, kind, {one.text for one in some}) if some else set[str]()
        rest = {one.text for one in some} - there
        called = await names.named(context.reader, kind, rest) if rest else {}
        for one in some:
            if one.text in there:
                found[one.field] = one.text
            elif one.text in called and called[one.text].count == 1:
                (found[one.field],) = called[one.text].ids
            elif earlier and one.field in earlier:
                found[one.field] = earlier[one.field]
            elif sees_all and one.text not in called and re.search(ID_PATTERN, one.text):
                found[one.field] = one.text
            else:
                wrong.append(FieldError(field=one.field, message=_unclear(one, called.get(one.text))))
    return found, wrong


async def referring(context: Context, body: V, kinds: Mapping[str, Kind]) -> V:
    """Return a body with ids in its fields that refer to something, by field the kind of it. Raises 422."""
    said = {field: getattr(body, field) for field in kinds}
    mentions = [
        Mention(field=field, kind=kinds[field], text=text) for field, text in said.items() if isinstance(text, str)
    ]
    if not mentions:
        return body
    return structs.replace(body, **await ids_of(context, mentions, await _earlier(context, mentions)))


async def _earlier(context: Context, mentions: Iterable[Mention]) -> dict[str, str]:
    """Return what fields led to when this request came before with its key; nothing when it did not."""
    command = await context.earlier()
    definition = getattr(command, "spec", None) or getattr(command, "patch", None) or command
    found = {one.field: getattr(definition, one.field, None) for one in mentions}
    return {field: id_ for field, id_ in found.items() if isinstance(id_, str)}


def _unclear(mention: Mention, named: Named | None) -> str:
    if named is None:
        return unknown(mention.kind, mention.text)
    text = shortened(mention.text)
    more = ", …" if named.count > len(named.ids) else ""
    ids = ", ".join(named.ids)
    return f"{named.count} definitions of a {mention.kind} have the name {text!r}: say which, by its id: {ids}{more}"

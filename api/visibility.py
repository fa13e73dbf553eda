"""What an identity may see: with a scope, its groups and what belongs to these, and of everything else nothing at all.

Statements of a reader that is bound to a scope run over its part of the tables: each table's name stands for a common
table expression with the rows that may be seen. So no query, count or join can forget it, and one that is added sees no
more. A table that nothing is said of here is empty for those with a scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, MetaData, Select, Table, and_, exists, false, literal, or_, select

from api.identity import Identity
from bus.subjects import IDENTITIES
from schemas import tables as t
from schemas.base import Value
from schemas.ids import AD_HOC

OPEN = (t.settings, t.freezes, t.projection)  # what holds for the whole engine, and may be read by everybody
NOTHING_REFERRED = ("execute", "enable", "disable")  # verbs of changes of definitions that mention no others
_DEFINED: Mapping[str, Table] = {
    "group": t.machine_groups,
    "vm": t.vms,
    "flow": t.protection_flows,
    "schedule": t.schedules,
    "repository": t.repositories,
    "policy": t.policies,
}


class Scope(Value, frozen=True, kw_only=True):
    """The part of everything that one may see: by the ids of groups. `actor`: whose commands are one's own."""

    actor: str
    groups: frozenset[str]

    def over(self, statement: Select[*tuple[Any, ...]], dialect: str) -> Select[*tuple[Any, ...]]:
        """Return a statement that runs over this part of the tables alone."""
        return statement.add_cte(*_parts(self, dialect))


def scope_of(identity: Identity) -> Scope | None:
    """Return the scope of an identity, None when it may see everything."""
    return None if identity.groups is None else Scope(actor=identity.actor, groups=identity.groups)


Whole = Callable[[Table], Table]  # a table as it is, beside the part of it that has its name
Rule = Callable[[Whole, Scope], ColumnElement[bool]]  # which rows of the whole table may be seen


@lru_cache(maxsize=256)
def _parts(scope: Scope, dialect: str) -> tuple[CTE, ...]:
    """Return the parts of all tables that are not open, in an order in which each refers to those before it."""
    whole = _qualified if dialect == "sqlite" else _as_it_is
    rest = [table for table in t.metadata.sorted_tables if table not in RULES and table not in OPEN]
    rules = {**RULES, **dict.fromkeys(rest, _nothing)}
    return tuple(
        select(whole(table))
        .where(rule(whole, scope))
        .cte(table.name)
        .prefix_with("NOT MATERIALIZED", dialect="postgresql")
        for table, rule in rules.items()
    )


# What a name means within the expression that is called so, or in one before it: PostgreSQL takes the whole table, as
# it is not recursive; SQLite takes the expression, and wants the table qualified.
_COPIES = MetaData(schema="main")


def _qualified(table: Table) -> Table:
    copy = _COPIES.tables.get(f"main.{table.name}")
    return table.to_metadata(_COPIES, schema="main") if copy is None else copy


def _as_it_is(table: Table) -> Table:
    return table


def _nothing(_: Whole, __: Scope) -> ColumnElement[bool]:
    return false()


def _groups(whole: Whole, scope: Scope) -> ColumnElement[bool]:
    return whole(t.machine_groups).c.id.in_(sorted(scope.groups))


def _members(whole: Whole, scope: Scope) -> ColumnElement[bool]:
    return whole(t.machine_group_members).c.group_id.in_(sorted(scope.groups))


def _vms(whole: Whole, _: Scope) -> ColumnElement[bool]:
    return whole(t.vms).c.id.in_(select(t.machine_group_members.c.context_id))


def _flows(whole: Whole, _: Scope) -> ColumnElement[bool]:
    c = whole(t.protection_flows).c
    of_group = and_(c.target_type == "group", c.target_id.in_(select(t.machine_groups.c.id)))
    return or_(of_group, and_(c.target_type == "vm", c.target_id.in_(select(t.vms.c.id))))


def _schedules(whole: Whole, _: Scope) -> ColumnElement[bool]:
    id_ = whole(t.schedules).c.id
    of_flows, of_groups = select(t.protection_flows.c.schedule_id), select(t.machine_groups.c.schedule_id)
    return or_(id_.in_(of_flows), id_.in_(of_groups))


def _repositories(whole: Whole, _: Scope) -> ColumnElement[bool]:
    return whole(t.repositories).c.id.in_(select(t.protection_flows.c.repository_id))


def _policies(whole: Whole, _: Scope) -> ColumnElement[bool]:
    return whole(t.policies).c.id.in_(select(t.protection_flows.c.policy_id))


def _executions(whole: Whole, _: Scope) -> ColumnElement[bool]:
    c = whole(t.executions).c
    return or_(c.flow_id.in_(select(t.protection_flows.c.id)), c.id.in_(_outside_flows(whole)))


def _outside_flows(whole: Whole) -> Select[Any]:
    """Select the executions outside any flow that may be seen: of VMs that may be."""
    e, j = whole(t.executions).c, whole(t.backup_jobs).c
    outside = select(e.id).join(whole(t.backup_jobs), j.execution_id == e.id)
    return outside.where(e.flow_id.is_(None), j.context_id.in_(select(t.vms.c.id)))


def _jobs(whole: Whole, _: Scope) -> ColumnElement[bool]:
    return whole(t.backup_jobs).c.execution_id.in_(select(t.executions.c.id))


def _commands(whole: Whole, scope: Scope) -> ColumnElement[bool]:
    """Return one's own, and those about what may be seen. Names of tokens are nobody else's (`Scope.actor`).

    Of others' changes of definitions that were not accepted there is nothing: what they mention, and the reasons, may
    be about anything.
    """
    c, outcome = whole(t.commands).c, whole(t.events).c
    harmless = or_(c.outcome == "accepted", c.verb.in_(NOTHING_REFERRED))
    on_executions = exists().where(outcome.sequence == c.outcome_sequence, _is_activity(whole))
    return or_(
        and_(c.actor == scope.actor, c.entity.not_in(IDENTITIES)),  # these are for nobody with a scope
        and_(harmless, or_(*(and_(c.entity == kind, c.entity_id.in_(ids)) for kind, ids in _defined()))),
        and_(c.entity.in_(("execution", "backfill", "backup")), on_executions),
    )


def _events(whole: Whole, _: Scope) -> ColumnElement[bool]:
    """Return messages about flows that may be seen, and definitions, commands and their outcomes likewise.

    Dead letters, and what is about the engine as a whole but for its settings and freeze, are left out.
    """
    c, command = whole(t.events).c, t.commands.c
    theirs = or_(command.sequence == c.sequence, command.outcome_sequence == c.sequence)
    return or_(
        _is_activity(whole),
        *(and_(c.type == f"catalog.{kind}", c.key.in_(ids)) for kind, ids in _defined()),
        c.type.in_(("catalog.settings", "catalog.freeze")),
        and_(or_(_of_family(c.type, "command"), _of_family(c.type, "rejected")), exists().where(theirs)),
    )


def _is_activity(whole: Whole) -> ColumnElement[bool]:
    """Return whether an event is about what flows, or VMs outside any flow, that may be seen have done."""
    c = whole(t.events).c
    outside = and_(c.key == AD_HOC, c.correlation.in_(_outside_flows(whole)))
    of_flows = or_(c.key.in_(select(t.protection_flows.c.id)), outside)
    return and_(or_(_of_family(c.type, "flow"), _of_family(c.type, "backup")), of_flows)


def _of_family(type_: ColumnElement[str], family: str) -> ColumnElement[bool]:
    # the pattern is written out: SQLite plans a statement anew for each value of one that is bound
    return type_.like(literal(f"{family}.%", literal_execute=True))


def _defined() -> Iterator[tuple[str, Select[Any]]]:
    """Yield the kinds of definitions, each with a statement for the ids of those that may be seen."""
    for kind, table in _DEFINED.items():
        yield kind, select(table.c.id)


RULES: Mapping[Table, Rule] = {
    t.machine_groups: _groups,
    t.machine_group_members: _members,
    t.vms: _vms,
    t.protection_flows: _flows,
    t.schedules: _schedules,
    t.repositories: _repositories,
    t.policies: _policies,
    t.executions: _executions,
    t.backup_jobs: _jobs,
    t.commands: _commands,
    t.events: _events,
}

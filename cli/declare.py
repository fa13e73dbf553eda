"""`flows export` and `flows apply`: definitions as one YAML document, by name, through the API.

A document has a list for each kind. References are names, so that it means the same on another system; a VM's is its
`context_id`. What is applied is compared with what is there first, and the difference is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console

from api import requests
from cli.client import Api
from cli.printable import is_printable
from cli.terminal import print_line
from schemas.base import Value
from schemas.definitions import (
    FlowSpec,
    GroupSpec,
    PolicySpec,
    RepositorySpec,
    ScheduleSpec,
    VmSpec,
)
from schemas.renamed import renamed

Document = dict[str, list[dict[str, Any]]]
Act = Literal["create", "update", "delete"]


class Section(Value, frozen=True, kw_only=True):
    """One kind in a document: its list's name, the API's path and list key, and the fields that it may have."""

    name: str
    path: str
    key: str
    spec: type[Any]
    identity: str = "name"
    id: str = "id"

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.spec.__struct_fields__)


# in the order in which they can be created: what refers to something comes after it
SECTIONS = (
    Section(name="vms", path="/vm-contexts", key="vm_contexts", spec=VmSpec, identity="context_id", id="context_id"),
    Section(name="schedules", path="/schedules", key="schedules", spec=ScheduleSpec),
    Section(name="groups", path="/machine-groups", key="groups", spec=GroupSpec),
    Section(name="repositories", path="/repositories", key="repositories", spec=RepositorySpec),
    Section(name="policies", path="/policies", key="policies", spec=PolicySpec),
    Section(name="flows", path="/protection-flows", key="flows", spec=FlowSpec),
)
_REFERENCES = {"repository": "repositories", "policy": "policies", "schedule": "schedules"}


class DefinitionChange(Value, frozen=True, kw_only=True):
    """One thing to do: to what, and which fields (before, after) differ."""

    act: Act
    section: Section
    name: str
    fields: dict[str, tuple[Any, Any]]


class System:
    """The definitions that a system has now, as a document and by id."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.document: Document = {}
        self.ids: dict[tuple[str, str], str] = {}
        for section in SECTIONS:
            found = list(api.all(section.path, section.key, sort="created_at"))
            self.ids.update({(section.name, one[section.identity]): one[section.id] for one in found})
            self.document[section.name] = [self._entry(section, one) for one in found]

    def _entry(self, section: Section, found: dict[str, Any]) -> dict[str, Any]:
        """Return a definition as an entry of a document: references by name, without what the engine adds."""
        entry = {section.identity: found[section.identity]}
        entry |= {field: found[field] for field in section.fields if field in found}
        if section.name == "vms":
            entry["disks"] = self.api.call("GET", f"{section.path}/{found['context_id']}/disks")["disks"]
        if section.name == "groups":
            members = self.api.all(f"{section.path}/{found['id']}/vms", "vms") if found["total_vms"] else ()
            entry["members"] = [{name: one[name] for name in ("context_id", "enabled", "priority")} for one in members]
            del entry["schedule_id"]
            entry["schedule"] = found["schedule_name"]
        if section.name == "flows":
            for what in _REFERENCES:
                del entry[f"{what}_id"]
                entry[what] = found[f"{what}_name"]
            entry["target"] = found["target_id"] if entry.pop("target_type") == "vm" else found["target_name"]
            entry["target_type"] = found["target_type"]
            del entry["target_id"]
        return entry

    def body(self, section: Section, entry: dict[str, Any]) -> dict[str, Any]:
        """Return an entry as the API wants it: references by id. Raises `ValueError` for a name that is not known."""
        body = dict(entry)
        if section.name == "groups" and "schedule" in body:
            name = body.pop("schedule")
            body["schedule_id"] = None if name is None else self._id(section, entry, "schedule", "schedules", name)
        if section.name == "flows":
            for what, where in _REFERENCES.items():
                name = body.pop(what, None)
                body[f"{what}_id"] = None if name is None else self._id(section, entry, what, where, name)
            target = body.pop("target", None)
            where = "vms" if body.get("target_type") == "vm" else "groups"
            body["target_id"] = self._id(section, entry, "target", where, str(target))
        return body

    def _id(self, section: Section, entry: dict[str, Any], field: str, where: str, name: str) -> str:
        found = self.ids.get((where, name))
        if found is None:
            raise ValueError(f"{section.name} {entry.get('name')!r}: {field}: there is no {name!r} among the {where}")
        return found


def read(file: Path) -> Document:
    """Return a document. Raises `ValueError` that names what is wrong."""
    try:
        found = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {error}") from error
    names = {section.name: section for section in SECTIONS}
    if not isinstance(found, dict) or not set(found) <= set(names):
        raise ValueError(f"{file} must have lists named {', '.join(names)}, and nothing else")
    for name, entries in found.items():
        for number, entry in enumerate(entries or []):
            identity = names[name].identity
            if not isinstance(entry, dict) or not isinstance(entry.get(identity), str):
                raise ValueError(f"{file}: {name}[{number}] has no {identity!r}")  # noqa: TRY004  the file is wrong
        given = [entry[names[name].identity] for entry in entries or []]
        if twice := {one for one in given if given.count(one) > 1}:
            raise ValueError(f"{file}: {name}: {min(twice)!r} is there twice")
    document = {name: list(entries or []) for name, entries in found.items()}
    if "schedules" in document:
        document["schedules"] = [renamed(entry) for entry in document["schedules"]]
    return document


def difference(there: Document, wanted: Document, *, prune: bool) -> list[DefinitionChange]:
    """Return what has to be done, in order, so that what is there becomes what is wanted. Pure.

    A field that is left out of an entry stays as it is. `prune`: what is not in the document is deleted.
    """
    changes: list[DefinitionChange] = []
    for section in SECTIONS:
        now = {entry[section.identity]: entry for entry in there.get(section.name, [])}
        for entry in wanted.get(section.name, []):
            name = entry[section.identity]
            if name not in now:
                fields = {field: (None, value) for field, value in entry.items()}
                changes.append(DefinitionChange(act="create", section=section, name=name, fields=fields))
                continue
            fields = {
                field: (now[name].get(field), value) for field, value in entry.items() if now[name].get(field) != value
            }
            if fields:
                changes.append(DefinitionChange(act="update", section=section, name=name, fields=fields))
    if prune:
        for section in reversed(SECTIONS):
            kept = {entry[section.identity] for entry in wanted.get(section.name, [])}
            for entry in there.get(section.name, []):
                if entry[section.identity] not in kept:
                    name = entry[section.identity]
                    changes.append(DefinitionChange(act="delete", section=section, name=name, fields={}))
    return changes


def export(api: Api) -> str:
    """Return all definitions as a document. What a terminal would act on is escaped in it."""
    document = System(api).document
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text if is_printable(text) else yaml.safe_dump(document, sort_keys=False, allow_unicode=False)


def apply(api: Api, file: Path, *, prune: bool, dry_run: bool, console: Console) -> None:
    """Show the difference between a document and the system, and, unless `dry_run`, make the system so."""
    wanted = read(file)
    system = System(api)
    changes = difference(system.document, wanted, prune=prune)
    _show(changes, console)
    if dry_run:
        return
    entries = {
        (section.name, entry[section.identity]): entry for section in SECTIONS for entry in wanted.get(section.name, [])
    }
    for change in changes:
        _carry_out(system, change, entries.get((change.section.name, change.name), {}))
    print_line(console, f"{len(changes)} changes made" if changes else "nothing to do")


def _carry_out(system: System, change: DefinitionChange, entry: dict[str, Any]) -> None:
    section, key = change.section, (change.section.name, change.name)
    match change.act:
        case "create":
            made = system.api.call("POST", section.path, json=system.body(section, entry))
            system.ids[key] = made[section.id]
        case "update":
            current = next(one for one in system.document[section.name] if one[section.identity] == change.name)
            fields = system.body(section, {**current, **entry})
            members = fields.pop("members", None)
            patch = {field: fields[field] for field in _patchable(section) if field in fields}
            system.api.call("PUT", f"{section.path}/{system.ids[key]}", json=patch)
            if members is not None and "members" in change.fields:
                _regroup(system, f"{section.path}/{system.ids[key]}/vms", current["members"], members)
        case "delete":
            system.api.call("DELETE", f"{section.path}/{system.ids[key]}")


def _patchable(section: Section) -> tuple[str, ...]:
    patch: type[Any] = getattr(requests, section.spec.__name__.replace("Spec", "PatchRequest"))
    return tuple(patch.__struct_fields__)


def _regroup(system: System, path: str, now: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    there = {member["context_id"]: member for member in now}
    for member in wanted:
        before = there.pop(member["context_id"], None)
        if before is None:
            system.api.call("POST", path, json=member)
        elif before | member != before:
            change = {name: member[name] for name in ("enabled", "priority") if name in member}
            system.api.call("PATCH", f"{path}/{member['context_id']}", json=change)
    for context_id in there:
        system.api.call("DELETE", f"{path}/{context_id}")


def _show(changes: list[DefinitionChange], console: Console) -> None:
    marks = {"create": ("green", "+"), "update": ("yellow", "~"), "delete": ("red", "-")}
    for change in changes:
        colour, mark = marks[change.act]
        print_line(console, (f"{mark} {change.section.name}: {change.name}", colour))
        if change.act == "update":
            for field, (before, after) in change.fields.items():
                print_line(console, f"    {field}: {before!r} → {after!r}")

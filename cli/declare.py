"""`flows export` and `flows apply`: definitions as one YAML document, by name, through the API.

A document has a list for each kind. References are names, so that it means the same on another system; a VM's is its
`context_id`. What is applied is compared with what is there first, and the difference is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from rich.console import Console

from bus.clock import now
from cli.client import Api
from cli.failures import Failure
from cli.nouns import NOUNS, references
from cli.printable import is_printable
from cli.shown import plural
from cli.terminal import err, print_line
from cli.trial import BODIES, Trial, unknown_fields
from schemas.base import Value
from schemas.definitions import DEFINITIONS, Definition, Disk, Exclusion, Kind, Member, Settings
from schemas.renamed import renamed

Document = dict[str, list[dict[str, Any]]]
Act = Literal["create", "update", "delete"]


class Section(Value, frozen=True, kw_only=True):
    """One kind in a document: its list's name, the API's path and list key, and the fields that it may have."""

    name: str
    kind: Kind
    path: str
    key: str
    spec: type[Any]
    identity: str = "name"
    id: str = "id"

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.spec.__struct_fields__)

    @property
    def known(self) -> tuple[str, ...]:
        """The fields of an entry: references by name."""
        if self.kind == "vm":
            return ("context_id", *self.fields)
        named = {*references(self.spec), "target_id"}
        return tuple(field.removesuffix("_id") if field in named else field for field in self.fields)


SECTIONS = tuple(
    Section(
        name=noun.plural,
        kind=noun.name,
        path=noun.path,
        key=noun.key,
        spec=noun.spec,
        identity="context_id" if noun.name == "vm" else noun.title,
        id=noun.id,
    )
    for noun in NOUNS
)


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
        self.definitions: list[Definition] = []
        for section in SECTIONS:
            found = list(api.all(section.path, section.key, sort="created_at"))
            self.ids.update({(section.name, one[section.identity]): one[section.id] for one in found})
            self.document[section.name] = [self._entry(section, one) for one in found]
            for one, entry in zip(found, self.document[section.name], strict=True):
                whole = {"armed_at": one["updated_at"], **one, "id": one[section.id]}
                whole |= {field: entry[field] for field in ("disks", "members") if field in entry}
                self.definitions.append(msgspec.convert(whole, DEFINITIONS[section.kind]))

    def _entry(self, section: Section, found: dict[str, Any]) -> dict[str, Any]:
        """Return a definition as an entry of a document: references by name, without what the engine adds."""
        entry = {section.identity: found[section.identity]}
        entry |= {field: found[field] for field in section.fields if field in found}
        if section.name == "vms":
            entry["disks"] = self.api.call("GET", f"{section.path}/{found['context_id']}/disks")["disks"]
        if section.name == "groups":
            members = self.api.all(f"{section.path}/{found['id']}/vms", "vms") if found["total_vms"] else ()
            entry["members"] = [{name: one[name] for name in ("context_id", "enabled", "priority")} for one in members]
        for field, noun in references(section.spec).items():
            del entry[field]
            entry[noun.name] = found[f"{noun.name}_name"]
        if section.name == "notifications":
            entry["flows"] = found["flow_names"]
        if section.name == "flows":
            entry["target"] = found["target_id"] if entry.pop("target_type") == "vm" else found["target_name"]
            entry["target_type"] = found["target_type"]
            del entry["target_id"]
        return entry

    def body(self, section: Section, entry: dict[str, Any]) -> dict[str, Any]:
        """Return an entry as the API wants it: references by id. Raises `ValueError` for a name that is not known."""
        body = dict(entry)
        for field, noun in references(section.spec).items():
            name = body.pop(noun.name, None)
            body[field] = None if name is None else self._id(noun.name, noun.plural, name)
        if section.name == "notifications" and isinstance(body.get("flows"), list):
            body["flows"] = [self._id("flows", "flows", name) for name in body["flows"]]
        if (target := body.pop("target", None)) is not None:
            where = "vms" if body.get("target_type") == "vm" else "groups"
            body["target_id"] = self._id("target", where, target)
        return body

    def patch(self, section: Section, entry: dict[str, Any]) -> dict[str, Any]:
        """Return what the API is to change in a definition that is there, so that it is as an entry says."""
        fields = self.body(section, {**self.current(section, entry[section.identity]), **entry})
        patchable: tuple[str, ...] = BODIES[section.kind].patch.__struct_fields__
        return {field: fields[field] for field in patchable if field in fields}

    def current(self, section: Section, name: str) -> dict[str, Any]:
        """Return the entry of what is called so."""
        return next(one for one in self.document[section.name] if one[section.identity] == name)

    def _id(self, field: str, where: str, name: Any) -> str:
        found = self.ids.get((where, name)) if isinstance(name, str) else None
        if found is None:
            raise ValueError(f"{field}: there is no {name!r} among the {where}")
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
        if not isinstance(entries, list | None):
            raise ValueError(f"{file}: {name} must be a list")  # noqa: TRY004  the file is wrong
        for number, entry in enumerate(entries or []):
            identity = names[name].identity
            if not isinstance(entry, dict) or not isinstance(entry.get(identity), str):
                raise ValueError(f"{file}: {name}[{number}] has no {identity!r}")  # noqa: TRY004  the file is wrong
        given = [entry[names[name].identity] for entry in entries or []]
        if twice := {one for one in given if given.count(one) > 1}:
            raise ValueError(f"{file}: {name}: {min(twice)!r} is there twice")
    # YAML has dates of its own, which are texts in JSON
    document: Document = {name: msgspec.to_builtins(entries or []) for name, entries in found.items()}
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
            both = {field: (now[name].get(field), value) for field, value in entry.items()}
            fields = {field: pair for field, pair in both.items() if pair[0] != _filled(field, *pair)}
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


def _filled(field: str, there: Any, wanted: Any) -> Any:
    """Return a list of objects with what is left out in it: of members as it is, of others as it is by default."""
    shape = {"members": Member, "disks": Disk, "exclusions": Exclusion}.get(field)
    if shape is None or not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        return wanted
    defaults = {
        one.name: msgspec.to_builtins(
            one.default if one.default_factory is msgspec.NODEFAULT else one.default_factory()
        )
        for one in msgspec.structs.fields(shape)
        if not one.required
    }
    known = {one["context_id"]: one for one in there or []} if field == "members" else {}
    return [{**defaults, **known.get(one.get("context_id"), {}), **one} for one in wanted]


def export(api: Api) -> str:
    """Return all definitions as a document. What a terminal would act on is escaped in it."""
    document = System(api).document
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text if is_printable(text) else yaml.safe_dump(document, sort_keys=False, allow_unicode=False)


def apply(api: Api, file: Path, *, prune: bool, dry_run: bool, console: Console) -> None:
    """Show the difference between a document and the system, and, unless `dry_run`, make the system so.

    Raises `Failure` when something in the document is wrong: then nothing is shown and nothing is made.
    """
    wanted = read(file)
    system = System(api)
    changes = difference(system.document, wanted, prune=prune)
    entries = {
        (section.name, entry[section.identity]): entry for section in SECTIONS for entry in wanted.get(section.name, [])
    }
    settings = msgspec.convert(api.call("GET", "/settings"), Settings)
    if wrong := _faults(system, Trial(system.definitions, settings, now()), changes, entries):
        for fault in wrong:
            print_line(err, f"flows: {fault}")
        raise Failure(f"{plural(len(wrong), 'fault')} in {file}: nothing was changed")
    _show(changes, console)
    if dry_run and changes:
        return
    for number, change in enumerate(changes):
        try:
            _carry_out(system, change, entries.get((change.section.name, change.name), {}))
        except Failure as error:
            made = f"{number} of {plural(len(changes), 'change')} made before"
            raise Failure(f"{change.section.name} {change.name!r}: {error} ({made})", error.code) from error
    print_line(console, f"{plural(len(changes), 'change')} made" if changes else "nothing to do")


def _faults(
    system: System, trial: Trial, changes: list[DefinitionChange], entries: dict[tuple[str, str], dict[str, Any]]
) -> list[str]:
    """Return what is wrong with a document, each in one line. References to what it creates itself are known."""
    known = system.ids
    system.ids = dict(known)
    found = [
        f"{section.name} {entry[section.identity]!r}: {wrong}"
        for section in SECTIONS
        for (name, _), entry in entries.items()
        if name == section.name
        for wrong in unknown_fields(list(entry), section.known)
    ]
    unmade: list[str] = []  # ids of what is wrong itself: that it is not there need not be said where it is named
    for number, change in enumerate(changes):
        entry = entries.get((change.section.name, change.name), {})
        try:
            wrong = _tried(system, trial, change, _known(change.section, entry), f"new-{number}")
        except ValueError as error:
            wrong = [str(error)]
        own = [one for one in wrong if not any(repr(id_) in one for id_ in unmade)]
        found += [f"{change.section.name} {change.name!r}: {one}" for one in own]
        if wrong and change.act == "create":
            unmade.append(system.ids[change.section.name, change.name])
    system.ids = known
    return found


def _known(section: Section, entry: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in entry.items() if field in section.known}


def _tried(system: System, trial: Trial, change: DefinitionChange, entry: dict[str, Any], new_id: str) -> list[str]:
    """Try one change; return what is wrong with it."""
    section, key = change.section, (change.section.name, change.name)
    match change.act:
        case "create":
            system.ids[key] = change.name if section.id == section.identity else new_id
            return trial.create(section.kind, system.ids[key], system.body(section, entry))
        case "update":
            fixed = [field for field in change.fields if field in entry and field not in _changeable(section)]
            wrong = [f"{field}: it cannot be changed; delete it, and create another one" for field in fixed]
            wrong += trial.wrong_members(entry.get("members", []))
            return wrong or trial.update(section.kind, system.ids[key], system.patch(section, entry))
        case "delete":
            return trial.delete(section.kind, system.ids[key])


def _changeable(section: Section) -> tuple[str, ...]:
    patchable: tuple[str, ...] = BODIES[section.kind].patch.__struct_fields__
    named = (field.removesuffix("_id") for field in (*references(section.spec), "target_id"))
    return (*patchable, *named, "members")


def _carry_out(system: System, change: DefinitionChange, entry: dict[str, Any]) -> None:
    section, key = change.section, (change.section.name, change.name)
    match change.act:
        case "create":
            made = system.api.call("POST", section.path, json=system.body(section, entry))
            system.ids[key] = made[section.id]
        case "update":
            path = f"{section.path}/{system.ids[key]}"
            system.api.call("PUT", path, json=system.patch(section, entry))
            if "members" in change.fields:
                current = system.current(section, change.name)
                _regroup(system, f"{path}/vms", current["members"], entry["members"])
        case "delete":
            system.api.call("DELETE", f"{section.path}/{system.ids[key]}")


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

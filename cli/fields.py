"""Options from a definition's spec: one for each field, with its type, so that a new field needs no code here.

A field of several values is an option that can be repeated; `none` clears what can be empty. What a value may be
beyond its type is the API's to judge.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import click
import msgspec
from msgspec import inspect

from cli.options import NONE
from schemas.definitions import Disk

Command = Callable[..., None]
# `--url` is the engine's
_SHORT = {"cron_expression": "--cron", "more_expressions": "--more-cron", "url": "--webhook"}
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class OrNone(click.ParamType):
    """A value of another type, or `none`."""

    def __init__(self, inner: click.ParamType) -> None:
        self.inner, self.name = inner, inner.name

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self.inner.get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return NONE if value == NONE else self.inner.convert(value, param, ctx)


class Pair(click.ParamType):
    """`KEY=VALUE`. With `scalars` a number or a truth value is one, else all are texts."""

    name = "KEY=VALUE"

    def __init__(self, *, scalars: bool) -> None:
        self.scalars = scalars

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        key, equals, text = value.partition("=")
        if not (key and equals):
            self.fail(f"{value!r}: KEY=VALUE is needed", param, ctx)
        return key, _scalar(text) if self.scalars else text


class Parts(click.ParamType):
    """A value with fields of its own: `'name=weekend weekdays=sat,sun'`. A disk may be its path alone."""

    def __init__(self, shape: type[Any]) -> None:
        self.shape = shape
        self.name = " ".join(f"{field}=…" for field in shape.__struct_fields__)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if self.shape is Disk and value.startswith("/"):
            return {"disk_id": _UNFIT.sub("_", PurePosixPath(value).stem)[:64], "path": value}
        lists = {field.name for field in msgspec.structs.fields(self.shape) if field.default_factory is list}
        try:
            pairs = [part.partition("=")[::2] for part in shlex.split(value)]
            given = {key: text.split(",") if key in lists else text for key, text in pairs}
            if unknown := sorted(given.keys() - set(self.shape.__struct_fields__)):
                self.fail(f"{value!r}: {unknown[0]!r} is not known; known: {self.name}", param, ctx)
            found: dict[str, Any] = msgspec.to_builtins(msgspec.convert(given, self.shape, strict=False))
        except (ValueError, msgspec.ValidationError) as error:
            self.fail(f"{value!r}: {error}; what can be given: {self.name}", param, ctx)
        return {key: found[key] for key in given}


def options(shape: type[Any], *, but: Iterable[str], optional: Iterable[str] | None) -> Callable[[Command], Command]:
    """Return a decorator that gives a command an option for each field of a spec or patch, `but` for some.

    Those that the shape requires are required, but for those that are `optional`; None: all are optional.
    """
    left_out = set(but)
    found = inspect.type_info(shape)
    assert isinstance(found, inspect.StructType)

    def decorate(command: Command) -> Command:
        for field in reversed(found.fields):
            if field.name not in left_out:
                required = field.required and optional is not None and field.name not in optional
                command = _option(field, required=required)(command)
        return command

    return decorate


def body(given: dict[str, Any], shape: type[Any]) -> dict[str, Any]:
    """Return what was given as the API wants it: fields that were not given are left out."""
    found = inspect.type_info(shape)
    assert isinstance(found, inspect.StructType)
    kinds = {field.name: _bare(field.type)[0] for field in found.fields}
    return {name: _value(kinds.get(name), value) for name, value in given.items() if value is not None and value != ()}


def _value(kind: inspect.Type | None, value: Any) -> Any:
    if isinstance(value, tuple):
        values = [one for one in value if one != NONE]
        return dict(values) if isinstance(kind, inspect.DictType) else values
    return None if value == NONE else value


def _option(field: inspect.Field, *, required: bool) -> Callable[[Command], Command]:
    kind, optional, about = _bare(field.type)
    if isinstance(kind, inspect.BoolType):
        off = "disabled" if field.name == "enabled" else f"no-{_dashed(field.name)}"
        return click.option(f"--{_dashed(field.name)}/--{off}", field.name, default=None)
    several = isinstance(kind, inspect.ListType | inspect.DictType)
    type_ = _type(kind.item_type if isinstance(kind, inspect.ListType) else kind)
    return click.option(
        _SHORT.get(field.name) or f"--{_dashed(field.name.removesuffix('s') if several else field.name)}",
        field.name,
        type=OrNone(type_) if optional or several else type_,
        multiple=several,
        required=required,
        help=_help(field, about, several=several),
    )


def _help(field: inspect.Field, about: str, *, several: bool) -> str:
    parts = [about] if about else []
    if several:
        parts.append("can be repeated")
    if isinstance(field.default, str | int) and field.default not in {"", True, False}:
        parts.append(f"[default: {field.default}]")
    return "; ".join(parts)


def _type(kind: inspect.Type) -> click.ParamType:
    kind = _bare(kind)[0]
    match kind:
        case inspect.IntType():
            return click.IntRange(kind.ge, kind.le)
        case inspect.FloatType():
            return click.FLOAT
        case inspect.LiteralType():
            return click.Choice([str(value) for value in kind.values])
        case inspect.DictType():
            return Pair(scalars=isinstance(kind.value_type, inspect.UnionType))
        case inspect.StructType():
            return Parts(kind.cls)
        case _:
            return click.STRING


def _bare(kind: inspect.Type) -> tuple[inspect.Type, bool, str]:
    """Return a type without what is around it, whether it may be null, and its description."""
    about, optional = "", False
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            about = (kind.extra_json_schema or {}).get("description", "") or about
            kind = kind.type
            continue
        some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        optional = optional or any(isinstance(one, inspect.NoneType) for one in kind.types)
        if len(some) != 1:
            break
        kind = some[0]
    return kind, optional, about


def _scalar(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode(), type=bool | int | float)
    except msgspec.MsgspecError:
        return text


def _dashed(name: str) -> str:
    return name.replace("_", "-")

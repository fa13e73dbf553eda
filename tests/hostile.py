"""Messages that no service would write: of every type, well-formed and absurd, or just not well-formed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from bus.subjects import TABLE, subject_of
from schemas.base import Message, tag_of

IDS = (
    *("vm-0", "vm-1", "group", "repository", "policy", "flow", "schedule", "engine", "adhoc", "nowhere"),
    *("execution-1", "execution-2", "backup-1", "backup-2", "backup-3", "_", "-", "x" * 64, "a" * 64),
)
TIMES = (
    *("1970-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z", "2199-12-31T23:59:59-14:00", "1970-01-01T00:00:00+14:00"),
    *("2026-11-01T12:00:00Z", "2026-10-25T02:30:00+02:00", "2000-02-29T23:59:59.5Z"),
)
WILD_TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "2026-11-01T12:00:00", "1969-12-31T23:59:59Z")
TEXTS = (
    *(
        "",
        "x",
        "Europe/Berlin",
        "Mars/Olympus",
        "/",
        "/x",
        "https://x",
        "X_1",
        "02:30",
        "../..",
        ".",
        "* * * * *",
        "0 0 30 2 *",
        "*/0 * * * *",
        "@never",
    ),
    *("R R * * *", "61 * * * *", "simulated", "no-such-engine", "é\u2028\U0001f4a9", "x" * 255, "x" * 4000, "\x7f"),
)
WILD_TEXTS = ("\x00", "x" * 70_000)
NUMBERS = (-1, 0, 1, 2, 3, 7, 99, 2**31 - 1, 2**53, 2**63 - 1)
WILD_NUMBERS = (2**63, 2**70, -(2**70))


class Generator:
    """Draws messages of every type; `wildness` is the part of values that no schema takes, in a part of messages."""

    def __init__(self, seed: int, wildness: float = 0.1) -> None:
        self._random = Random(seed)
        self._wildness = wildness
        self._wild = False

    def message(self, shape: type[Message]) -> tuple[str, bytes]:
        """Return a subject and a body. Most bodies can be read, and what they say need not make any sense."""
        self._wild = self._random.random() < self._wildness
        data = self._struct(shape)
        data["type"] = tag_of(shape)
        try:
            subject = subject_of(msgspec.convert(data, shape))
        except (msgspec.ValidationError, OverflowError):
            subject = ""
        template = TABLE[tag_of(shape)].subject
        if not re.fullmatch(rf"[\w-]+(\.[\w-]+){{{max(2, template.count('.'))}}}", subject, re.ASCII):
            subject = self._subject(template, data)
        family, event, key, *_ = subject.split(".")
        named_whole = family in {"rejected", "dead"} and event != "settled"
        envelope = {
            "specversion": "1.0",
            "id": self._one(("m1", "m2", f"m{self._random.random()}", f"n{self._random.random()}", "x" * 1024)),
            "type": subject if named_whole else tag_of(shape),
            "source": self._text(1000),
            "subject": str(data["sequence"]) if family == "dead" else str(data.get("id", key)),
            "time": self._time(),
            "datacontenttype": "application/json",
            "actor": self._text(1000),
            "causationid": self._one((None, "m1", "m2", "nothing")),
            "correlationid": self._one((None, "execution-1", "nothing")),
            "decidedon": self._one((None, "0", "1", "999999999999999999", "x", "٣", "-1")),
            "data": data,
        }
        return subject, msgspec.json.encode({name: value for name, value in envelope.items() if value is not None})

    def _subject(self, template: str, data: dict[str, Any]) -> str:
        there = {name: value for name, value in data.items() if value is not None}  # what is not is left out
        template = re.sub(r"\.\{(\w+)\}$", lambda field: field[0] if field[1] in there else "", template)
        subject = re.sub(r"\{(\w+)\}", lambda field: str(data[field[1]]), template)
        subject = subject if subject.count(".") >= 2 else f"{subject}.{data.get('id', 'nowhere')}"
        tokens = subject.split(".")[: max(3, template.count(".") + 1)]
        return ".".join(re.sub(r"[^A-Za-z0-9_-]", "_", token)[:64] or "_" for token in tokens)

    def _one(self, values: Sequence[Any]) -> Any:
        return self._random.choice(values)

    def _time(self) -> str:
        return str(self._one(WILD_TIMES if self._is_wild() else TIMES))

    def _text(self, longest: int) -> str:
        return str(self._one(WILD_TEXTS if self._is_wild() else [one for one in TEXTS if len(one) <= longest]))

    def _is_wild(self) -> bool:
        return self._wild and self._random.random() < 0.2

    def _struct(self, shape: type[msgspec.Struct]) -> dict[str, Any]:
        info = inspect.type_info(shape)
        assert isinstance(info, inspect.StructType)
        return {
            field.encode_name: self._value(field.type)
            for field in info.fields
            if field.required or self._random.random() < 0.5
        }

    def _value(self, info: inspect.Type) -> Any:
        match info:
            case inspect.Metadata():
                return self._value(info.type)
            case inspect.StructType():
                return self._struct(info.cls)
            case inspect.UnionType():
                kinds = [one for one in info.types if not isinstance(one, inspect.CustomType)]
                return self._value(self._one([one for one in kinds if "Unset" not in type(one).__name__]))
            case inspect.ListType():
                most = info.max_length or 10
                count = min(self._one((0, 0, 1, 2, 3, 50)), most)
                return [self._value(info.item_type) for _ in range(count)]
            case inspect.DictType():
                return {f"key{number}": self._value(info.value_type) for number in range(self._one((0, 1, 2)))}
            case inspect.LiteralType():
                return self._one(info.values)
            case inspect.StrType():
                return self._string(info)
            case inspect.IntType():
                if self._is_wild():
                    return self._one(WILD_NUMBERS)
                low = info.ge if info.ge is not None else -(2**63)
                high = info.le if info.le is not None else 2**63 - 1
                return self._one([low, high, *(one for one in NUMBERS if low <= one <= high)])
            case inspect.DateTimeType():
                time = self._time()
                return time if info.tz is not False else time[:19]
            case _:
                return self._plain(info)

    def _plain(self, info: inspect.Type) -> Any:
        match info:
            case inspect.FloatType():
                return self._one((0.0, 1e308, 5e-324))
            case inspect.BoolType():
                return self._one((True, False))
            case inspect.DateType():
                return self._one(("0001-01-01", "9999-12-31", "2026-11-01"))
            case inspect.TimeType():
                return self._one(("00:00:00", "23:59:59.999999"))
            case inspect.NoneType():
                return None
            case _:
                raise TypeError(f"no values of {info} are known")

    def _string(self, info: inspect.StrType) -> str:
        if self._is_wild():
            return str(self._one(WILD_TEXTS))
        fitting = [
            one
            for one in (*IDS, *TEXTS)
            if (info.pattern is None or re.search(info.pattern, one))
            and (info.min_length or 0) <= len(one) <= (info.max_length or 10**6)
        ]
        return str(self._one(fitting))

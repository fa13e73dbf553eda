"""The event contract as AsyncAPI 3, from the table of subjects."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import get

from bus.envelope import Envelope
from bus.subjects import TABLE, MessageType
from schemas.base import tag_of

_OF_SCHEMAS = "#/components/schemas/{name}"
_LIFETIMES = {"forever": "for ever", "activity": "400 days", "progress": "one day"}


def document() -> dict[str, Any]:
    """Return the contract: a channel for each subject, and the messages' shapes."""
    rows = [TABLE[tag] for tag in sorted(TABLE)]
    _, shapes = msgspec.json.schema_components([row.message for row in rows], ref_template=_OF_SCHEMAS)
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for row in rows:
        tag = tag_of(row.message)
        name = row.message.__name__
        messages[name] = _message(row, tag)
        channels[name] = _channel(row)
        operations[f"append{name}"] = _operation("send", name, "Append to the log (compare-and-append).")
        if tag.startswith("flow."):
            live = f"{name}Live"
            channels[live] = {
                "address": tag,
                "description": "Republished live, at most once, when the log has accepted it.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            }
            operations[f"receive{live}"] = _operation("receive", live, "Subscribe to what was accepted.", name)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Protection Flows Engine: events",
            "version": "1",
            "description": "Every message is a CloudEvents 1.0 JSON object on the JetStream stream FLOWS.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": shapes},
    }


def _channel(row: MessageType) -> dict[str, Any]:
    guard = f" Guarded by the last sequence on `{row.guard}`." if row.guard else ""
    channel: dict[str, Any] = {
        "address": row.subject,
        "description": f"Kept {_LIFETIMES[row.lifetime]}.{guard}",
        "messages": {row.message.__name__: {"$ref": f"#/components/messages/{row.message.__name__}"}},
    }
    if names := re.findall(r"\{(\w+)\}", row.subject):
        channel["parameters"] = {name: {"description": "one token: letters, digits, `_`, `-`"} for name in names}
    return channel


def _operation(action: str, channel: str, summary: str, message: str | None = None) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message or channel}"}],
    }


def _message(row: MessageType, tag: str) -> dict[str, Any]:
    name = row.message.__name__
    attributes = [field for field in Envelope.__struct_fields__ if field != "data"]
    required = ["specversion", "id", "type", "source", "subject", "time", "datacontenttype"]
    properties: dict[str, Any] = {field: {"type": "string"} for field in attributes}
    properties["time"]["format"] = "date-time"
    properties["data"] = {"$ref": _OF_SCHEMAS.format(name=name)}
    return {
        "name": name,
        "title": tag,
        "summary": (row.message.__doc__ or "").strip().split("\n")[0] if not _generated(row) else tag,
        "contentType": "application/cloudevents+json",
        "payload": {"type": "object", "required": [*required, "data"], "properties": properties},
    }


def _generated(row: MessageType) -> bool:
    """Tell whether a Struct has no docstring of its own (then Python shows its base's or its signature)."""
    return "__doc__" not in row.message.__dict__ or not row.message.__dict__["__doc__"]


@get("/schema/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def asyncapi() -> dict[str, Any]:
    """Serve the event contract."""
    return document()

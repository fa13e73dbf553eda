"""What existing clients send in their own words: in ours, or ignored. Nothing that is not here is accepted. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.requests import (
    LOCAL,
    FlowPatchRequest,
    GroupPatchRequest,
    GroupRequest,
    RepositoryRequest,
    RepositoryTestRequest,
    SchedulePatchRequest,
    ScheduleRequest,
)
from schemas.renamed import renamed

Fields = dict[str, Any]

_SHOWN = "the client sends back what it was shown, and"
_AUTHOR = "who creates something is who holds the token, whatever the client says"

# by body: the fields that are accepted and ignored, and why
IGNORED: dict[type[Any], dict[str, str]] = {
    FlowPatchRequest: {
        "source": f"{_SHOWN} the target is `target_type` and `target_id`",
        "destination": f"{_SHOWN} where backups go is `repository_id`",
        "nextRun": f"{_SHOWN} the next run follows from the schedule",
    },
    GroupRequest: {"created_by": _AUTHOR},
    GroupPatchRequest: {"created_by": _AUTHOR},
}


def _described(fields: Fields) -> Fields:
    """Return no description as an empty one."""
    return {**fields, "description": ""} if "description" in fields and fields["description"] is None else fields


def _located(fields: Fields) -> Fields:
    """Return a `local` repository as the folder `config.path`, which the engine `directory` writes to."""
    config = fields.get("config")
    if fields.get("type") != LOCAL:
        return fields
    found = {**fields, "type": "directory"}
    if isinstance(config, dict) and "path" in config and "location" not in found:
        found["location"] = config["path"]
        found["config"] = {name: value for name, value in config.items() if name != "path"}
    return found


_TRANSLATED: dict[type[Any], Callable[[Fields], Fields]] = {
    GroupRequest: _described,
    GroupPatchRequest: _described,
    RepositoryRequest: _located,
    RepositoryTestRequest: _located,
    ScheduleRequest: renamed,
    SchedulePatchRequest: renamed,
}


def in_our_words(fields: Fields, shape: Any) -> Fields:
    """Return a body as its shape has it: without what is ignored, and with what has another name or form."""
    if ignored := IGNORED.get(shape):
        fields = {name: value for name, value in fields.items() if name not in ignored}
    translate = _TRANSLATED.get(shape)
    return fields if translate is None else translate(fields)

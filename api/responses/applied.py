"""What is accepted and kept, and has no effect (yet)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.base import Value


class NotApplied(Value, frozen=True, kw_only=True):
    """A field that is set and not applied, and why."""

    field: Annotated[str, Meta(examples=["keep_daily"])]
    reason: Annotated[
        str, Meta(examples=["backups are kept until somebody deletes them: retention is not applied yet"])
    ]

"""A worker's own identity, on its machine: one file in its state folder, which only its user may read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.base import Id, Value
from schemas.labels import canonical
from schemas.workers import EnrolledLabels

FILE = "enrolment.json"  # in the state folder


class Enrolment(Value, frozen=True, kw_only=True):
    """Who a worker is, by whose word: the API at `url`. `secret`: it has made itself, and it is nowhere else.

    `labels`: None until the API has enrolled it. `nats_url`: where the API said that NATS is, if it did.
    """

    name: Id
    url: str
    secret: str
    labels: EnrolledLabels | None = None
    nats_url: str | None = None


def read(file: Path) -> Enrolment | None:
    """Return the identity that a file holds, None when there is no such file. Raises `ValueError`."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Enrolment)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ValueError(
            f"{file} holds no identity of a worker: {error}. `flows worker enrol` writes it; remove it to enrol anew"
        ) from error


def write(file: Path, enrolment: Enrolment) -> None:
    """Keep an identity, in one step. Raises `OSError`."""
    from bus.server import write_private

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(file, msgspec.json.format(msgspec.json.encode(enrolment), indent=2).decode() + "\n")


def labels_of(enrolment: Enrolment, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that a worker has: those it is enrolled with. Raises `ValueError` when others are wanted."""
    if enrolment.labels is None:
        raise ValueError(
            f"worker {enrolment.name!r} has begun to enrol itself, and not ended: call `flows worker enrol` again, "
            "with the same token"
        )
    more = {key: value for key, value in wanted.items() if enrolment.labels.get(key) != value}
    if more:
        with_ = canonical(enrolment.labels) or "no labels"
        raise ValueError(
            f"worker {enrolment.name!r} is not enrolled with {canonical(more)}, but with {with_}: leave it out of "
            "--label and FLOWS_WORKER_LABELS, or have the machine enrolled anew with other labels"
        )
    return dict(enrolment.labels)

"""Labels of workers, and what a backup requires of them. Pure.

A worker has labels (`site=a`, `tier=fast`); VMs and repositories say which of them a worker must have to serve them. A
backup requires those of its VM and of its repository together. A worker serves a backup when it has all that the backup
requires, and may have more; so one without labels serves only what requires none, and every worker serves that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

from msgspec import Meta

from schemas.base import LABEL_KEY
from schemas.ids import derived

MOST = 16  # labels of a worker, a VM or a repository

_Label = Annotated[str, Meta(pattern=LABEL_KEY)]
WorkerLabels = Annotated[
    dict[_Label, _Label],
    Meta(max_length=MOST, description="the labels that a worker must have", examples=[{"site": "a"}]),
]
Requirement = Annotated[dict[_Label, _Label], Meta(max_length=2 * MOST)]  # of a VM and a repository together


class Contradiction(ValueError):
    """Two labels of one key: no worker can have both. `text`: what they are, such as `site=a and site=b`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def together(vm: Mapping[str, str], repository: Mapping[str, str]) -> dict[str, str]:
    """Return what a backup requires, by key. Raises `Contradiction`."""
    for key in sorted(vm.keys() & repository.keys()):
        if vm[key] != repository[key]:
            raise Contradiction(f"{key}={vm[key]} and {key}={repository[key]}")
    both = {**vm, **repository}
    return {key: both[key] for key in sorted(both)}


def contradiction(vm: str, repository: str, found: Contradiction) -> str:
    """Return in words that no worker can serve a backup. `vm`, `repository`: their names."""
    return f"no worker can have both {found.text}, as VM {vm!r} and repository {repository!r} require"


def canonical(labels: Mapping[str, str]) -> str:
    """Return labels as text, the same for the same labels: `site=a,tier=fast`; nothing for none."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def parsed(text: str) -> dict[str, str]:
    """Return the labels that a text names, as `canonical` writes them. Raises `ValueError` that says what is wrong."""
    labels: dict[str, str] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        key, _, value = part.partition("=")
        if labels.setdefault(key, value) != value:
            raise ValueError(f"{key!r} is given twice, as {labels[key]!r} and as {value!r}")
        if not (re.match(LABEL_KEY, key) and re.match(LABEL_KEY, value)):
            raise ValueError(f"{part!r} is no label: KEY=VALUE is needed, of letters, digits and `_ . / -`")
    if len(labels) > MOST:
        raise ValueError(f"there are {len(labels)} labels; a worker has at most {MOST}")
    return labels


def pool_of(required: Mapping[str, str]) -> str | None:
    """Return the id of those workers that have these labels, for subjects and names of queues; None: any worker."""
    return derived("pool", canonical(required)) if required else None


def pools_of(labels: Mapping[str, str]) -> list[str]:
    """Return the ids of all pools that a worker with these labels is in: one for each set of some of them."""
    some = (chosen for count in range(1, len(labels) + 1) for chosen in combinations(sorted(labels.items()), count))
    return [pool for chosen in some if (pool := pool_of(dict(chosen)))]


def fulfils(labels: Mapping[str, str], required: Mapping[str, str]) -> bool:
    """Tell whether a worker with these labels has all that are required."""
    return required.items() <= labels.items()

"""What workers are asked to look at: a repository, and the disks of VMs, under the settings of now."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select

from api.readmodel import settings
from api.readmodel.reader import Reader, consistent
from schemas import tables as t
from schemas.definitions import Disk, RepositorySpec
from services.worker.inspection import MOST, InspectedVm, Inspection


@consistent
async def of(reader: Reader, repository: RepositorySpec, context_ids: Sequence[str] = ()) -> Inspection:
    """Return the inspection of a repository and of VMs: of the first `MOST` of them, with as many disks at most."""
    allowed = await settings.current(reader)
    statement = select(t.vms.c.id, t.vms.c.name, t.vms.c.disks, t.vms.c.worker_labels).where(
        t.vms.c.id.in_(context_ids[:MOST])
    )
    vms: list[InspectedVm] = []
    left = MOST
    for row in await reader.rows(statement.order_by(t.vms.c.id)):
        disks = msgspec.convert(row.disks, list[Disk])[:left]
        left -= len(disks)
        vms.append(InspectedVm(context_id=row.id, vm_name=row.name, disks=disks, worker_labels=row.worker_labels))
    return Inspection(
        engine=repository.type,
        location=repository.location,
        config=repository.config,
        vms=vms,
        repository_roots=allowed.repository_roots,
        disk_roots=allowed.disk_roots,
        block_devices=allowed.block_devices,
        worker_labels=repository.worker_labels,
    )

"""`flows explain`: why a flow ran, or did not."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console

from api.readmodel import explain as explaining
from api.readmodel.reader import ReadModel
from bus.clock import now
from cli.terminal import print_line
from services import database


async def explain(url: str, flow: str, at: datetime | None, console: Console) -> None:
    """Print the explanation. Raises `ValueError` when there is no such flow."""
    reader = ReadModel(database.reader(url))
    try:
        flow_id = await explaining.flow_id_of(reader, flow)
        found = await explaining.of_flow(reader, flow_id, at, now()) if flow_id else None
    finally:
        await reader.close()
    if found is None:
        raise ValueError(f"there is no flow {flow!r}")
    for line in found.lines:
        print_line(console, line)

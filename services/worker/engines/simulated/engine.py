"""The simulated engine: durations and failures by seed, for demos, tests and benchmarks. It moves no data.

Repository `config`: `seconds` (a backup's duration, default 0), `bytes` (its size, default 1 MiB), `failure_rate`
(0 to 1, default 0), `seed` (default ""). The same seed and backup give the same outcome, attempt by attempt.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256

from schemas.definitions import Setting
from schemas.events import BackupRequested
from services.worker.engines.engine import BackupError, Progress, Report, Result
from services.worker.inspection import Inspection, RepositoryState, Seen

STEP = 0.5  # seconds between reports


class SimulatedEngine:
    """Waits, reports, and succeeds or fails as its seed says."""

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        size = int(_number(request.config, "bytes", 1 << 20))
        seconds = _number(request.config, "seconds", 0.0)
        rate = _number(request.config, "failure_rate", 0.0)
        steps = max(1, round(seconds / STEP))
        for step in range(steps):
            report(Progress(bytes_total=size, bytes_read=size * step // steps, bytes_transferred=size * step // steps))
            await asyncio.sleep(seconds / steps)
        if _chance(str(request.config.get("seed", "")), request.backup_id, str(attempt)) < rate:
            raise BackupError(f"simulated failure of attempt {attempt}")
        return Result(bytes_read=size, bytes_transferred=size, snapshot_ref=f"simulated:{request.backup_id}")

    async def inspect(self, inspection: Inspection) -> Seen:
        """Return that all is well: there is nothing to look at."""
        del inspection
        return Seen(repository=RepositoryState(there=True, writable=True))

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        """Do nothing: there is never anything to remove."""


def _number(config: dict[str, Setting], key: str, default: float) -> float:
    value = config.get(key, default)
    if isinstance(value, str):
        raise BackupError(f"the repository's setting {key!r} is {value!r}, which is no number")
    return float(value)


def _chance(*parts: str) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return int.from_bytes(sha256("/".join(parts).encode()).digest()[:8], "big") / 2**64

"""Requests made from the served OpenAPI, against running engines on SQLite and PostgreSQL. `make fuzz`.

Schemathesis with all checks on, and then the hostile ones of `tests.hostile_requests`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import hostile_requests
from tests.databases import new_database, postgresql_server
from tests.distributed import Distributed
from tests.running import ROOT, Client, Running

HOSTILE = 100  # hostile requests for each example that schemathesis makes of an operation


def fuzz(url: str, token: str, examples: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis, with so many examples for each operation.

    Without one check, which shows more wrong tokens than an address may and takes 429 for a fault:
    tests/api/test_auth.py asks every route without a token and with a wrong one.
    """
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{url}/schema/openapi.json", "--checks", "all", "--max-examples", str(examples)),
        *("--exclude-checks", "ignored_auth", "--no-color", *options),
    ]
    env = {**os.environ, "FLOWS_TOKEN": token}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3600)


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Client]:
    running = Running(folder / "data").start()
    try:
        yield running.client()
    finally:
        running.stop()


@contextmanager
def on_postgresql(folder: Path) -> Iterator[Client]:
    with postgresql_server() as address:
        distributed = Distributed(folder, new_database(address))
        try:
            api = distributed.client()
            api.until_up()
            yield api
        finally:
            distributed.stop()


def main() -> int:
    examples, faults = int(sys.argv[1]), 0
    for engine in (on_sqlite, on_postgresql):
        with tempfile.TemporaryDirectory() as folder, engine(Path(folder)) as api:
            done = fuzz(api.url, api.token, examples, "--workers", "2")
            print(done.stdout[-6000:], done.stderr[-2000:])
            found = hostile_requests.attack(api, number=HOSTILE * examples, seed=examples)
            print(*found, f"{engine.__name__}: {len(found)} wrong replies to hostile requests", sep="\n")
            faults += done.returncode + len(found)
            api.close()
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())

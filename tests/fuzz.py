"""Schemathesis over the served OpenAPI, all checks on, against a running engine. `make fuzz`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.running import ROOT, Running


def fuzz(running: Running, examples: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis, with so many examples for each operation."""
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{running.url}/schema/openapi.json", "--checks", "all", "--max-examples", str(examples)),
        *("--no-color", *options),
    ]
    env = {**os.environ, "FLOWS_TOKEN": running.token}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3600)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        running = Running(Path(folder) / "data").start()
        try:
            done = fuzz(running, int(sys.argv[1]), "--workers", "2")
        finally:
            running.stop()
    print(done.stdout[-6000:], done.stderr[-2000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

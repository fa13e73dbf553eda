"""An engine that nobody asks anything of: how long `flows up` takes to start, and what it needs then.

    python -m benchmarks idle [--process-per-service]

Memory is what is resident (RSS) of the whole tree, with pages that processes share counted in each: PSS, beside it,
counts them once. CPU time is that of the tree over half a minute, in percent of one core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus import process
from bus.server import free_port

STARTS = 5
SETTLE = 10.0  # seconds after a start, until services give heartbeats at their leisure
IDLE = 30.0  # seconds
MIB = 1 << 20

Figures = dict[str, list[float]]


def idle(options: list[str]) -> Figures:
    """Return what was measured by name, with a figure for each start; the first start also makes the tables."""
    found: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(STARTS):
            folder = Path(name) / str(number % 2)  # each folder is started on anew, and then again
            begun = time.perf_counter()
            with _running(folder, options) as pid:
                _note(found, "start, s", time.perf_counter() - begun)
                tree = _tree(pid)
                _note(found, "start, s of CPU time", sum(map(_cpu_seconds, tree)))
                time.sleep(SETTLE)
                _note(found, "memory, MiB RSS", sum(map(_resident, tree)) / MIB)
                _note(found, "memory, MiB PSS", sum(map(_proportional, tree)) / MIB)
                before = sum(map(_cpu_seconds, tree))
                time.sleep(IDLE)
                _note(found, "CPU, % of a core", 100 * (sum(map(_cpu_seconds, tree)) - before) / IDLE)
                _note(found, "processes", len(tree))
    return found


def _note(found: Figures, name: str, figure: float) -> None:
    found.setdefault(name, []).append(figure)


@contextmanager
def _running(folder: Path, options: list[str]) -> Iterator[int]:
    """Run `flows up` from its greeting on, and give its process id."""
    port = str(free_port("127.0.0.1"))
    command = [sys.executable, "-m", "cli.main", "up", "--data", str(folder), "--port", port, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as up:
        try:
            assert up.stdout
            if not any("Press Ctrl+C" in line for line in iter(up.stdout.readline, "")):
                raise RuntimeError("flows up ended before it was ready")
            yield up.pid
        finally:
            process.stop(up, patience=30)  # type: ignore[arg-type]  # in text or not makes no difference to it


def _tree(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _tree(int(child)))]


def _resident(pid: int) -> int:
    """Return the bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _proportional(pid: int) -> int:
    """Return the bytes of a process that are in memory, of those that it shares its part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

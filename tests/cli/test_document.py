"""docs/terminal.md, run as a reader would: each command in order against a real engine, and compared with what it says.

`…` in the document stands for anything in a line, alone for any lines; how columns are aligned does not matter.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.inside import called
from tests.running import ROOT, Running

DOCUMENT = (ROOT / "docs" / "terminal.md").read_text()
SHELL = re.compile(r"[|>;&*$]|\b(echo|sed)\b")  # what needs a shell; all else is run in this process, which is faster


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the document, and what it is to print."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            yield command, output


def matches(shown: str, printed: str) -> bool:
    """Tell whether what was printed is what the document shows."""
    lines = "".join(map(_pattern, shown.splitlines()))
    return re.fullmatch(lines, "".join(f"{_squeezed(line)}\n" for line in printed.splitlines())) is not None


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return "([^\n]*\n)*"
    return re.escape(f"{_squeezed(line)}\n").replace("…", "[^\n]*")


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def test_what_differs_is_seen() -> None:
    assert matches("a  …Z\n", "a 1Z")
    assert matches("a\n…\n", "a\nb\nc")
    assert matches("a\n…\n", "a\n")
    assert not matches("a  …Z\n", "a 1")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a\nb\n", "a\n")


def ran(command: str, code: int) -> tuple[int, str]:
    """Run a command after one that ended with `code`; return how it ended, and all that it printed."""
    if not SHELL.search(re.sub(r"'[^']*'", "", command)):
        done = called(*shlex.split(command)[1:])
        return done.code, done.out + done.err
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done_ = subprocess.run(
        ["bash", "-c", f"(exit {code}); {command}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": path},
    )
    return done_.returncode, done_.stdout


@pytest.mark.server
def test_the_day_is_as_the_document_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOWS_URL", "FLOWS_ADMIN_TOKEN_FILE", "FLOWS_CONTEXT", "FLOWS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for folder in ("srv/vms", "srv/backups"):
        (tmp_path / folder).mkdir(parents=True)
    for disk in ("web-1.raw", "db-1.raw"):
        (tmp_path / "srv" / "vms" / disk).write_bytes(os.urandom(100_000))
    running = Running(tmp_path / "data").start()
    try:
        # the reader's own places and time
        text = DOCUMENT.replace("/srv/", f"{tmp_path}/srv/").replace("/var/lib/flows", str(running.folder))
        text = text.replace("http://127.0.0.1:8082", running.url)
        text = text.replace("2026-12-27T06:00", f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}+00:00")
        code = 0
        for command, shown in steps(text):
            code, printed = ran(command, code)
            assert matches(shown, printed), f"$ {command}\n{printed}\nbut the document says:\n{shown}"
    finally:
        assert running.stop() == 0


def test_the_day_has_all_that_a_day_has_and_no_curl() -> None:
    commands = [command for command, _ in steps(DOCUMENT)]
    used = {command.split()[1] for command in commands if command.startswith("flows ")}
    assert {"add", "run", "why", "retry", "freeze", "thaw", "delete", "apply", "history"} <= used
    assert not any("curl" in command for command in commands)


def test_the_document_names_every_exit_code() -> None:
    assert re.findall(r"^\| (\d) \|", DOCUMENT, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "6"]

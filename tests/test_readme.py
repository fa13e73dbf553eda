"""The README's commands, run as a reader would: in order, in one shell, against a running engine."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, Running

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def recording_curl(folder: Path) -> Path:
    """Return a folder with a curl that writes down its arguments first."""
    program = folder / "bin" / "curl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/arguments\nexec {shutil.which("curl")} "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.mark.server
def test_the_walk_through_works(tmp_path: Path) -> None:
    running = Running(tmp_path / "flows-data").start()
    try:
        script = "set -eu -o pipefail\n" + "\n".join(blocks("bash"))
        # the reader's own places, kept inside this test's folder
        script = script.replace("http://127.0.0.1:8082", running.url).replace("/tmp/", f"{tmp_path}/")
        path = f"{recording_curl(tmp_path)}:{Path(sys.executable).parent}"
        script = script.replace("export PATH=$PWD/.venv/bin:$PATH", f"export PATH={path}:$PATH")
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert "identical" in done.stdout
        assert '"status":"success"' in done.stdout
        assert "flow.completed" in done.stdout
        assert '"specversion":"1.0"' in done.stdout
        assert "nightly" in done.stdout
        arguments = (tmp_path / "arguments").read_text()
        assert "/protection-flows" in arguments
        assert running.token not in arguments + done.stdout + done.stderr
        assert stat.S_IMODE((running.folder / "admin-header").stat().st_mode) == 0o600
    finally:
        running.stop()


def test_no_program_is_told_a_secret_on_its_command_line() -> None:
    """Command lines are in /proc, for everybody to read; so a URL with a password, and a token, are not on one."""
    assert told('curl -H "Authorization: Bearer $TOKEN" x')
    assert told("nats --server \"$(cat flows-data/nats-url)\" sub 'flow.*'")
    assert told(README) == []


def told(text: str) -> list[str]:
    commands = re.findall(r"(?<![\w/.-])(?:curl|nats|flows|psql) [^\n`]*", text)
    return [one for one in commands if re.search(r"Bearer|TOKEN|admin-token|nats-url|password@", one)]


def test_the_two_commands_are_tasks() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"^make (\w+)$", README, re.MULTILINE):
        assert f"\n{command}:" in makefile
    assert shutil.which("make")


def test_what_ci_runs_is_what_the_readme_says() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "make check" in ci
    assert "make test" in ci


@pytest.mark.server
def test_the_subscriber_prints_a_run_as_cloud_events(tmp_path: Path) -> None:
    """The README's ten lines of nats-py see due, started, planned and completed of a scheduled run."""
    running = Running(tmp_path / "flows-data", "--demo").start()
    (program,) = blocks("python")
    subscriber = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert subscriber.stdout
        subjects = []
        for line in subscriber.stdout:
            subject, _, body = line.partition(" ")
            assert '"specversion":"1.0"' in body
            assert f'"type":"{subject}"' in body
            subjects.append(subject)
            if subject == "flow.completed":
                break
        assert subjects == ["flow.due", "flow.started", "flow.planned", "flow.completed"]
    finally:
        subscriber.kill()
        subscriber.communicate()
        running.stop()

"""What `flows up` prints, and what its services log."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cli.parts import PROCESSES
from cli.supervision import Child
from tests.cli.support import flows
from tests.ports import reserved_port
from tests.running import FLOWS, ROOT, Running

pytestmark = pytest.mark.server


def test_nothing_comes_before_the_banner_and_services_log_json(tmp_path: Path) -> None:
    folder, port = tmp_path / "data", reserved_port()
    command = [*FLOWS, "up", "--data", str(folder), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as up:
        try:
            assert up.stdout
            assert up.stdout.readline() == "The Protection Flows Engine is running.\n"
        finally:
            up.terminate()
            rest = up.stdout.read() if up.stdout else ""
    assert up.returncode == 0
    assert rest.splitlines()[-1] == "Press Ctrl+C to stop."
    for name, parts in PROCESSES.items():
        lines = [json.loads(line) for line in (folder / "logs" / f"{name}.log").read_text().splitlines()]
        assert len([line for line in lines if line["action"].endswith("_started")]) == len(parts), name
        assert {line["logger"].split(".")[0] for line in lines} <= {"bus", "services", "api", "cli"}


@pytest.mark.parametrize(
    ("logged", "last"),
    [
        ("", "it logged nothing"),
        ('{"level":"critical","message":"no route"}\n', "no route"),
        ("Traceback (most recent call last):\nImportError: no module\n", "ImportError: no module"),
        ("[1]\n", "[1]"),
    ],
)
def test_the_last_words_of_a_service(logged: str, last: str, tmp_path: Path) -> None:
    child = object.__new__(Child)
    child.log_file = tmp_path / "part.log"
    child.log_file.write_text(logged)
    assert child.last_line == last


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    running = Running(tmp_path / "data")
    running.folder.mkdir()
    (running.folder / "flows.db").write_text("this is no database")
    done = subprocess.run(
        [*FLOWS, "up", "--data", str(running.folder), "--port", str(running.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "flows: the database: file is not a database\n"


@pytest.mark.server
def test_the_nats_server_that_the_environment_names_is_the_one_that_runs(tmp_path: Path) -> None:
    done = flows("up", "--data", str(tmp_path / "data"), env={"FLOWS_NATS_SERVER": "/nowhere/nats-server"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "flows: FLOWS_NATS_SERVER is /nowhere/nats-server: there is no program there that may be executed\n"
    )

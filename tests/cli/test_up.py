"""What `flows up` prints, and what its services log."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from cli import up
from cli.parts import NAMES, PROCESSES, TRACING
from cli.settings import Settings, as_environment, from_environment
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
    port = str(reserved_port())
    done = flows(
        "up", "--data", str(tmp_path / "data"), "--port", port, env={"FLOWS_NATS_SERVER": "/nowhere/nats-server"}
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "flows: FLOWS_NATS_SERVER is /nowhere/nats-server: there is no program there that may be executed\n"
    )


def test_every_service_is_in_one_process_and_the_api_in_none_with_others() -> None:
    assert sorted(part for parts in PROCESSES.values() for part in parts) == sorted({*NAMES} - {*TRACING})
    assert PROCESSES["api"] == ("api",)


@pytest.mark.parametrize(
    ("logged", "told"),
    [
        ('{"max_concurrent_jobs": 4}', []),
        ('{"max_concurrent_jobs": 9}', ["max-concurrent-jobs is 9, as it was set before, and not 4: "]),
        ('{"max_concurrent_jobs": null}', ["max-concurrent-jobs has no limit, as it was set before, and not 4: "]),
        ("bad gateway", []),
    ],
)
def test_a_limit_that_the_log_has_otherwise_is_told_with_what_to_do(
    logged: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "_get", lambda *_: (200, logged))
    advice = "`flows settings set --max-concurrent-jobs 4` changes it"
    assert up._differences(Settings(seeds={"max_concurrent_jobs": 4})) == [line + advice for line in told]
    assert up._differences(Settings()) == []


def test_what_seeds_settings_is_passed_on_to_the_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = {"max_concurrent_jobs": 4, "disk_roots": ["/srv/vms", "/mnt/images"]}
    for name, value in as_environment(Settings(seeds=seeds, data_folder=tmp_path)).items():
        monkeypatch.setenv(name, value)
    assert from_environment().seeds == seeds


def test_who_supervises_it_hears_that_it_has_started_and_lives(tmp_path: Path) -> None:
    """As systemd expects it of `Type=notify`, with a watchdog."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(60)
        env = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}
        command = [*FLOWS, "up", "--data", str(tmp_path / "data"), "--port", str(reserved_port())]
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
            try:
                while (said := listener.recv(4096).decode()) != "READY=1":
                    assert said.startswith("WATCHDOG=1\nEXTEND_TIMEOUT_USEC=")
                assert listener.recv(4096) == b"WATCHDOG=1"
            finally:
                up.terminate()
    assert up.returncode == 0

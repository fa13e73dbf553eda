"""Which engine commands talk to."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli import contexts
from cli.contexts import Context, Contexts
from tests.cli.inside import called
from tests.made import flow
from tests.running import Client, Running

TOKEN = "not-to-be-remembered"


@pytest.fixture(autouse=True)
def nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with a configuration of their own, in an empty folder."""
    for name in ("FLOWS_URL", "FLOWS_ADMIN_TOKEN_FILE", "FLOWS_CONTEXT", "FLOWS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def test_a_context_is_remembered_used_and_forgotten(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    assert called("context", "list").out == "  NAME  URL  TOKEN FILE OR DATA FOLDER\n"
    assert called("context", "add", "one", "--url", "https://one:8082/", "--token-file", "token").code == 0
    assert called("context", "add", "two", "--data", str(tmp_path)).out == "commands talk to 'two' now\n"
    assert called("context", "use", "one").code == 0
    listed = [json.loads(line) for line in called("context", "list", "--json").out.splitlines()]
    assert listed == [
        {"name": "one", "current": True, "url": "https://one:8082", "token_file": str(token), "data": None},
        {"name": "two", "current": False, "url": None, "token_file": None, "data": str(tmp_path)},
    ]
    assert called("context", "delete", "one").code == 0
    assert contexts.remembered() == Contexts(current=None, contexts={"two": Context(data=str(tmp_path))})
    missing = called("context", "use", "one")
    assert (missing.code, "there is no context 'one'" in missing.err) == (1, True)


def test_paths_of_tokens_are_remembered_and_never_tokens(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    called("context", "add", "one", "--url", "https://one", "--token-file", "token")
    file = tmp_path / "config" / "flows" / "contexts.json"
    assert file == contexts.file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert TOKEN not in file.read_text()
    assert [one.name for one in file.parent.iterdir()] == ["contexts.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--url", "https://one"),
        ("--token-file", "token"),
        ("--url", "https://one", "--token-file", "token", "--data", "."),
        ("--url", "https://user:password@one", "--token-file", "token"),
    ],
)
def test_half_a_context_is_not_remembered(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "token").write_text(TOKEN)
    assert called("context", "add", "one", *arguments).code == 2
    assert not contexts.file().exists()


def test_a_file_that_holds_no_contexts_is_named(tmp_path: Path) -> None:
    contexts.file().parent.mkdir(parents=True)
    contexts.file().write_text("{")
    done = called("list")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"{contexts.file()} does not hold contexts" in done.err


def test_which_engine_is_meant(tmp_path: Path) -> None:
    data, other, token = tmp_path / "data", tmp_path / "flows-data", tmp_path / "token"
    with pytest.raises(ValueError, match="no engine is known here: start one with `flows up`"):
        contexts.engine(None, None, None, None)
    with pytest.raises(ValueError, match="there is no folder"):
        contexts.engine(None, None, data, None)
    for folder in (data, other):
        folder.mkdir()
    (data / "api-url").write_text("http://127.0.0.1:9000\n")

    def found(url: str | None, file: Path | None, folder: Path | None, name: str | None) -> tuple[str, str]:
        engine = contexts.engine(url, file, folder, name)
        return engine.url, str(engine.token_file)

    assert found(None, None, None, None) == ("http://127.0.0.1:8082", "flows-data/admin-token")
    assert found(None, None, data, None) == ("http://127.0.0.1:9000", f"{data}/admin-token")
    assert found("http://x", None, data, None) == ("http://x", f"{data}/admin-token")
    known = {"one": Context(url="https://one", token_file=str(token)), "two": Context(data=str(data))}
    contexts.remember(Contexts(current="one", contexts=known))
    assert found(None, None, None, None) == ("https://one", str(token))
    assert found(None, None, None, "two") == ("http://127.0.0.1:9000", f"{data}/admin-token")
    assert found(None, None, data, None) == ("http://127.0.0.1:9000", f"{data}/admin-token")
    assert found("https://one", None, None, None) == ("https://one", str(token))
    assert found("https://three", other, None, None) == ("https://three", str(other))
    assert found(None, other, None, None) == ("https://one", str(other))


def test_an_engine_that_is_stopped_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "flows-data"
    folder.mkdir()
    (folder / "admin-token").write_text("token")
    (folder / "api-url").write_text("http://127.0.0.1:1")
    done = called("list")
    assert (done.code, done.out, done.err.count("\n")) == (6, "", 1)
    assert "http://127.0.0.1:1" in done.err
    assert "Start it with `flows up`" in done.err


@pytest.mark.server
def test_all_commands_talk_to_the_remembered_engine(running: Running, api: Client, tmp_path: Path) -> None:
    """freeze, thaw, export and apply too; and the folder of an engine says where its API is."""
    assert (running.folder / "api-url").read_text() == f"{running.url}\n"
    called("context", "add", "here", "--data", str(running.folder))
    until = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}+00:00"
    assert called("freeze", "--until", until, "--reason", "closing").code == 0
    try:
        assert api.get("/freeze")["reason"] == "closing"
        assert "closing" in called("calendar").out
    finally:
        assert called("thaw").code == 0
    exported = called("export")
    assert (exported.code, "flows:" in exported.out) == (0, True)
    (tmp_path / "flows.yaml").write_text("policies: [{name: of-a-context}]")
    assert called("apply", "--file", "flows.yaml").out.splitlines()[-1] == "1 change made"
    assert called("policy", "delete", "of-a-context").code == 0


def test_commands_that_read_log_and_tables_use_the_context_too(
    running: Running, api: Client, unique: str, tmp_path: Path
) -> None:
    made = flow(api, unique)
    ended = api.ended(api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)["id"])
    assert called("context", "add", "here", "--data", str(running.folder)).code == 0
    told = called("why", unique)
    assert (told.code, told.err) == (0, "")
    assert "success" in told.out
    assert called("why", unique, "--log").out == told.out
    printed = called("log", "flow.completed", "--execution", ended["id"])
    assert (printed.code, printed.out.count("\n")) == (0, 1)
    (tmp_path / "token").write_text(f"{running.token}\n")
    called("context", "add", "elsewhere", "--url", running.url, "--token-file", str(tmp_path / "token"))
    assert called("why", unique).out == told.out, "its API tells the same"
    assert called("why", ended["id"]).out == called("why", ended["id"], "--context", "here").out
    nobody = called("why", "nobody")
    assert (nobody.code, nobody.err) == (1, "flows: there is no flow 'nobody', nor an execution with this id\n")
    for command in (["log"], ["doctor"], ["dead", "list"], ["replay"]):
        refused = called(*command)
        assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
        assert f"the engine of {running.url} is elsewhere" in refused.err
    assert called("why", unique, "--log").code == 2
    assert called("log", "flow.completed", "--context", "here").code == 0

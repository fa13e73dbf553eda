"""The commands of a day, on one engine: what they print, change and exit with."""

from __future__ import annotations

import io
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from cli import executions, failures, fields, options, watch
from cli.printable import is_printable
from cli.terminal import print_table
from schemas.definitions import FlowSpec, ScheduleSpec
from tests import made
from tests.cli.inside import Done, called
from tests.running import FLOWS, ROOT, Client, Running
from tests.support import wait_until

pytestmark = pytest.mark.server


def well(*arguments: str) -> Done:
    done = called(*arguments)
    assert (done.code, done.err) == (0, ""), done
    return done


def as_json(*arguments: str) -> list[Any]:
    return [json.loads(line) for line in well(*arguments, "--json").out.splitlines()]


def defined(name: str, *options: str) -> None:
    """Define a flow over one VM and all that it is made of, in the simulated engine, from the command line."""
    well("vm", "add", name, "--disk", "/srv/disk0.raw")
    well("group", "add", name, "--vm", name)
    well("repository", "add", name, "--type", "simulated", "--location", "/x", *options)
    well("schedule", "add", name, "--cron", "0 2 * * *", "--timezone", "Europe/Berlin")
    well("policy", "add", name, "--keep-last", "3")
    well("add", name, "--group", name, "--repository", name, "--schedule", name, "--policy", name)


def test_definitions_are_added_listed_shown_set_and_deleted(here: Path, api: Client, unique: str) -> None:
    defined(unique)
    (flow,) = as_json("show", unique)
    assert (flow["flow_type"], flow["target_name"], flow["repository_name"]) == ("backup", unique, unique)
    assert (flow["schedule_name"], flow["policy_name"]) == (unique, unique)
    for noun, key in (("vm", "vm_name"), ("group", "name"), ("repository", "name"), ("policy", "name")):
        assert unique in {one[key] for one in as_json(noun, "list", "--search", unique)}
        shown = well(noun, "show", unique).out
        assert re.search(rf"^(name|vm) +{unique}$", shown, re.MULTILINE)
    assert "Europe/Berlin" in well("schedule", "list", "--search", unique).out
    assert "T02:00:00+01:00" in well("schedule", "show", unique).out or "+02:00" in well("schedule", "show", unique).out
    assert "disk_id=disk0 path=/srv/disk0.raw" in well("vm", "show", unique).out
    changed = well("set", unique, "--priority", "7", "--schedule", "none", "--label", "tier=gold").out
    assert changed == f"changed flow {unique!r}: priority, schedule_id, labels (version 2)\n"
    (flow,) = as_json("show", unique)
    assert (flow["priority"], flow["schedule_id"], flow["labels"]) == (7, None, {"tier": "gold"})
    well("set", unique, "--label", "none")
    assert as_json("show", flow["id"])[0]["labels"] == {}
    well("vm", "add", f"{unique}-2", "--context-id", f"{unique}-own")
    assert as_json("vm", "show", f"{unique}-own")[0]["vm_name"] == f"{unique}-2"
    well("group", "add-vm", unique, f"{unique}-2", "--priority", "4")
    assert [one["priority"] for one in as_json("group", "show", unique)[0]["vms"]] == [0, 4]
    well("group", "remove-vm", unique, f"{unique}-2")
    assert as_json("group", "show", unique)[0]["total_vms"] == 1
    used = called("group", "delete", unique)
    assert (used.code, f"in use by flow {unique!r}" in used.err) == (1, True)
    assert well("delete", unique, "--yes").out == f"deleted flow {unique!r}\n"
    for noun in ("group", "schedule", "repository", "policy"):
        assert well(noun, "delete", unique).out == f"deleted {noun} {unique!r}\n"
    assert well("vm", "delete", unique).out == f"deleted VM {unique!r}\n"
    assert api.get("/protection-flows", params={"q": unique})["total"] == 0


def test_a_run_is_waited_for_and_its_result_is_the_exit_code(here: Path, api: Client, unique: str) -> None:
    made.flow(api, unique, vms=2)
    done = called("run", unique, "--wait")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.fullmatch(rf"{unique}: .*2 backups.*, execution [0-9a-f-]{{36}}", lines[0])
    assert lines[1].split() == ["VM", "STATUS", "ATTEMPT", "STARTED", "SIZE", "RESULT"]
    assert [line.split()[:2] for line in lines[2:4]] == [[f"{unique}-0", "success"], [f"{unique}-1", "success"]]
    assert re.fullmatch(rf"{unique}: success, 2 of 2 VMs, .* in .*", lines[4])
    execution = lines[0].rpartition(" ")[2]
    assert [one["id"] for one in as_json("history", unique)] == [execution]
    assert {one["vm_name"] for one in as_json("backups", "--execution", unique)} == {f"{unique}-0", f"{unique}-1"}
    assert as_json("backups", "--vm", f"{unique}-0")[0]["execution_id"] == execution
    assert execution in well("history", unique).out
    assert "nothing to retry" in called("retry", unique).err


def test_a_run_that_fails_exits_with_1_and_is_retried(here: Path, api: Client, unique: str) -> None:
    made.flow(api, unique, config={"failure_rate": 1})
    done = called("run", unique, "--wait", "--json")
    assert done.code == failures.FAILED == 1
    ended = json.loads(done.out)
    assert (ended["status"], ended["jobs_failed"]) == ("error", 1)
    well("repository", "set", unique, "--config", "failure_rate=0")
    retried = called("retry", unique, "--wait")
    assert retried.code == 0, retried
    assert as_json("history", unique, "--status", "success")[0]["retry_of"] == ended["id"]
    assert called("history", unique, "--status", "cancelled").out.count("\n") == 1


def test_a_run_over_nothing_exits_with_3(here: Path, api: Client, unique: str) -> None:
    made.flow(api, unique, vms=0)
    done = called("run", unique, "--wait")
    assert (done.code, done.out.splitlines()[0].startswith(f"{unique}: nothing to back up")) == (3, True)


def test_a_run_that_is_cancelled_exits_with_4(here: Path, api: Client, unique: str) -> None:
    made.flow(api, unique, config={"seconds": 60})
    ended: list[Any] = []
    waiting = subprocess.Popen([*FLOWS, "run", unique, "--wait"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: as_json("history", unique, "--status", "running"))
        assert unique in well("queue").out
        assert unique in well("status", unique).out
        assert called("cancel", unique, "--vm", "nobody").code == failures.NOT_FOUND
        assert re.match(rf"cancelling execution \S+ of {unique!r}\n", well("cancel", unique).out)
        ended.append(waiting.communicate(timeout=60)[0])
    finally:
        waiting.kill()
        waiting.communicate()
    assert waiting.returncode == failures.CANCELLED == 4
    assert f"{unique}: cancelled, 0 of 1 VM" in ended[0]
    assert called("cancel", unique).err == f"flows: flow {unique!r} does not run\n"


def test_ctrl_c_ends_the_waiting_and_not_the_run(
    here: Path, api: Client, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.flow(api, unique)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executions, "follow", interrupted)
    done = called("run", unique, "--wait")
    assert (done.code, "it goes on; `flows cancel " in done.err) == (failures.INTERRUPTED, True)
    assert called("history", unique).out.count("\n") == 2


def test_settings_are_for_programs_too(here: Path) -> None:
    (found,) = as_json("settings")
    assert found["block_devices"] is False


def test_flows_are_enabled_and_disabled(here: Path, api: Client, unique: str) -> None:
    made.scheduled(api, unique, "0 2 * * *")
    assert well("disable", unique).out == f"disabled flow {unique!r}; no next run: the flow is disabled\n"
    assert well("next", unique).out == "no next run: the flow is disabled\n"
    assert re.fullmatch(rf"enabled flow {unique!r}; next run \S+ 02:00:00Z\n", well("enable", unique).out)
    assert [one["at"][11:] for one in as_json("next", unique)] == ["02:00:00Z"] * 10
    assert well("next", unique).out.count("02:00:00Z") == 10
    assert unique in well("calendar").out
    assert unique in well("list", "--enabled").out
    assert unique not in well("list", "--disabled").out


def test_a_backfill_executes_what_passed(here: Path, api: Client, unique: str) -> None:
    made.scheduled(api, unique, "0 * * * *", config={"seconds": 60})
    dry = well("backfill", unique, "--from", "3h", "--dry-run").out.splitlines()
    assert re.fullmatch(rf"{unique}: 3 occurrences would be executed", dry[0])
    assert len(dry) == 4
    (found,) = as_json("backfill", unique, "--from", "3h", "--max-concurrent", "3")
    cancelled = well("backfill", unique, "--cancel", found["backfill_id"]).out
    assert cancelled.startswith(f"cancelled backfill {found['backfill_id']} of {unique!r}")
    assert called("backfill", unique).code == failures.USAGE


def test_the_engine_says_how_it_is(here: Path, running: Running, unique: str) -> None:
    lines = well("status").out.splitlines()
    assert lines[0] == f"engine      {running.url}"
    assert re.fullmatch("status      ok", lines[1])
    (found,) = as_json("status")
    assert (found["status"], found["url"], "total_flows" in found["summary"]) == ("ok", running.url, True)


def test_events_are_watched_as_they_come(here: Path, api: Client, running: Running, unique: str) -> None:
    made.flow(api, unique)
    command = [*FLOWS, "watch", unique]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
        stop = threading.Event()

        def until_seen() -> None:
            """Run it again and again: when the other process listens is not known."""
            while not stop.is_set():
                called("run", unique, "--wait")

        runs = threading.Thread(target=until_seen)
        runs.start()
        try:
            assert watching.stdout
            seen = next(line for line in watching.stdout if "flow.completed" in line)
        finally:
            stop.set()
            runs.join()
            watching.terminate()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  flow.completed +success: 1 of 1 VMs", seen)


HOSTILE = "[bold]\x1b[2J"


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def shown_on(console: Console) -> str:
    """Return the text that a terminal has got, without what moves its cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", cast("io.StringIO", console.file).getvalue())


def test_a_terminal_shows_a_bar_for_each_vm(here: Path, running: Running, api: Client, unique: str) -> None:
    made.flow(api, unique, vms=2, config={"seconds": 1})
    console = terminal()
    with options.connected(running.folder, None, None, None) as client:
        started = client.call("POST", f"/protection-flows/{as_json('show', unique)[0]['id']}/execute")
        ended = executions.follow(client, started["execution_id"], console)
    assert ended["status"] == "success"
    text = shown_on(console)
    assert re.search(rf"{unique}-0  running [━╸╺ ]+ +\d+ %", text)
    assert re.search(rf"{unique}-1  success [━╸╺ ]+ 100 %", text)


def test_a_terminal_shows_what_goes_on(here: Path, running: Running, api: Client, unique: str) -> None:
    made.flow(api, unique, vms=0)
    well("run", unique)
    made.flow(api, f"{unique}{HOSTILE[:6]}", config={"seconds": 60})
    well("run", f"{unique}{HOSTILE[:6]}")
    console = terminal()
    try:
        with options.connected(running.folder, None, None, None) as client:
            console.print(watch._screen(client, None))
    finally:
        well("cancel", f"{unique}{HOSTILE[:6]}")
    text = shown_on(console)
    assert re.search(rf"RUNNING\n {unique}\[bold\] +[━╸╺ ]+ +0/1 VM", text)
    assert re.search(rf"ENDED\n(.*\n)* \d{{4}}-\S+ \S+Z +{unique} +warning +0/0 VMs", text)


@pytest.mark.parametrize("wide", [True, False], ids=["terminal", "elsewhere"])
def test_tables_are_folded_on_a_terminal_alone(wide: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=wide, width=20, color_system=None)
    print_table(console, ("NAME", "WHAT"), [("one", "x" * 30), ("日本", HOSTILE)])
    lines = cast("io.StringIO", console.file).getvalue().splitlines()
    assert all(map(is_printable, lines))
    assert (len(lines) > 3) == wide
    assert any(r"[bold]\x1b" in line for line in lines)
    if not wide:
        assert lines == ["NAME  WHAT", f"one   {'x' * 30}", r"日本  [bold]\x1b[2J"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "nobody"), 5, "there is no flow 'nobody'"),
        (("vm", "show", "no/body?x"), 5, "there is no VM 'no/body?x'"),
        (("retry", "nobody"), 5, "there is no flow or execution 'nobody'"),
        (("add", "x"), 2, "name what it protects, with --vm or --group"),
        (("add", "x", "--vm", "a", "--group", "b"), 2, "a VM or a group: name one of them"),
        (("set", "x"), 2, "nothing to change"),
        (("delete",), 2, "Missing argument"),
        (("policy", "add", "x", "--retry-attempts", "21"), 2, "21 is not in the range 0<=x<=20"),
        (("schedule", "add", "x"), 2, "Missing option '--cron'"),
        (("schedule", "add", "x", "--cron", "a b"), 1, "cron"),
        (("vm", "add", "x", "--disk", "x"), 2, "'x' is not known; known: disk_id=… path=… size_gb=…"),
        (("vm", "add", "x", "--label", "x"), 2, "KEY=VALUE is needed"),
        (("status", "--url", "http://127.0.0.1:1"), 6, "does not respond"),
        (("status", "--context", "nobody"), 1, "there is no context 'nobody'. `flows context list` shows"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    here: Path, running: Running, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = called(*arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert done.err.count("\n") == 1


def test_several_of_one_name_are_named_by_id(here: Path, api: Client, unique: str) -> None:
    ids = sorted(made.vm(api, unique) for _ in range(2))
    done = called("vm", "show", unique)
    assert (done.code, done.err) == (1, f"flows: 2 VMs are called {unique!r}: name one by its id: {', '.join(ids)}\n")
    assert ids[0] in well("vm", "show", ids[0]).out


def test_nothing_is_deleted_before_somebody_has_said_so(here: Path, api: Client, unique: str) -> None:
    made.flow(api, unique)
    done = called("delete", unique)
    assert (done.code, "say --yes" in done.err) == (2, True)
    assert api.get("/protection-flows", params={"q": unique})["total"] == 1


def test_names_are_completed(here: Path, api: Client, unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made.flow(api, unique)
    monkeypatch.setenv("_FLOWS_COMPLETE", "bash_complete")

    def completed(*words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", " ".join(["flows", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return [line.partition(",")[2] for line in called().out.split()]

    assert completed("run", unique) == [unique]
    assert completed("vm", "show", unique) == [f"{unique}-0"]
    assert completed("sch") == ["schedule"]
    assert completed("schedule", "") == ["add", "delete", "list", "set", "show"]
    assert "--wait" in completed("run", "--")
    assert completed("set", unique, "--repository", unique) == [unique]
    assert completed("run", unique, "--url", "http://127.0.0.1:1", "x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_program_that_completes_is_one_of_the_shell(here: Path, shell: str) -> None:
    program = well("completion", shell).out
    assert f"_FLOWS_COMPLETE={shell}_complete" in program
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=program, text=True).returncode == 0


def test_every_field_of_a_definition_has_an_option() -> None:
    """A field that a spec gets is on the command line the same day."""
    for shape in (ScheduleSpec, FlowSpec):
        names: set[str] = set()

        @fields.options(shape, but=(), optional=None)
        def command(**_: Any) -> None: ...

        names = {parameter.name for parameter in command.__click_params__}
        assert names == set(shape.__struct_fields__)

"""Nothing that came from elsewhere acts on a terminal, whatever prints it."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from rich.console import Console

from bus.envelope import encode
from bus.log import Log
from bus.selection import Filter
from bus.server import Server
from cli import dead, declare, failures, log, logs, supervision
from cli.printable import is_printable, json_line, printable
from cli.terminal import print_line
from schemas.events import DeadLettered, FlowSkipped
from tests.running import ROOT
from tests.support import T0, sent

HOSTILE = {
    "escape": ("\x1b", r"\x1b"),
    "clear the screen": ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
    "a colour": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "a link": ("\x1b]8;;http://evil\x1b\\ok\x1b]8;;\x1b\\", r"\x1b]8;;http://evil\x1b\ok\x1b]8;;\x1b" + "\\"),
    "a title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "the clipboard": ("\x1b]52;c;ZXZpbA==\x07", r"\x1b]52;c;ZXZpbA==\x07"),
    "C1 control sequence": ("\x9b2J", r"\x9b2J"),
    "C1 operating system command": ("\x9d0;owned\x9c", r"\x9d0;owned\x9c"),
    "C1 next line": ("a\x85b", r"a\x85b"),
    "backspace": ("good\b\b\b\bevil", r"good\x08\x08\x08\x08evil"),
    "delete": ("a\x7fb", r"a\x7fb"),
    "return": ("100 %\rfailed", r"100 %\rfailed"),
    "a line of its own": ("done\n✓ all is well", r"done\n✓ all is well"),
    "a tab": ("a\tb", r"a\tb"),
    "NUL": ("a\0b", r"a\x00b"),
    "separators": ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    "override": ("\u202etxt.exe\u202c", r"\u202etxt.exe\u202c"),
    "isolate": ("\u2066a\u2069", r"\u2066a\u2069"),
    "marks": ("\u200fa\u200e\u061c", r"\u200fa\u200e\u061c"),
    "not seen": ("pass\u200bword\ufeff\u00ad", r"pass\u200bword\ufeff\xad"),
    "tags": ("\U000e0041\U000e0042", r"\U000e0041\U000e0042"),
    "no text": ("disk\udcff.raw", r"disk\udcff.raw"),
    "markup": ("[bold red]x[/] [link=http://evil]y[/link]", "[bold red]x[/] [link=http://evil]y[/link]"),
    "half a markup": ("[/]", "[/]"),
    "an emoji's name": (":skull:", ":skull:"),
}
ALL = "".join(text for text, _ in HOSTILE.values())
ON_THE_LOG = ALL.replace("\udcff", "").replace("\0", "")  # what a message may say
HARMLESS = ["nightly", "Sicherung für Zürich", "日本語", "שלום", "naïve", "\u00a0", "👩\u200d💻", "न\u200cद"]


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_might_act_on_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert is_printable(shown)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text
    assert is_printable(f"{text}\n{text}")


@given(st.text(st.characters()))
def test_any_text_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert is_printable(shown)
    assert len(shown.encode().decode().splitlines()) <= 1
    assert printable(shown) == shown


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_has_no_colour_but_ours(terminal: bool) -> None:
    console = Console(
        file=io.StringIO(), force_terminal=terminal, color_system="standard" if terminal else None, width=40
    )
    print_line(console, ("✗ ", "red"), ALL, (ALL, "bold"))
    written = cast("io.StringIO", console.file).getvalue()
    red, bold = ("\x1b[31m✗ \x1b[0m", f"\x1b[1m{printable(ALL)}\x1b[0m") if terminal else ("✗ ", printable(ALL))
    assert written == f"{red}{printable(ALL)}{bold}\n"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_means_what_it_meant(value: Any, ascii_only: bool, indent: Any) -> None:
    line = json_line(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())
    assert json.loads(line) == value
    assert is_printable(line)
    assert "\n" not in line


@pytest.mark.parametrize("body", [b"\x1b[2J", b"\xff\xfe\x9b", ON_THE_LOG.encode(), b'{"a": "\xc2\x9b"}\n{"b": 1}'])
def test_what_is_no_json_is_one_line_too(body: bytes) -> None:
    assert is_printable(json_line(body))
    assert "\n" not in json_line(body)


@pytest.fixture
async def hostile(client: Client, log: Log) -> Log:
    """A log on which somebody with a credential has written what they liked."""
    skipped = FlowSkipped(
        flow_id="f",
        execution_id="e",
        execution_type="scheduled",
        occurrence=T0,
        reason="overlap",
        message=ON_THE_LOG,
    )
    event = sent(skipped, id=ON_THE_LOG, actor=ON_THE_LOG, time=T0)
    js = client.jetstream()
    await js.publish("flow.skipped.f", encode(event))
    await js.publish("flow.skipped.f", encode(event).replace(b"flow.skipped", b"flow.\xc2\x9b\xe2\x80\xae"))
    await js.publish("flow.due.x", b"\x1b[2J no json \xff")
    await js.publish("flow.due.\x1b]0;owned\x07", b"{}")
    letter = DeadLettered(service="recorder", reason="malformed", sequence=3, subject="flow.due.x", error=ON_THE_LOG)
    await log.append([sent(letter, id="letter")], expect={})
    return log


def lines(console: Console) -> list[str]:
    """Return what was printed, in lines, without the colours that we print."""
    written = cast("io.StringIO", console.file).getvalue()
    assert written.endswith("\n")
    return written[:-1].split("\n")


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
async def test_the_log_is_one_clean_line_for_each_message(hostile: Log, server: Server, as_json: bool) -> None:
    del hostile
    console = Console(file=io.StringIO())
    await log.show(server.url, ">", Filter(), follow=False, as_json=as_json, local=False, console=console)
    printed = lines(console)
    assert len(printed) == 5
    assert all(map(is_printable, printed))
    if as_json:
        assert json.loads(printed[0])["data"]["message"] == ON_THE_LOG
    else:
        assert r"\x1b[2J\x1b[H" in printed[0]
        assert "[bold red]x[/]" in printed[0]


async def test_dead_letters_are_clean_lines(hostile: Log, server: Server) -> None:
    del hostile
    console = Console(file=io.StringIO())
    await dead.show(server.url, console)
    await dead.show_one(server.url, 3, console)
    printed = lines(console)
    assert len(printed) == 4
    assert all(map(is_printable, printed))
    assert printed[-1] == r"\u001b[2J no json \xff"


def test_errors_are_one_clean_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`flows` calls a command, which fails with what somebody else has said: an API, a file's name, a server."""
    for error in (RuntimeError(ALL), ValueError(ALL), OSError(2, "no such file", ALL), KeyError(ALL)):
        monkeypatch.setattr(sys, "argv", ["flows"])
        command = SimpleNamespace(main=lambda error=error, **_: (_ for _ in ()).throw(error))
        assert failures.run(cast("Any", command)) == failures.FAILED
        said = capsys.readouterr().err
        assert said.endswith("\n")
        assert is_printable(said[:-1])
        assert "\n" not in said[:-1]


def test_what_a_child_says_last_is_a_clean_line(tmp_path: Path) -> None:
    child = object.__new__(supervision.Child)
    child.log_file = tmp_path / "worker.log"
    child.log_file.write_text(json.dumps({"message": ALL}))
    console = Console(file=io.StringIO())
    part = cast("Any", SimpleNamespace(check=lambda: f"worker ended (exit code 1): {child.last_line}"))
    supervision.check_all(part, [], console)
    (line,) = lines(console)
    assert is_printable(line)
    assert "[bold red]x[/]" in line


def test_log_lines_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    handlers = [logging.StreamHandler(sys.stderr) for _ in range(2)]
    handlers[0].setFormatter(logs.PlainFormatter("%(levelname)s %(message)s"))
    handlers[1].setFormatter(logs.JsonFormatter())
    exc_info = (ValueError, ValueError(ALL), None)
    about = {"action": "x", "file": ALL}
    logger = logging.getLogger("services.test")
    record = logger.makeRecord("services.test", logging.ERROR, "x.py", 1, "failed: %s", (ALL,), exc_info, extra=about)
    for handler in handlers:
        handler.handle(record)
    written = capsys.readouterr().err
    assert is_printable(written)
    plain, *_, as_json = written.splitlines()
    assert plain == f"ERROR failed: {printable(ALL)}"
    assert json.loads(as_json)["message"] == f"failed: {ALL}"


def test_definitions_are_shown_and_exported_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "\u202etxt\x9b.[bold]exe"
    document = {"policies": [{"name": name, "keep_last": 1, "description": "für\x1b"}]}
    console = Console(file=io.StringIO(), width=20)
    there = {"policies": [{"name": name, "keep_last": 2}]}
    declare._show(declare.difference(there, document, prune=True), console)
    assert is_printable(cast("io.StringIO", console.file).getvalue())
    assert "[bold]" in cast("io.StringIO", console.file).getvalue()
    monkeypatch.setattr(declare, "System", lambda _: SimpleNamespace(document=document))
    text = declare.export(cast("Any", None))
    assert is_printable(text)
    assert yaml.safe_load(text) == document


PRINTERS = {
    "cli/terminal.py",  # `print_line`, through which all goes
    "cli/failures.py",  # errors: one line each, to standard error
    "cli/log.py",  # by hand, as there may be many thousands
    "cli/commands/definitions.py",  # YAML, in which everything is escaped
}


def printing(root: Path) -> Iterator[str]:
    """Yield where cli/ prints."""
    for file in sorted((root / "cli").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"print", "click.echo", "click.secho"} or called.endswith(
                ("console.print", "out.print", "err.print", "console.log", "file.write", "stdout.write", "stderr.write")
            ):
                yield str(file.relative_to(root))


def test_all_goes_through_one_function() -> None:
    assert set(printing(ROOT)) == PRINTERS


def test_the_rule_goes_red(tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    for number, line in enumerate(["print(x)", "click.echo(x)", "console.print(x)", "terminal.out.print(x)"]):
        (tmp_path / "cli" / f"{number}.py").write_text(f"def f():\n    {line}\n")
    assert len(list(printing(tmp_path))) == 4

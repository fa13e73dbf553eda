"""The documents are true: their links lead somewhere, and what they name in the code is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bus.subjects import TABLE
from cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
REFERENCE = re.compile(r"([\w./-]*\w\.(?:py|md|toml|ya?ml|conf)|[\w.-]+/[\w./-]+\.jsonl?)(?::([\w.]+))?")
FOLDER = re.compile(r"(?:[\w.-]+/)+")
DOCUMENT = re.compile(r"[\w/-]+\.md\b")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def documents(root: Path) -> list[Path]:
    return [*root.glob("*.md"), *(root / "docs").rglob("*.md")]


def faults(root: Path) -> Iterator[str]:
    """Yield what the documents say that is not so."""
    for document in documents(root):
        if document.name == "CHANGELOG.md":
            continue  # it tells of what is no more
        text = FENCE.sub("", document.read_text())
        found = [*_links(root, document, text), *_references(root, document, text)]
        yield from (f"{document.relative_to(root)}: {fault}" for fault in found)


def _links(root: Path, document: Path, text: str) -> Iterator[str]:
    for label, target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or root not in [file, *file.parents]:
            yield f"the link to {target} leads nowhere"
        elif anchor and anchor not in _anchors(file):
            yield f"{path or 'it'} has no section #{anchor}"
        reference = REFERENCE.fullmatch(label.strip("`"))
        if reference and "/" in label and (root / reference[1]) != file:
            yield f"the link that says {reference[1]} leads to {target}"


def _references(root: Path, document: Path, text: str) -> Iterator[str]:
    spans = SPAN.findall(text)
    for span in spans:
        reference = REFERENCE.fullmatch(span)
        if reference is not None:
            path, name = reference.groups()
            file = _file(root, document, path)
            if file is None:
                yield f"there is no file {path}"
            elif name and (file.suffix != ".py" or name not in _names(file)):
                yield f"{path} defines no {name}"
        elif FOLDER.fullmatch(span) and not (root / span).is_dir():
            yield f"there is no folder {span}"
    for path in DOCUMENT.findall(LINK.sub("", SPAN.sub("", text))):
        if _file(root, document, path) is None:
            yield f"there is no document {path}"


def _file(root: Path, document: Path, path: str) -> Path | None:
    """Return the file that a path means: from the root, from the document, or the name of any file of ours."""
    for start in (root, document.parent):
        if (start / path).is_file():
            return start / path
    if "/" in path:
        return None
    folders = (one for one in root.iterdir() if one.is_dir() and one.name.isidentifier())
    return next((file for folder in folders for file in folder.rglob(path)), None)


@cache
def _names(file: Path) -> set[str]:
    """Return what a module defines: functions, classes and values, and what is in classes as `Class.name`."""
    return set(_defined(ast.parse(file.read_text()).body))


def _defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name
            case ast.ClassDef():
                yield prefix + node.name
                yield from _defined(node.body, f"{prefix}{node.name}.")
            case ast.Assign():
                names = (name for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
                yield from (prefix + name.id for name in names)
            case ast.AnnAssign(target=ast.Name() as name):
                yield prefix + name.id


def _anchors(file: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub derives them."""
    headings = HEADING.findall(FENCE.sub("", file.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_what_the_documents_point_to_is_there() -> None:
    assert list(faults(ROOT)) == []


def test_all_documents_are_read() -> None:
    names = {str(document.relative_to(ROOT)) for document in documents(ROOT)}
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md", "docs/adr/README.md"} <= names


@pytest.mark.parametrize(
    "text",
    [
        "[a](missing.md)",
        "[a](../../outside.md)",
        "[a](#no-such-section)",
        "[a](docs/there.md#no-such-section)",
        "[`bus/log.py`](docs/there.md)",
        "`bus/missing.py`",
        "`missing.py`",
        "`bus/log.py:missing`",
        "`bus/log.py:Log.missing`",
        "`bus/log.py:append`",  # it is Log's
        "`bus/missing/`",
        "MISSING.md says so",
    ],
)
def test_what_is_not_there_is_found(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert len(list(faults(tmp_path))) == 1


def test_what_is_there_is_not_found(tmp_path: Path) -> None:
    good = [
        "[a](docs/there.md), [b](docs/there.md#two-words), [`bus/log.py:Log.append`](bus/log.py), [c](https://x.org/y.md)",
        "`bus/log.py`, `log.py`, `bus/log.py:Log`, `bus/log.py:LIMIT`, `bus/log.py:SIZE`, `bus/log.py:f`, `bus/`, `a`",
        "```\nmissing.md\n```",
    ]
    write(tmp_path, "\n".join(good))
    assert list(faults(tmp_path)) == []


def write(root: Path, text: str) -> None:
    (root / "README.md").write_text(f"# About\n{text}\n")
    (root / "docs").mkdir()
    (root / "docs" / "there.md").write_text("# There\n## Two words\n")
    (root / "bus").mkdir()
    code = "LIMIT = 1\nSIZE: int = 2\nasync def f(): ...\nclass Log:\n    def append(self): ...\n"
    (root / "bus" / "log.py").write_text(code)


def test_tasks_and_commands_that_are_named_are_there() -> None:
    tasks = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in documents(ROOT):
        spans = SPAN.findall(FENCE.sub("", document.read_text()))
        named = {found[1] for span in spans if (found := re.match(r"make (\w+)", span))}
        assert named <= tasks, document
        called = {found[1] for span in spans if (found := re.match(r"flows ([a-z][a-z-]*)", span))}
        assert called <= set(COMMANDS), document


def test_the_architecture_names_every_type_of_event() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    events = [tag for tag in TABLE if not tag.startswith("command.")]
    assert [tag for tag in events if f"`{tag}" not in text] == []


def test_every_decision_is_recorded_in_one_format() -> None:
    folder = ROOT / "docs" / "adr"
    records = sorted(folder.glob("0*.md"))
    index = (folder / "README.md").read_text()
    for number, record in enumerate(records, start=1):
        text = record.read_text()
        assert re.match(rf"# {number}\. .+\n\n- Date: \d{{4}}-\d\d-\d\d\n- Status: \w.*\n", text), record.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], record.name
        title = text.splitlines()[0].removeprefix(f"# {number}. ")
        assert f"[{title}]({record.name})" in index, record.name

"""The house's rules (docs/architecture.md), checked on the source. Each check is seen to fail where one is broken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ["schemas", "bus", "services", "api", "cli"]
SHELLS = ("app.py",)
SERVICES = ("setup", "registry", "scheduler", "executor", "worker", "recorder", "notifier")
# of a service; all its other rooms are pure
IMPURE_ROOMS = (
    *SHELLS,
    "watch.py",
    *("authentication.py", "revocation.py"),
    *("store.py", "rebuild.py", "comparison.py", "restoration.py"),
    *("run.py", "runner.py", "history.py", "outbox.py", "followed.py", "queues.py"),
    *("inspector.py", "presence.py", "progress.py", "reports.py"),
    *("delivery.py", "references.py", "relay.py", "relaying.py", "sending.py", "tester.py", "webhook.py"),
)
PURE_ROOMS = ("explanation",)  # beside the services, and pure from wall to wall
# of an engine's folder and those beside it; what these say of engines, other services may use
PURE_IN_ENGINES = ("rules.py", "registration.py")
# what would make a decision depend on more than its arguments
IMPURE_MODULES = {
    "asyncio",
    "random",
    "secrets",
    "time",
    "os",
    "socket",
    "subprocess",
    "threading",
    "nats",
    "faststream",
}
WAITING = Path("tests/support.py")  # where `eventually` and `wait_until` are
NOT_A_WAIT = "# not a wait:"
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input", "sleep"}


def sources(root: Path) -> Iterator[Path]:
    for floor in FLOORS:
        yield from sorted((root / floor).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def imports_that_go_up(root: Path) -> list[str]:
    """A floor imports from floors below it; a service imports no other service's shell."""
    faults: list[str] = []
    for file in sources(root):
        place = file.relative_to(root)
        floor = FLOORS.index(place.parts[0])
        for name in imported(ast.parse(file.read_text())):
            parts = name.split(".")
            if parts[0] in FLOORS and FLOORS.index(parts[0]) > floor:
                faults.append(f"{place} imports {name}, from a floor above")
            if parts[0] == "services" and place.parts[0] == "services" and parts[1:2] != [place.parts[1]]:
                faults += [f"{place} imports {name}, another service's {what}" for what in not_for_others(parts)]
            if parts[0] == "nats" and place.parts[0] != "bus":
                faults.append(f"{place} imports {name}: nats-py is for bus/ alone")
    return faults


def not_for_others(parts: list[str]) -> Iterator[str]:
    """Yield what a module of a service is that other services must not import; nothing when they may."""
    if len(parts) > 2 and parts[1] in SERVICES and f"{parts[2]}.py" in IMPURE_ROOMS:
        yield "shell"
    if parts[1:3] == ["worker", "engines"] and len(parts) > 3 and f"{parts[3]}.py" not in PURE_IN_ENGINES:
        yield "engine"


def pure(place: Path) -> bool:
    """Tell whether a file is to depend on nothing but its arguments."""
    match place.parts:
        case ("schemas", *_) | (*_, "catalogue.py" | "roots.py" | "health.py" | "pools.py") if place.parts[0] != "api":
            return True
        case ("services", "worker", "engines", *_, name):
            return name in PURE_IN_ENGINES
        case ("services", service, name):
            return service in PURE_ROOMS or (service in SERVICES and name not in IMPURE_ROOMS)
        case _:
            return False


def impurities(root: Path) -> list[str]:
    """Domains, the calendar, engines' rules and schemas/ do no I/O, and read no clock, randomness or event loop."""
    faults: list[str] = []
    for file in sources(root):
        place = file.relative_to(root)
        if not pure(place):
            continue
        tree = ast.parse(file.read_text())
        faults += [f"{place} imports {name}" for name in imported(tree) if name.split(".")[0] in IMPURE_MODULES]
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await):
                faults.append(f"{place}:{node.lineno} is asynchronous")
            if isinstance(node, ast.Call) and (name := called(node)) in IMPURE_CALLS:
                faults.append(f"{place}:{node.lineno} calls {name}()")
    return faults


def habits_broken(root: Path) -> list[str]:
    """Tests share what is in support modules, and wait with a deadline for what they wait for."""
    faults: list[str] = []
    for file in sorted((root / "tests").rglob("*.py")):
        place = file.relative_to(root)
        source = file.read_text()
        tree = ast.parse(source)
        for name in imported(tree):
            if name.startswith("tests.") and ".test_" in name:
                faults.append(f"{place} imports {name}: what tests share belongs in a support module")
        faults += [
            f"{place}:{node.lineno} sets a deadline: the profile in tests/conftest.py has none, for all"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and called(node) == "settings"
            and {"deadline"} & {k.arg for k in node.keywords}
        ]
        waiting = place == WAITING
        simulated = place.parts[1] == "simulation" and place.name != "test_contract.py"  # its clock costs nothing
        if waiting or simulated:
            continue
        lines = source.splitlines()
        for node in ast.walk(tree):
            if sleeps(node) and NOT_A_WAIT not in lines[node.end_lineno - 1]:
                faults.append(
                    f"{place}:{node.lineno} sleeps: wait with `eventually` or `wait_until`; where time itself is what "
                    f"the test is about, say {NOT_A_WAIT!r} and what passes"
                )
    return faults


def sleeps(node: ast.AST) -> TypeGuard[ast.Call]:
    """Tell whether a node is a call that sleeps; for nothing at all, it only lets others run."""
    if not isinstance(node, ast.Call):
        return False
    return called(node) == "sleep" and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)


def test_imports_go_down() -> None:
    assert imports_that_go_up(ROOT) == []


def test_pure_modules_are_pure() -> None:
    assert impurities(ROOT) == []


def test_the_habits_of_the_tests_are_kept() -> None:
    assert habits_broken(ROOT) == []


def test_the_rules_look_at_the_whole_house() -> None:
    names = {str(file.relative_to(ROOT)) for file in sources(ROOT)}
    assert {f"services/{name}/app.py" for name in SERVICES} <= names
    assert {"services/executor/domain.py", "services/scheduler/calendar.py", "schemas/events.py"} <= names


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("schemas/events.py", "from bus.log import Log"),
        ("bus/log.py", "import services.catalogue"),
        ("services/worker/app.py", "def f():\n    from api.app import create_app"),
        ("services/worker/app.py", "from services.executor.app import Executor"),
        ("services/worker/app.py", "from services.executor import app"),
        ("services/worker/app.py", "from services.executor.watch import watch"),
        ("services/registry/changes.py", "from services.worker.engines import loading"),
        ("services/registry/changes.py", "from services.worker.engines.directory.engine import DirectoryEngine"),
        ("api/app.py", "import nats"),
    ],
)
def test_the_import_rule_goes_red(tmp_path: Path, place: str, source: str) -> None:
    write(tmp_path, place, source)
    assert imports_that_go_up(tmp_path)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("services/executor/domain.py", "from datetime import datetime\nx = datetime.now()"),
        ("services/executor/domain.py", "import uuid\ndef f():\n    return uuid.uuid4()"),
        ("services/scheduler/calendar.py", "import random"),
        ("services/scheduler/calendar.py", "import asyncio"),
        ("services/registry/domain.py", "def f():\n    return open('x')"),
        ("services/registry/domain.py", "async def f(): ..."),
        ("services/worker/engines/directory/rules.py", "from os import path"),
        ("services/worker/engines/registration.py", "def f():\n    return open('x')"),
        ("services/explanation/words.py", "from datetime import datetime\nx = datetime.now()"),
        ("schemas/ids.py", "from time import time"),
    ],
)
def test_the_purity_rule_goes_red(tmp_path: Path, place: str, source: str) -> None:
    write(tmp_path, place, source)
    assert impurities(tmp_path)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("tests/api/test_app.py", "from tests.api.test_live import stream"),
        ("tests/made.py", "def f():\n    import tests.api.test_live"),
        ("tests/api/test_app.py", "from tests.api import test_live"),
        ("tests/api/test_app.py", "import time\ntime.sleep(1)  # so that it is there"),
        ("tests/running.py", "from asyncio import sleep\nasync def f(x):\n    await sleep(x)"),
        ("tests/services/test_x.py", "@settings(max_examples=9, deadline=None)\ndef test(): ..."),
        ("tests/simulation/test_contract.py", "import asyncio\nasync def f():\n    await asyncio.sleep(0.5)"),
    ],
)
def test_the_rule_for_tests_goes_red(tmp_path: Path, place: str, source: str) -> None:
    write(tmp_path, place, source)
    assert habits_broken(tmp_path)


def test_what_is_allowed_stays_green(tmp_path: Path) -> None:
    write(tmp_path, "api/app.py", "from services.scheduler import calendar\nfrom bus.log import Log")
    write(tmp_path, "services/registry/app.py", "from services.registry.app import x\nimport asyncio")
    write(tmp_path, "services/registry/domain.py", "from services.scheduler import calendar")
    write(tmp_path, "services/registry/changes.py", "from services.worker.engines import registration")
    write(tmp_path, "services/worker/engines/directory/engine.py", "import threading")
    write(tmp_path, "tests/api/test_app.py", f"from tests.made import x\ntime.sleep(1)  {NOT_A_WAIT} a pause\nsleep(0)")
    write(tmp_path, "tests/support.py", "async def eventually():\n    await asyncio.sleep(1)")
    write(tmp_path, "tests/simulation/world.py", "async def f():\n    await asyncio.sleep(1)")
    assert imports_that_go_up(tmp_path) == []
    assert impurities(tmp_path) == []
    assert habits_broken(tmp_path) == []


def write(root: Path, place: str, source: str) -> None:
    file = root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)

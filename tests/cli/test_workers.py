"""Workers as people enrol and revoke them, against a running engine: tokens, the worker's own machine, its end."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from bus.address import parse_url
from cli import enrolment
from schemas.tokens import digest_of
from schemas.workers import named
from tests.cli.inside import called
from tests.running import FLOWS, Client, Running
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("here")


def made(name: str, *options: str) -> str:
    """Let a worker enrol itself, and return its one-time token."""
    done = called("worker", "token", "create", name, *options)
    assert done.code == 0, done.err
    assert "shown once" in done.err
    token = done.out.strip()
    assert named(token) == name
    return token


def enrolled(running: Running, state: Path, token: str) -> Any:
    call = ("worker", "enrol", "--url", running.url, "--token-file", "-", "--state", str(state))
    return called(*call, text=f"{token}\n")


def listed(api: Client, name: str) -> dict[str, Any]:
    (found,) = [one for one in api.get("/workers")["enrolments"] if one["name"] == name]
    return dict(found)


@contextmanager
def serving(running: Running, state: Path, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run `flows serve worker` as on another machine: with its own state folder, and no other credentials."""
    (server,) = parse_url(running.nats_url).servers
    own = {"PATH": os.environ["PATH"], "FLOWS_NATS_URL": server, "FLOWS_STATE_DIR": str(state), **more}
    command = [*FLOWS, "serve", "worker", *options]
    process = subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_life(running: Running, api: Client, unique: str, tmp_path: Path) -> None:
    """Named by an administrator, enrolled by its token, at work, revoked and told so; and nowhere is a secret."""
    token, state = made(unique, "--label", f"site={unique}", "--expires", "2h"), tmp_path / "state"
    waiting = listed(api, unique)
    assert (waiting["status"], waiting["present"], waiting["labels"]) == ("waiting", False, {"site": unique})
    done = enrolled(running, state, token)
    assert done.code == 0, done.err
    assert f"enrolled worker {unique!r} with site={unique}" in done.out
    file = state / enrolment.FILE
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(state.stat().st_mode)) == (0o600, 0o700)
    secret = json.loads(file.read_text())["secret"]
    assert enrolled(running, state, token).code == 0, "the same token with the same secret is the same again"
    with serving(running, state, "--label", f"site={unique}") as process:
        wait_until(lambda: listed(api, unique)["present"], within=30)
        (there,) = [one for one in api.get("/workers")["workers"] if one["enrolment"] == unique]
        assert (there["labels"], there["state"]) == ({"site": unique}, "running")
        assert there["name"].startswith(f"{unique}.")
        shown = called("workers").out
        assert unique in shown
        assert "enrolled" in shown
        assert called("worker", "revoke", unique).out == f"revoked worker {unique!r}\n"
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
    last = json.loads(said.splitlines()[-1])
    assert f"worker {unique!r} was revoked, and may do nothing here any more" in last["message"]
    assert "Traceback" not in said
    (revoked,) = api.get("/audit", params={"entity": "worker", "entity_id": unique, "verb": "revoke"})["commands"]
    assert (revoked["actor"], revoked["outcome"]) == ("admin", "accepted")
    (enrol, *_) = api.get("/audit", params={"entity": "worker", "entity_id": unique, "verb": "enrol"})["commands"]
    assert enrol["actor"] == f"worker:{unique}"
    for one in (token, secret):
        found = [file for file in running.folder.rglob("*") if file.is_file() and one.encode() in file.read_bytes()]
        assert found == []


def test_one_that_was_revoked_or_used_its_token_is_told_so(
    running: Running, api: Client, unique: str, tmp_path: Path
) -> None:
    token = made(unique)
    assert enrolled(running, tmp_path / "one", token).code == 0
    second = enrolled(running, tmp_path / "two", token)
    assert second.code == 1
    assert f"the one-time token of worker {unique!r} was used at" in second.err
    rejected = api.get("/audit", params={"entity_id": unique, "verb": "enrol", "outcome": "rejected"})["commands"]
    assert len(rejected) == 1
    assert called("worker", "revoke", unique).code == 0
    third = enrolled(running, tmp_path / "one", token)
    assert third.code == 1
    assert f"worker {unique!r} was revoked at" in third.err
    with serving(running, tmp_path / "one") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"worker '{unique}' was revoked" in said
    again = called("worker", "token", "create", unique)
    assert again.code == 1
    assert f"a worker {unique!r} was revoked, and the log knows it by that name: choose another" in again.err


def test_what_a_machine_cannot_be_is_refused_in_words(running: Running, unique: str, tmp_path: Path) -> None:
    """Labels that it is not enrolled with, an identity of another engine, and one that is not whole: all at once."""
    mine, others, begun = (tmp_path / name for name in ("mine", "others", "begun"))
    assert enrolled(running, mine, made(unique, "--label", "site=a")).code == 0
    identity = enrolment.Enrolment(name=unique, url="https://x", secret="x" * 43)
    enrolment.write(begun / enrolment.FILE, identity)
    enrolment.write(others / enrolment.FILE, structs.replace(identity, labels={}))
    with ExitStack() as stack:
        for process, expected in [
            (
                stack.enter_context(serving(running, mine, "--label", "site=b")),
                [f"worker '{unique}' is not enrolled with site=b, but with site=a"],
            ),
            (
                stack.enter_context(serving(running, mine, FLOWS_WORKER_LABELS="site=a,tier=x")),
                [f"worker '{unique}' is not enrolled with tier=x, but with site=a"],
            ),
            (
                stack.enter_context(serving(running, others)),
                [f"NATS does not let worker '{unique}' in", "Ask an administrator"],
            ),
            (stack.enter_context(serving(running, begun)), ["has begun to enrol itself, and not ended"]),
        ]:
            _, said = process.communicate(timeout=30)
            assert process.returncode == 1
            assert all(one in said for one in expected), said


def test_a_wrong_token_enrols_nobody(running: Running, unique: str, tmp_path: Path) -> None:
    token = made(unique)
    cut = enrolled(running, tmp_path / "a", token[:-1])
    assert (cut.code, "was it cut off?" in cut.err) == (1, True)
    wrong = enrolled(running, tmp_path / "b", f"{token[:-4]}AAAA")
    assert (wrong.code, "the one-time token is wrong" in wrong.err) == (1, True)
    assert enrolled(running, tmp_path / "b", token).code == 0, "nothing is half done"
    other = enrolled(running, tmp_path / "b", made(f"{unique}-2"))
    assert other.code == 1
    assert f"worker {unique!r} is enrolled here" in other.err


def test_a_response_that_was_lost_is_asked_for_again(running: Running, unique: str, tmp_path: Path) -> None:
    """The API has enrolled it, and the machine crashed before it knew."""
    token, file = made(unique), tmp_path / enrolment.FILE
    enrolment.write(file, enrolment.Enrolment(name=unique, url=running.url, secret="z" * 43))
    body = {"token": token, "digest": digest_of("z" * 43)}
    assert httpx.post(f"{running.url}/api/v1/workers/enrol", json=body).status_code == 200
    assert enrolled(running, tmp_path, token).code == 0
    assert (found := enrolment.read(file))
    assert (found.secret, found.labels) == ("z" * 43, {})

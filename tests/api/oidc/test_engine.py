"""A running engine with an identity provider: who has signed in is who has done it, and the secret is nowhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest

from tests.api.oidc.provider import CLIENT, SECRET, local_provider
from tests.running import Running

pytestmark = pytest.mark.server


def holding(running: Running, secrets: list[bytes]) -> list[str]:
    """Return the files of an engine, and its processes' command lines and environments, that hold a secret."""
    files = [file for file in running.folder.rglob("*") if file.is_file()]
    files += [Path(f"/proc/{pid}/{what}") for pid in running.tree() for what in ("cmdline", "environ")]
    return [str(file) for file in files if any(secret in file.read_bytes() for secret in secrets)]


async def test_who_signed_in_is_who_did_it_and_the_secret_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "client-secret"
    file.write_text(f"{SECRET}\n")
    async with local_provider() as there:
        for name, value in {
            "ISSUER": there.issuer,
            "CLIENT_ID": CLIENT,
            "CLIENT_SECRET_FILE": str(file),
            "ROLES": "backup-ops=admin",
            "GROUP_CLAIM": "groups",
        }.items():
            monkeypatch.setenv(f"FLOWS_OIDC_{name}", value)
        running = await asyncio.to_thread(Running(tmp_path / "data").start)
        try:
            async with httpx.AsyncClient(base_url=running.url, timeout=30) as browser:
                begun = await browser.get("/api/v1/session/oidc")
                brought = there.authorize(begun.headers["location"])
                assert (await browser.get("/api/v1/session/oidc/callback", params=brought)).status_code == 302
                me = (await browser.get("/api/v1/session")).json()
                assert (me["actor"], me["groups"]) == ("oidc:eve", None)
                proof = {"X-CSRF-Token": me["csrf_token"]}
                made = await browser.post("/api/v1/policies", json={"name": "hers"}, headers=proof)
                assert made.status_code == 201
                audit = (await browser.get("/api/v1/audit", params={"entity_id": made.json()["id"]})).json()
                assert audit["commands"][0]["actor"] == "oidc:eve"
                session = next(iter(browser.cookies.jar)).value or ""
                again = await browser.get("/api/v1/session/oidc/callback", params=brought)
                assert (again.status_code, SECRET in again.text) == (403, False)
            secrets = [SECRET, quote_plus(SECRET), brought["code"], session, me["csrf_token"]]
            assert holding(running, [secret.encode() for secret in secrets]) == []
        finally:
            assert await asyncio.to_thread(running.stop) == 0

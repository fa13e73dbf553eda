"""The API is for this machine alone, unless TLS or a proxy that speaks it stands before others."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import tls
from cli.client import Api
from cli.failures import Failure
from cli.settings import PRIVATE, Settings, as_environment, from_environment
from tests.certificates import Files, certificate
from tests.cli.support import flows
from tests.running import Running
from tests.served import PLENTY, served

NOW = datetime.now(UTC)


class App:
    """Says by which scheme and from where it was asked."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        said = f"{scope['scheme']} {scope['client'][0]}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.1.2.3", "localhost"])
def test_this_machine_needs_no_tls(host: str) -> None:
    tls.check(Settings(host=host), NOW)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "backup.example.org", ""])
def test_others_are_not_served_in_the_clear(host: str, files: Files) -> None:
    with pytest.raises(ValueError, match="without TLS") as refused:
        tls.check(Settings(host=host), NOW)
    assert "--tls-cert FILE --tls-key FILE" in str(refused.value)
    assert "--behind-proxy" in str(refused.value)
    tls.check(Settings(host=host, behind_proxy=True), NOW)
    tls.check(Settings(host=host, tls_cert=files.cert, tls_key=files.key), NOW)


def test_one_file_alone_is_refused(files: Files) -> None:
    with pytest.raises(ValueError, match="name the other one with --tls-key"):
        tls.check(Settings(tls_cert=files.cert), NOW)
    with pytest.raises(ValueError, match="name the other one with --tls-cert"):
        tls.check(Settings(tls_key=files.key), NOW)


def test_files_that_cannot_serve_are_refused_with_what_to_do(files: Files, tmp_path: Path) -> None:
    def refused(cert: Path, key: Path, at: datetime = NOW) -> str:
        with pytest.raises(ValueError) as error:
            tls.check(Settings(tls_cert=cert, tls_key=key), at)
        return str(error.value)

    other = certificate(tmp_path / "other")
    locked = certificate(tmp_path / "locked", password=b"secret")
    noise = tmp_path / "noise"
    noise.write_text("no certificate")
    assert f"cannot read {tmp_path / 'nowhere'}: No such file" in refused(files.cert, tmp_path / "nowhere")
    assert f"the key in {other.key} is not that of the certificate in {files.cert}" in refused(files.cert, other.key)
    assert "do not hold a certificate and its key as PEM" in refused(noise, files.key)
    assert "do not hold a certificate and its key as PEM" in refused(files.cert, noise)
    assert f"the key in {locked.key} is encrypted" in refused(*locked)
    assert "has ended on" in refused(*files, NOW + timedelta(days=2))
    assert "set this machine's clock" in refused(*files, NOW - timedelta(days=2))


def test_settings_come_from_the_environment_and_reach_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        host="0.0.0.0", tls_cert=Path("/c"), tls_key=Path("/k"), behind_proxy=True, proxies=("10.0.0.5", "fd00::/8")
    )
    for name, value in as_environment(given).items():
        monkeypatch.setenv(name, value)
    found = from_environment()
    assert (found.tls_cert, found.tls_key) == (Path("/c"), Path("/k"))
    assert (found.behind_proxy, found.proxies) == (True, ("10.0.0.5", "fd00::/8"))
    assert found.own_url == "https://127.0.0.1:8082"
    for name in ("FLOWS_TLS_CERT", "FLOWS_BEHIND_PROXY", "FLOWS_PROXIES"):
        monkeypatch.delenv(name)
    assert from_environment().own_url == "http://127.0.0.1:8082"
    assert (from_environment().behind_proxy, from_environment().proxies) == (False, PRIVATE)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("FLOWS_BEHIND_PROXY", "yes", "it must be 1, or 0"), ("FLOWS_PROXIES", "proxy.example.org", "does not appear")],
)
def test_what_makes_no_sense_is_named(name: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}.*{why}"):
        from_environment()


@pytest.mark.server
async def test_it_is_served_by_tls_from_12_on(files: Files, tmp_path: Path) -> None:
    server = tls.context(Settings(tls_cert=files.cert, tls_key=files.key))
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2
    async with served(App(), PLENTY, tls_cert=files.cert, tls_key=files.key) as port:
        url = f"https://127.0.0.1:{port}"
        async with httpx.AsyncClient(verify=tls.pinned(files.cert)) as client:
            assert (await client.get(url)).text == "https 127.0.0.1"
        old = tls.pinned(files.cert)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        for trust in (old, tls.trusting(files.cert), tls.pinned(certificate(tmp_path).cert)):
            async with httpx.AsyncClient(verify=trust) as client:
                with pytest.raises(httpx.ConnectError):
                    await client.get(url)


@pytest.mark.server
async def test_a_client_trusts_what_it_is_told_to_and_says_what_to_do(files: Files, tmp_path: Path) -> None:
    named = certificate(tmp_path, "localhost")
    async with served(App(), PLENTY, tls_cert=named.cert, tls_key=named.key) as port:
        url = f"https://localhost:{port}"

        def asked(trust: ssl.SSLContext | None) -> str:
            with Api(url, "token", trust=trust) as api, pytest.raises(Exception) as error:
                api.ready()
            return f"{type(error.value).__name__} {error.value}"

        assert "JSONDecodeError" in await asyncio.to_thread(asked, tls.trusting(named.cert))  # it was reached
        assert "name the one that it has, or that of its authority, with --ca FILE" in await asyncio.to_thread(
            asked, None
        )


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise").write_text("no certificate")
    for trust in (tls.trusting, tls.pinned):
        with pytest.raises(ValueError, match="holds no certificate"):
            trust(tmp_path / "noise")
        with pytest.raises(ValueError, match="cannot read certificates"):
            trust(tmp_path / "nowhere")


@pytest.mark.server
@pytest.mark.parametrize(
    ("settings", "asked", "seen"),
    [
        ({}, {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}, "http 127.0.0.1"),
        ({"behind_proxy": True}, {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}, "https 203.0.113.9"),
        # only what the last proxy has said itself counts: a client may send the rest
        ({"behind_proxy": True}, {"X-Forwarded-For": "1.2.3.4, 203.0.113.9"}, "http 203.0.113.9"),
        ({"behind_proxy": True, "proxies": ("192.0.2.1",)}, {"X-Forwarded-For": "203.0.113.9"}, "http 127.0.0.1"),
    ],
)
async def test_forwarded_headers_count_behind_a_proxy_alone(
    settings: dict[str, Any], asked: dict[str, str], seen: str
) -> None:
    async with served(App(), PLENTY, **settings) as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}", headers=asked)).text == seen


@pytest.mark.server
def test_an_engine_that_would_be_open_to_all_is_not_started(tmp_path: Path) -> None:
    done = flows("up", "--data", str(tmp_path / "data"), "--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("flows: the API would listen on 0.0.0.0 without TLS")
    assert not (tmp_path / "data").exists()
    token = tmp_path / "token"
    token.write_text("token")
    env = {
        "FLOWS_HOST": "0.0.0.0",
        "FLOWS_ADMIN_TOKEN_FILE": str(token),
        "FLOWS_NATS_URL": "nats://127.0.0.1:1",
        "FLOWS_DATABASE_URL": "sqlite+aiosqlite:////nowhere",
    }
    done = flows("serve", "api", env=env)
    assert done.returncode == 1
    assert "the API would listen on 0.0.0.0 without TLS" in done.stderr


@pytest.mark.server
def test_flows_up_by_tls(tmp_path: Path, files: Files) -> None:
    """The readiness of its services, the demo and the commands of this machine all go through it."""
    running = Running(tmp_path / "data", "--tls-cert", str(files.cert), "--tls-key", str(files.key), "--demo").start()
    try:
        listed = flows("list", "--data", str(running.folder))
        assert (listed.returncode, listed.stderr) == (0, "")
        assert "Demo: every minute" in listed.stdout
        secure = f"https://127.0.0.1:{running.port}"
        assert (running.folder / "api-url").read_text() == f"{secure}\n"
        stranger = flows("list", "--url", secure, "--token-file", str(running.folder / "admin-token"))
        assert (stranger.returncode, "--ca FILE" in stranger.stderr) == (6, True)
    finally:
        assert running.stop() == 0


def test_a_context_remembers_whom_to_trust(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli import contexts
    from tests.cli.inside import called

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "token").write_text("token")
    asked = ("--url", "https://one", "--token-file", str(tmp_path / "token"), "--ca", str(files.cert))
    assert called("context", "add", "one", *asked).code == 0
    assert contexts.engine(None, None, None, "one").ca == files.cert
    assert contexts.engine(None, None, None, "one", Path("/other")).ca == Path("/other")
    assert f'"ca":"{files.cert}"' in called("context", "list", "--json").out


def test_a_failure_to_reach_it_is_one_line() -> None:
    with Api("https://127.0.0.1:1", "token") as api, pytest.raises(Failure, match="does not respond"):
        api.ready()

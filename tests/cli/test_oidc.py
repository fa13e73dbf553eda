"""The identity provider is named by the environment, and its secret is in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import parts
from cli.settings import from_environment, own_files

SECRET = "nobody-else-knows"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "client-secret"
    file.write_text(f"{SECRET}\n")
    for name, value in {
        "ISSUER": "https://id.example.org/realms/example",
        "CLIENT_ID": "engine",
        "CLIENT_SECRET_FILE": str(file),
        "ROLES": "backup-admins=admin, cn=ops=operator",
        "ROLE_CLAIM": "realm_access.roles",
        "GROUP_CLAIM": "groups",
    }.items():
        monkeypatch.setenv(f"FLOWS_OIDC_{name}", value)
    monkeypatch.setenv("FLOWS_PUBLIC_URL", "https://backup.example.org")
    return file


def test_without_an_issuer_there_is_none() -> None:
    assert from_environment().oidc is None


def test_a_provider_is_built_from_it(named: Path) -> None:
    settings = from_environment()
    assert settings.oidc is not None
    terms = parts.identity_provider(settings.oidc).terms
    assert terms.issuer == "https://id.example.org/realms/example"
    assert terms.roles == {"backup-admins": "admin", "cn=ops": "operator"}
    assert (terms.role_claim, terms.group_claim) == ("realm_access.roles", "groups")
    assert terms.public_url == "https://backup.example.org"
    assert str(named) in own_files(settings)
    assert SECRET not in f"{settings} {terms}"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("FLOWS_OIDC_ROLES", "backup-admins", "'backup-admins' names no role"),
        ("FLOWS_OIDC_ROLES", "backup-admins=root", "it must be one of viewer, operator, admin"),
        ("FLOWS_OIDC_ROLES", "", "no role is named"),
        ("FLOWS_OIDC_CLIENT_ID", "", "no client id"),
        ("FLOWS_OIDC_ISSUER", "http://id.example.org", "https://"),
        ("FLOWS_OIDC_CLIENT_SECRET_FILE", "/nowhere/secret", "cannot read the client secret from /nowhere/secret"),
    ],
)
def test_what_makes_no_sense_is_named(
    named: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(name, value)

    def built() -> None:
        settings = from_environment()
        assert settings.oidc is not None
        parts.identity_provider(settings.oidc)

    with pytest.raises(ValueError) as refused:
        built()
    assert why in str(refused.value)


def test_an_empty_secret_is_named(named: Path) -> None:
    named.write_text("\n")
    settings = from_environment()
    assert settings.oidc is not None
    with pytest.raises(ValueError, match="is empty"):
        parts.identity_provider(settings.oidc)

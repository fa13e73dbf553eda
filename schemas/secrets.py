"""Secrets are never on the log: a definition with what looks like one is refused. Pure.

A secret is known by the name that it stands under, or by what it looks like, wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from schemas.secret_names import certainty, reference
from schemas.secret_values import secret_in

ADVICE = (
    "reference it instead: `{name}_env` with the name of an environment variable, in capitals, "
    "or `{name}_file` with an absolute path"
)
_FREE = frozenset({"config", "destination_config", "labels", "worker_labels"})  # where people give names of their own
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,254}")
# what may stand under a name that is perhaps a secret's: it says how something is done
_MODES = frozenset(
    """
    none off on no yes true false default basic digest bearer kerberos krb5 ntlm negotiate gssapi ldap ad pam oauth
    oauth2 oidc saml sso iam mtls tls ssl cert certificate anonymous guest required optional disabled enabled auto
    automatic manual internal external public private trust peer ident md5 scram-sha-256 sha256 sha-256 hmac-sha256 rsa
    ed25519 ecdsa login plain xoauth2 persistent single shared hourly nightly daily weekly monthly
    """.split()  # noqa: SIM905  words, one after the other
)


def found(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each field of a definition, spec or patch that holds a secret, with what to do; neither says the secret."""
    yield from _look(msgspec.to_builtins(value), "", None)


def _look(value: Any, path: str, name: str | None) -> Iterator[tuple[str, str]]:
    """Look at what stands at a path, under names that people chose; `name`: those, or None where none are chosen."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if name is not None and secret_in(key):
                yield path, f"one of its names is a secret: {ADVICE.format(name='password')}"
                continue
            chosen = ("" if key in _FREE else None) if name is None else f"{name} {key}"
            yield from _look(inner, f"{path}.{key}" if path else key, chosen)
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _look(inner, f"{path}[{number}]", name)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        advice = _under_name(name or "", value) or _in_text(value)
        if advice is not None:
            yield path, advice


def _under_name(name: str, value: str | float) -> str | None:
    """Return what to do about a value that is a secret by its name."""
    last = name.rpartition(" ")[2]
    match reference(name):
        case "env":
            if not (isinstance(value, str) and _VARIABLE.fullmatch(value)):
                return f"{last!r} must be the name of an environment variable: capitals, digits and `_`"
        case "file":
            if not (isinstance(value, str) and value.startswith("/")):
                return f"{last!r} must be the absolute path of a file, as the worker sees it"
        case _:
            how = certainty(name, value)
            if how == "certain" or (how == "likely" and str(value).casefold() not in _MODES):
                return f"{last!r} looks like a secret: {ADVICE.format(name=last)}"
    return None


def _in_text(value: str | float) -> str | None:
    """Return what to do about a text with a secret in it."""
    what = secret_in(value) if isinstance(value, str) else None
    return None if what is None else f"{what}: {ADVICE.format(name='password')}"

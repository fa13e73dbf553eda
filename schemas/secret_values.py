"""What secrets look like, wherever they stand: keys and tokens, addresses with a password, `password=…`. Pure.

Time is linear in the size of a text: each pattern is bounded, or begins where a word does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.secret_names import certainty

_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"flows_(?=[a-z_-]{0,43}[0-9A-Z])[0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])"  # our own (schemas/tokens.py)
    r"|-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|SEED|SECRET|JWT)"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"  # Amazon
    r"|AIza[0-9A-Za-z_-]{35}|GOCSPX-[0-9A-Za-z_-]{20}|ya29\.[0-9A-Za-z_-]{20}"  # Google
    r"|gh[pousr]_[0-9A-Za-z]{30}|github_pat_[0-9A-Za-z_]{20}|glpat-[0-9A-Za-z_-]{20}"
    r"|xox[abeprs]-[0-9A-Za-z-]{10}|hooks\.slack\.com/services/\w|discord(?:app)?\.com/api/webhooks/\d"
    r"|[sr]k_(?:live|test)_[0-9A-Za-z]{16}|sk-[0-9A-Za-z_-]{20}|SG\.[0-9A-Za-z_-]{16}\.|npm_[0-9A-Za-z]{30}"
    r"|pypi-[0-9A-Za-z_-]{40}|do[opr]_v1_[0-9a-f]{40}|hv[sb]\.[0-9A-Za-z_-]{20}|AGE-SECRET-KEY-1"
    r"|S[AUONCX][A-Z2-7]{56}(?![0-9A-Za-z])"  # seeds of NATS's keys
    r"|eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\."  # JWT
    r"|[Bb]earer\s{1,3}(?=\S{0,64}\d)[0-9A-Za-z._~+/=-]{8}"
    r"|[Bb]asic\s{1,3}(?=\S{0,64}[\d=])[0-9A-Za-z+/]{8}[0-9A-Za-z+/=]{4}"
    r")"
)
_AUTHORITY = re.compile(r"(?:(?<![0-9A-Za-z+.-])([A-Za-z][0-9A-Za-z+.-]{0,30}):)?//([^\s/?#]*)@")
_PASSWORD_WITH_A_SLASH = re.compile(r"//[^\s@:/\[]{1,128}:(?!\d{1,5}(?:[/?#\s]|$))[^\s@]{1,256}@")
_GO_ADDRESS = re.compile(r"(?<![^\s\"'=])[^\s:@/]{1,64}:[^\s@/]{1,128}@(?:tcp|udp|unix)\(")
# of addresses whose user is an account, which has its password elsewhere; in others a user alone is a key
_ACCOUNTS = re.compile(
    r"(?:(?:git|svn|qemu)\+)?ssh|sftp|scp|rsync|git|ftps?|smb|cifs|nfs|ldaps?|imaps?|smtps?|sip"
    r"|(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|mongodb)(?:\+\w+)?",
    re.IGNORECASE,
)
_ASSIGNMENT = re.compile(  # the value is looked at, and not passed: it may hold further ones
    r"(?<![\w.-])([\w.-]{2,64})([\"']?)[ \t]{0,2}([=:])[ \t]{0,2}([\"']?)(?=([^\s;&,\"'<>()]{1,200}))"
)
_OPTION = re.compile(r"(?<!\S)--?([A-Za-z][\w-]{1,62})[ =]{1,2}([^\s-]\S{0,200})")
_PLACEHOLDER = re.compile(r"//|[$<{%*\[…]|\d{4}-\d\d-\d\d|(?:x{3,}|null|none)$", re.IGNORECASE)


def secret_in(text: str) -> str | None:
    """Return what kind of secret a text holds, if any."""
    if _TOKEN.search(text):
        return "a key or token"
    if "@" in text and (_PASSWORD_WITH_A_SLASH.search(text) or _GO_ADDRESS.search(text) or any(_users(text))):
        return "an address with a user's secret in it"
    if any(_assignments(text)):
        return "a text with a secret in it"
    return None


def _users(text: str) -> Iterator[bool]:
    """Tell of each address with a user whether that is a secret, or comes with one."""
    for scheme, user in _AUTHORITY.findall(text):
        _, colon, password = user.lower().replace("%3a", ":").partition(":")
        yield bool(password) or bool(user and not colon and scheme and not _ACCOUNTS.fullmatch(scheme))


def _assignments(text: str) -> Iterator[bool]:
    """Tell of each `name=value`, `"name": value` and `--name value` whether the value is a secret."""
    for name, closed, sign, opened, value in _ASSIGNMENT.findall(text):
        yield _is_secret(name, value, certain=sign == "=" or bool(closed or opened))
    for name, value in _OPTION.findall(text):
        yield _is_secret(name, value, certain=True)


def _is_secret(name: str, value: str, *, certain: bool) -> bool:
    """Tell whether a value in a text is a secret. What is not `certain` may be prose: `password: see below`."""
    how = certainty(name, value)
    if how is None or _PLACEHOLDER.match(value):
        return False
    numbered = any(letter.isdigit() for letter in value)
    if how == "likely":
        return certain and numbered and len(value) >= 16
    return certain or (numbered and len(value) >= 6)

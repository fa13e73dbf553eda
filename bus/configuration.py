"""The users of `bus/identities.py` as nats-server's configuration has them, for the embedded one and for others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from bus import identities
from bus.identities import ISSUER, SYSTEM, Permissions

# how long after a request a reply to it is permitted
_REPLIES = 'allow_responses: { max: 1, expires: "1h" }'


def authorization(users: Mapping[str, tuple[str, Permissions]], *, system: str = "", issuer: str = "") -> str:
    """Return the block with users: by name their password, as it is to be written, and permissions.

    About everybody else the servers ask who is known by `issuer`, a public key. `system`: the password of who closes
    connections. Without these two there is nobody else.
    """
    blocks = "".join(_user(name, password, permissions) for name, (password, permissions) in users.items())
    if not issuer:
        return f"authorization {{\n  users: [\n{blocks}  ]\n}}\n"
    return (
        f"authorization {{\n  users: [\n{blocks}  ]\n"
        "  # who is none of these may be an enrolled worker: the part `setup` knows\n"
        f"  auth_callout {{\n    issuer: {issuer}\n    auth_users: {json.dumps([*users, SYSTEM])}\n  }}\n}}\n"
        "\n# closes connections of workers that are revoked\n"
        f'accounts {{\n  "$SYS" {{ users: [\n{_user(SYSTEM, system, identities.closing())}  ] }}\n}}\n'
    )


def _user(name: str, password: str, permissions: Permissions) -> str:
    publish = _list("allow", permissions.publish) if permissions.publish else _list("deny", (">",))
    if permissions.publish_never:
        publish += _list("deny", permissions.publish_never)
    replies = f"        {_REPLIES}\n" if permissions.replies else ""
    return (
        f"    {{\n      user: {name}\n      password: {password}\n      permissions: {{\n"
        f"        publish: {{\n{publish}        }}\n"
        f"        subscribe: {{\n{_list('allow', permissions.subscribe)}        }}\n"
        f"{replies}      }}\n    }}\n"
    )


def _list(name: str, subjects: Iterable[str]) -> str:
    lines = "".join(f"            {json.dumps(subject)}\n" for subject in subjects)
    return f"          {name}: [\n{lines}          ]\n"


def everybody(passwords: Mapping[str, str]) -> dict[str, tuple[str, Permissions]]:
    """Return all users, by name, with their passwords as they are to be written."""
    return {user: (passwords[user], identities.permissions(user)) for user in identities.USERS}


def nats_conf(*, restoring: bool = False) -> str:
    """Return `nats.conf`, the configuration of a server of a distributed set-up.

    `restoring`: while a log is filled from its second copy.
    """
    written = {user: f"$PASSWORD_{user.upper()}" for user in identities.USERS}
    if restoring:
        users = {user: (written[user], identities.restoring(user)) for user in identities.USERS}
        return _NATS_CONF + "\n" + authorization(users)
    system, issuer = f"$PASSWORD_{SYSTEM.upper()}", f"${ISSUER.upper()}"
    return _NATS_CONF + "\n" + authorization(everybody(written), system=system, issuer=issuer)


def nats_passwords(passwords: Mapping[str, str], issuer: str | None) -> str:
    """Return the file `nats-passwords`, which `nats.conf` includes. `issuer`: the public key; None: while restoring."""
    lines = (f"PASSWORD_{user.upper()}: {json.dumps(password)}\n" for user, password in passwords.items())
    return "".join((*lines, *([] if issuer is None else [f"{ISSUER.upper()}: {json.dumps(issuer)}\n"])))


_NATS_CONF = """\
# The log's server for distributed set-ups (`nats-server -c nats.conf`); `flows up` brings its own.
# Written by `make docs` from bus/identities.py, where the users' permissions are explained.
#
# FLOWS_NATS_STORE: the folder of the store. FLOWS_NATS_CERTIFICATE, FLOWS_NATS_KEY: files with the server's
# certificate, which must name the host that is in FLOWS_NATS_URL, and its private key (docs/nats-server.md).
server_name: flows
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
max_payload: 8MB

jetstream {
  store_dir: $FLOWS_NATS_STORE
  # one fsync for each atomic batch: what is acknowledged survives a power failure
  sync_interval: always
}

tls {
  cert_file: $FLOWS_NATS_CERTIFICATE
  key_file: $FLOWS_NATS_KEY
}

# a line for each user: `flows nats-config` makes it, and the files with passwords that the parts read
include "nats-passwords"
"""

"""The users of `bus/identities.py` as nats-server's configuration has them, for the embedded one and for others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from bus import identities
from bus.identities import Permissions

# how long after a request a reply to it is permitted
_REPLIES = 'allow_responses: { max: 1, expires: "1h" }'


def authorization(users: Mapping[str, tuple[str, Permissions]]) -> str:
    """Return the block with users: by name their password, as it is to be written, and permissions."""
    blocks = (_user(name, password, permissions) for name, (password, permissions) in users.items())
    return "authorization {\n  users: [\n" + "".join(blocks) + "  ]\n}\n"


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

"""The users of NATS, one for each part, and what each may do: an allow-list. Pure.

Replicas of a part share its user, and with it its inbox. What a user may append follows from the table of messages: a
type that nobody is named for stops the import.

A permission is a subject, and a wildcard in it a whole token. So whoever follows the log may create consumers of any
name but those of `QUEUES`, and the queue of a pool of workers, which has a name of its own, is protected by two things
only: workers alone can acknowledge, and the set-up puts its settings right. The server also sends its replies wherever
a request says: that is why nobody may ask it to send a stored message as it is (`DIRECT.GET`), which would be appended.
"""

from __future__ import annotations

from collections.abc import Mapping

from bus.subjects import STREAM, STREAM_SUBJECTS, TABLE, matches
from schemas import commands as c
from schemas import events as e
from schemas.base import Message, Value, tag_of
from schemas.labels import pools_of
from schemas.workers import user_of

BUCKET_STREAM = "KV_FLOWS_CHECKPOINTS"
KEYS = "$KV.FLOWS_CHECKPOINTS"
POOLS = "pools"  # the key of what the set-up publishes for workers
INSPECTION = "worker.inspect"  # a question to all workers, beside the log
TRIAL = "notifier.test"  # a question to one notifier, beside the log
CONNECTIONS = "$SYS.REQ.SERVER.PING.CONNZ"  # a question to all servers, in the system account
CLOSE = "$SYS.REQ.SERVER.{server}.KICK"
REPLAYED = "replay"  # what subjects begin with that `flows replay` publishes to
AUTHENTICATION = "$SYS.REQ.USER.AUTH"  # a server's question to one set-up: who somebody is
LIVE = "flow.*"  # what the stream republishes: nobody may publish there

USERS = (
    *("setup", "api", "registry", "scheduler", "executor", "worker", "recorder", "notifier"),
    *("tracer", "operator", "subscriber"),
)
OPERATOR, SUBSCRIBER = "operator", "subscriber"
QUEUES = ("worker",)  # durable consumers that followers may not touch
POOL_QUEUE = "worker-"  # what the names of the queues of pools begin with
SYSTEM = "system"  # closes connections: a user of the system account, which has no part in the log
ISSUER = "issuer"  # no user: a file with a seed, by which the set-up vouches for enrolled workers
FOLLOWING = 32  # consumers of its own that an enrolled worker may have at once, what a crash left included

# Who appends what, by type; else by family.
_BY_FAMILY = {"command": ("api",), "catalog": ("registry",), "notification": ("notifier",)}
_BY_TYPE: dict[type[Message], tuple[str, ...]] = {
    c.PruneHistory: ("scheduler", "operator"),
    c.UpdateSettings: ("api", "setup"),  # the environment's values
    e.FlowDue: ("scheduler",),
    e.FlowMissed: ("scheduler",),
    e.FlowOverdue: ("scheduler",),
    e.FlowBuffered: ("executor",),
    e.FlowStarted: ("executor",),
    e.FlowPlanned: ("executor",),
    e.FlowSkipped: ("executor",),
    e.FlowCancelling: ("executor",),
    e.FlowCompleted: ("executor",),
    e.FlowBackfilling: ("executor",),
    e.FlowBackfillCancelled: ("executor",),
    e.BackupRequested: ("executor",),
    e.BackupSkipped: ("executor",),
    e.BackupAbandoned: ("executor", "operator"),
    e.BackupOrphaned: ("worker",),
    e.BackupStarted: ("worker",),
    e.BackupProgressed: ("worker",),
    e.BackupRetrying: ("worker",),
    e.BackupCompleted: ("worker",),
    e.BackupFailed: ("executor", "worker"),
    e.BackupCancelled: ("executor", "worker"),
    e.DeadSettled: ("operator",),
}
_SETS_ASIDE = ("registry", "scheduler", "executor", "recorder", "notifier")  # appends dead letters of its own
_FOLLOWS = (*_SETS_ASIDE, "setup", "api", "worker", "tracer", "operator")
_LIVES = tuple(user for user in USERS if user not in {OPERATOR, SUBSCRIBER})  # gives heartbeats
_CHECKPOINTS = ("registry", "scheduler", "executor", "notifier", "tracer")


class Permissions(Value, frozen=True, kw_only=True):
    """Which subjects a user may publish and subscribe to. `replies`: it may reply to what it received."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    publish_never: tuple[str, ...] = ()
    replies: bool = False


UNRESTRICTED = Permissions(publish=(">",), subscribe=(">",))


def authors(message: type[Message]) -> tuple[str, ...]:
    """Return the users that may append a type of message. Raises `LookupError` when nobody is named for it."""
    if message in _BY_TYPE:
        return _BY_TYPE[message]
    if message is e.Rejected:
        return ("registry", "executor")
    if message is e.DeadLettered:
        return _SETS_ASIDE
    return _BY_FAMILY[TABLE[tag_of(message)].subject.split(".")[0]]


def appends(user: str) -> tuple[str, ...]:
    """Return the subjects on the log that a user appends to."""
    return tuple(
        subject
        for row in TABLE.values()
        if user in authors(row.message)
        for subject in _subjects(user, row.message, row.subject)
    )


def author_of(subject: str) -> str | None:
    """Return a user that may append to a subject, None when there is none."""
    return next((user for user in USERS if any(matches(mine, subject) for mine in appends(user))), None)


def _subjects(user: str, message: type[Message], template: str) -> list[str]:
    if message is e.Rejected:
        definitions = user == "registry"
        mine = [one for one in c.COMMANDS if (one in c.DEFINITION_COMMANDS) == definitions]
        return [tag_of(one).replace("command", "rejected", 1) for one in mine]
    if message is e.DeadLettered:
        return [f"dead.{user}.*"]
    family, event, *_ = template.split(".")
    if family == "backup":  # with the VM or the pool at its end, or without
        return [f"backup.{event}.>"]
    return [".".join("*" if "{" in token else token for token in template.split("."))]


def permissions(user: str) -> Permissions:
    """Return what a user may do."""
    publish = [*appends(user)]
    never: list[str] = []
    inbox = f"_INBOX.{user}.>"
    if user in _FOLLOWS:
        publish += _READING
        spared = {"setup": _ON_CONSUMERS, "worker": (_TAKING,)}.get(user, ())
        never += [f"{verb}.{queue}" for queue in QUEUES for verb in _ON_CONSUMERS if verb not in spared]
    if user in _LIVES:
        publish.append(f"{KEYS}.service.{user}.>")
    if user in _CHECKPOINTS:
        publish += [f"{KEYS}.{user}", f"{KEYS}.{user}.part.*"]
    match user:
        case "setup":
            publish += (*_SETTING_UP, f"{KEYS}.{POOLS}")
            return Permissions(
                publish=tuple(publish), publish_never=tuple(never), subscribe=(inbox, AUTHENTICATION), replies=True
            )
        case "api":
            publish += [INSPECTION, TRIAL, f"{KEYS}.token.>"]  # when tokens were last used
        case "worker":
            publish += [f"{KEYS}.worker.>", f"$JS.ACK.{STREAM}.*.>"]
            return Permissions(
                publish=tuple(publish), publish_never=tuple(never), subscribe=(inbox, INSPECTION), replies=True
            )
        case "notifier":
            return Permissions(
                publish=tuple(publish), publish_never=tuple(never), subscribe=(inbox, TRIAL), replies=True
            )
        case "scheduler":
            publish.append(f"{KEYS}.clock.>")
        case "tracer":
            publish.append(f"{KEYS}.tracer_exported")
        case "operator":
            publish.append(f"{REPLAYED}.>")
        case "subscriber":
            return Permissions(publish=(), subscribe=(inbox, LIVE, f"{REPLAYED}.>"))
        case _:
            pass
    return Permissions(publish=tuple(publish), publish_never=tuple(never), subscribe=(inbox,))


def consumers_of(worker: str) -> tuple[str, ...]:
    """Return the names that the consumers of an enrolled worker may have, by which it follows the log."""
    return tuple(f"follower-{worker}-{number}" for number in range(FOLLOWING))


def enrolled(worker: str, labels: Mapping[str, str]) -> Permissions:
    """Return what an enrolled worker may do: take from the queues that its labels are enough for, and no others.

    It follows by consumers whose names are its own, and publishes its status under its own keys.
    """
    queues = (*QUEUES, *(f"{POOL_QUEUE}{pool}" for pool in pools_of(labels)))
    publish = (
        *appends("worker"),
        *_ASKING,
        *(f"{verb}.{consumer}" for verb in _ON_CONSUMERS for consumer in consumers_of(worker)),
        *(f"{_TAKING}.{queue}" for queue in queues),
        *(f"$JS.ACK.{STREAM}.{queue}.>" for queue in queues),
        *(f"{KEYS}.{kind}.{worker}.>" for kind in ("worker", "service.worker")),
    )
    return Permissions(publish=publish, subscribe=(f"_INBOX.{user_of(worker)}.>", INSPECTION), replies=True)


def revoked(worker: str) -> Permissions:
    """Return what a revoked worker may do: nothing, and find that out by itself."""
    return Permissions(publish=(), subscribe=(f"_INBOX.{user_of(worker)}.>",))


def closing() -> Permissions:
    """Return what `SYSTEM` may do: find connections, and close them."""
    return Permissions(publish=(CONNECTIONS, CLOSE.format(server="*")), subscribe=(f"_INBOX.{SYSTEM}.>",))


def reading() -> Permissions:
    """Return what the operator may do while nothing may be appended."""
    return Permissions(publish=_READING, subscribe=(f"_INBOX.{OPERATOR}.>",))


def restoring(user: str) -> Permissions:
    """Return what a user may do while a log is filled from its second copy: the operator appends everything."""
    if user == "setup":
        return permissions(user)
    publish = (*_READING, *STREAM_SUBJECTS) if user == OPERATOR else ()
    return Permissions(publish=publish, subscribe=(f"_INBOX.{user}.>",))


_TAKING = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}"
_ON_CONSUMERS = (*(f"$JS.API.CONSUMER.{verb}.{STREAM}" for verb in ("CREATE", "DELETE")), _TAKING)
_ASKING = (
    *(f"$JS.API.STREAM.{verb}.{stream}" for stream in (STREAM, BUCKET_STREAM) for verb in ("INFO", "MSG.GET")),
    f"$JS.API.CONSUMER.INFO.{STREAM}.*",
)
_READING = (
    *_ASKING,
    *(f"{verb}.*" for verb in _ON_CONSUMERS),
    f"$JS.FC.{STREAM}.>",  # flow control of what the server pushes
)
_SETTING_UP = (
    *(f"$JS.API.STREAM.{verb}.{stream}" for stream in (STREAM, BUCKET_STREAM) for verb in ("CREATE", "UPDATE")),
    f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.*",
    f"$JS.API.CONSUMER.LIST.{STREAM}",
)

for _row in TABLE.values():
    authors(_row.message)

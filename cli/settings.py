"""Settings come from the environment, and are read here alone."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from schemas.base import Value
from schemas.definitions import SettingsPatch

# systemd's, for one process alone: empty for those that it starts
NOBODY = {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "", "WATCHDOG_PID": ""}
# of the engine's settings, which are on the log: these seed them
VARIABLES = {"max_concurrent_jobs": "FLOWS_MAX_CONCURRENT_JOBS", "keep_days": "FLOWS_KEEP_DAYS"}


class Watchdog(Value, frozen=True, kw_only=True):
    """What a supervisor expects: signs of life at the socket `address`, every few of `seconds` (None: no limit)."""

    address: str = ""
    seconds: float | None = None


class Settings(Value, frozen=True, kw_only=True):
    """Where the parts find each other. `admin_token_file` holds the token that the API expects.

    `seeds`: what the environment says of the engine's own settings, which are on the log. `instance`: what a supervisor
    calls this process, also after a restart; `restarts`: how often it did that in the last ten minutes.
    """

    nats_url: str = "nats://127.0.0.1:4222"
    database_url: str = ""
    admin_token_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8082
    worker_slots: int = 4
    seeds: dict[str, int] = {}
    replicas: int | None = None
    placement_tags: tuple[str, ...] = ()
    instance: str | None = None
    restarts: int = 0
    watchdog: Watchdog = Watchdog()


def from_environment() -> Settings:
    """Return the settings of this process. Raises `ValueError` that names the variable at fault."""
    token_file = os.environ.get("FLOWS_ADMIN_TOKEN_FILE")
    return Settings(
        nats_url=os.environ.get("FLOWS_NATS_URL", "nats://127.0.0.1:4222"),
        database_url=os.environ.get("FLOWS_DATABASE_URL", ""),
        admin_token_file=Path(token_file) if token_file else None,
        host=os.environ.get("FLOWS_HOST", "127.0.0.1"),
        port=_number("FLOWS_PORT", 8082) or 8082,
        worker_slots=_number("FLOWS_WORKER_SLOTS", 4) or 4,
        seeds={name: value for name, variable in VARIABLES.items() if (value := _seed(name, variable)) is not None},
        replicas=_number("FLOWS_REPLICAS", None),
        placement_tags=tuple(os.environ.get("FLOWS_PLACEMENT_TAGS", "").replace(",", " ").split()),
        instance=os.environ.get("FLOWS_INSTANCE") or None,
        restarts=_number("FLOWS_RESTARTS", None) or 0,
        watchdog=_watchdog(),
    )


def as_environment_of_child(instance: str, restarts: int, watchdog: dict[str, str]) -> dict[str, str]:
    """Return the variables that tell a child what its supervisor calls it, knows of it, and expects of it."""
    return {"FLOWS_INSTANCE": instance, "FLOWS_RESTARTS": str(restarts) if restarts else "", **NOBODY, **watchdog}


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process of this machine the same settings."""
    return {
        "FLOWS_NATS_URL": settings.nats_url,
        "FLOWS_DATABASE_URL": settings.database_url,
        "FLOWS_ADMIN_TOKEN_FILE": str(settings.admin_token_file),
        "FLOWS_HOST": settings.host,
        "FLOWS_PORT": str(settings.port),
        "FLOWS_WORKER_SLOTS": str(settings.worker_slots),
    }


def _watchdog() -> Watchdog:
    """Return what the process that has started this one expects, if it expects anything."""
    limit, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    meant = limit.isdigit() and process in {"", str(os.getpid())}
    return Watchdog(address=os.environ.get("NOTIFY_SOCKET", ""), seconds=int(limit) / 1e6 if meant else None)


def _seed(name: str, variable: str) -> int | None:
    value = _number(variable, None)
    try:
        msgspec.convert({name: value}, SettingsPatch)
    except msgspec.ValidationError as error:
        raise ValueError(f"{variable} is {value}: {str(error).partition(' - at ')[0]}") from None
    return value


def _number(name: str, default: int | None) -> int | None:
    text = os.environ.get(name)
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}; it must be a whole number from 1")
    return int(text)

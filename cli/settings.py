"""Settings come from the environment, and are read here alone."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from cli.enrolment import FILE
from schemas.base import Value
from schemas.definitions import SettingsPatch
from schemas.labels import canonical, parsed

# systemd's, for one process alone: empty for those that it starts
NOBODY = {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "", "WATCHDOG_PID": ""}
# of the engine's settings, which are on the log: these seed them
VARIABLES = {
    "max_concurrent_jobs": "FLOWS_MAX_CONCURRENT_JOBS",
    "keep_days": "FLOWS_KEEP_DAYS",
    "disk_roots": "FLOWS_DISK_ROOTS",
    "repository_roots": "FLOWS_REPOSITORY_ROOTS",
}
ROOTS = ("disk_roots", "repository_roots")

DEFAULT_NATS_URL = "nats://127.0.0.1:4222"
ENROLMENT = "FLOWS_WORKER_ENROLMENT"  # a file; `none`: the worker is not enrolled

PROXIES = "FLOWS_PROXIES"  # addresses and networks of proxies
# those whose forwarded headers are believed behind a proxy when it says nothing: this machine and private networks
PRIVATE = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")

Seed = int | list[str]


class Watchdog(Value, frozen=True, kw_only=True):
    """What a supervisor expects: signs of life at the socket `address`, every few of `seconds` (None: no limit)."""

    address: str = ""
    seconds: float | None = None


class Oidc(Value, frozen=True, kw_only=True):
    """By whose word people may sign in, and what it means here (`api.oidc.terms.Terms`)."""

    issuer: str
    client_id: str
    client_secret_file: Path | None
    role_claim: str
    roles: Mapping[str, str]
    group_claim: str | None
    public_url: str | None


class Settings(Value, frozen=True, kw_only=True):
    """Where the parts find each other. `admin_token_file` holds the token that the API expects.

    `alive_file`: touched every few seconds while the process lives, for health checks of containers.

    `data_folder`: the engine's own, of `flows up`; nothing in it is backed up, and no backup goes there.
    `state_folder`: a worker's own, for what it cannot report yet; without one, that is in the data folder.
    `enrolment_file`: the worker's own identity, if it has one; `enrolment`: its name, when it is that.
    `webhook_allow`: networks and hosts that notifications may go to although they are not public; `public_url`: where
    people reach the API, for links in them. `workers_nats_url`: where workers on other machines reach NATS, which they
    are told when they are enrolled.
    `seeds`: what the environment says of the engine's own settings, which are on the log. `instance`: what a supervisor
    calls this process, also after a restart; `restarts`: how often it did that in the last ten minutes. `tracing`:
    there is something that takes spans, whose address OpenTelemetry's own variables have.
    `tls_cert`, `tls_key`: what the API is served with. `behind_proxy`: a proxy speaks TLS instead, and those at the
    addresses and networks of `proxies` are believed who their client is.
    """

    nats_url: str = DEFAULT_NATS_URL
    database_url: str = ""
    admin_token_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8082
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    proxies: tuple[str, ...] = PRIVATE
    worker_slots: int = 4
    worker_labels: Mapping[str, str] = {}
    data_folder: Path | None = None
    state_folder: Path | None = None
    enrolment_file: Path | None = None
    enrolment: str | None = None
    seeds: Mapping[str, Seed] = {}
    replicas: int | None = None
    placement_tags: tuple[str, ...] = ()
    webhook_allow: str = ""
    public_url: str = ""
    workers_nats_url: str = ""
    instance: str | None = None
    restarts: int = 0
    watchdog: Watchdog = Watchdog()
    alive_file: Path | None = None
    oidc: Oidc | None = None
    tracing: bool = False

    @property
    def outbox(self) -> Path | None:
        """The folder of what a worker cannot report yet; None when nothing outlives the process."""
        folder = self.state_folder or self.data_folder
        return None if folder is None else folder / "outbox"

    @property
    def own_host(self) -> str:
        """Where this machine reaches the API."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def own_url(self) -> str:
        """The address of the API from this machine."""
        host = f"[{self.own_host}]" if ":" in self.own_host else self.own_host
        return f"{'http' if self.tls_cert is None else 'https'}://{host}:{self.port}"


def from_environment() -> Settings:
    """Return the settings of this process. Raises `ValueError` that names the variable at fault."""
    data_folder = os.environ.get("FLOWS_DATA_DIR")
    state_folder = os.environ.get("FLOWS_STATE_DIR")
    return Settings(
        nats_url=nats_url(os.environ.get("FLOWS_NATS_URL") or DEFAULT_NATS_URL),
        database_url=database_url(),
        admin_token_file=_file("FLOWS_ADMIN_TOKEN_FILE"),
        host=os.environ.get("FLOWS_HOST", "127.0.0.1"),
        port=_number("FLOWS_PORT", 8082) or 8082,
        tls_cert=_file("FLOWS_TLS_CERT"),
        tls_key=_file("FLOWS_TLS_KEY"),
        behind_proxy=_yes("FLOWS_BEHIND_PROXY"),
        proxies=networks(PROXIES),
        worker_slots=_number("FLOWS_WORKER_SLOTS", 4) or 4,
        worker_labels=_labels("FLOWS_WORKER_LABELS"),
        data_folder=Path(data_folder).resolve() if data_folder else None,
        state_folder=Path(state_folder).resolve() if state_folder else None,
        enrolment_file=_enrolment_file(state_folder),
        seeds={name: value for name, variable in VARIABLES.items() if (value := _seed(name, variable)) is not None},
        replicas=_number("FLOWS_REPLICAS", None),
        placement_tags=tuple(os.environ.get("FLOWS_PLACEMENT_TAGS", "").replace(",", " ").split()),
        webhook_allow=os.environ.get("FLOWS_WEBHOOK_ALLOW", ""),
        public_url=os.environ.get("FLOWS_PUBLIC_URL", "").rstrip("/"),
        workers_nats_url=os.environ.get("FLOWS_WORKERS_NATS_URL", ""),
        instance=os.environ.get("FLOWS_INSTANCE") or None,
        restarts=_number("FLOWS_RESTARTS", None) or 0,
        watchdog=watchdog(),
        alive_file=_file("FLOWS_ALIVE_FILE"),
        oidc=_oidc(),
        tracing=tracing(),
    )


def database_url() -> str:
    """Return the address of the tables, empty when it is not set; with the password, when a file holds that.

    Raises `ValueError`.
    """
    url, file = os.environ.get("FLOWS_DATABASE_URL", ""), os.environ.get("FLOWS_DATABASE_PASSWORD_FILE", "")
    if not (url and file):
        return url
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, _, host = place.rpartition("@")
    if not user or ":" in user or scheme.startswith("sqlite"):
        raise ValueError(
            "FLOWS_DATABASE_PASSWORD_FILE is set: FLOWS_DATABASE_URL must then name a user, and no password, such as "
            "postgresql+psycopg://flows_recorder@host/flows"
        )
    try:
        password = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"FLOWS_DATABASE_PASSWORD_FILE: cannot read {file}: {reason}") from error
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}{slash}{path}"


def tracing() -> bool:
    """Tell whether OpenTelemetry's variables say where spans are sent."""
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", "TRACES_ENDPOINT"))


def nats_url(url: str) -> str:
    """Return an address of NATS with what the environment says about passwords and the CA."""
    from bus.address import with_files  # not for supervisors, which live as long as the engine

    return with_files(url, credentials=os.environ.get("FLOWS_NATS_CREDENTIALS"), ca=os.environ.get("FLOWS_NATS_CA"))


def as_environment_of_child(instance: str, restarts: int, watchdog: dict[str, str]) -> dict[str, str]:
    """Return the variables that tell a child what its supervisor calls it, knows of it, and expects of it."""
    return {"FLOWS_INSTANCE": instance, "FLOWS_RESTARTS": str(restarts) if restarts else "", **NOBODY, **watchdog}


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process of this machine the same settings."""
    return {
        "FLOWS_NATS_URL": settings.nats_url,
        "FLOWS_DATABASE_URL": settings.database_url,
        "FLOWS_DATABASE_PASSWORD_FILE": "",
        "FLOWS_ADMIN_TOKEN_FILE": str(settings.admin_token_file),
        "FLOWS_HOST": settings.host,
        "FLOWS_PORT": str(settings.port),
        "FLOWS_TLS_CERT": str(settings.tls_cert or ""),
        "FLOWS_TLS_KEY": str(settings.tls_key or ""),
        "FLOWS_BEHIND_PROXY": "1" if settings.behind_proxy else "",
        PROXIES: ",".join(settings.proxies),
        "FLOWS_WORKER_SLOTS": str(settings.worker_slots),
        "FLOWS_WORKER_LABELS": canonical(settings.worker_labels),
        "FLOWS_DATA_DIR": str(settings.data_folder),
        ENROLMENT: "none",
        **{
            VARIABLES[name]: ":".join(value) if isinstance(value, list) else str(value)
            for name, value in settings.seeds.items()
        },
    }


def own_files(settings: Settings) -> list[str]:
    """Return the folders and files of the engine that this process knows of: nobody's disk, and no repository."""
    secret = settings.oidc and settings.oidc.client_secret_file
    files = (settings.data_folder, settings.state_folder, settings.admin_token_file, settings.tls_key, secret)
    files = (*files, settings.enrolment_file)
    own = [str(file) for file in files if file is not None]
    scheme, _, database = settings.database_url.partition(":///")
    if scheme.startswith("sqlite") and database:
        own += [f"{database}{suffix}" for suffix in ("", "-wal", "-shm")]
    return own


def watchdog() -> Watchdog:
    """Return what the process that has started this one expects, if it expects anything."""
    limit, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    meant = limit.isdigit() and process in {"", str(os.getpid())}
    return Watchdog(address=os.environ.get("NOTIFY_SOCKET", ""), seconds=int(limit) / 1e6 if meant else None)


def _oidc() -> Oidc | None:
    issuer = os.environ.get("FLOWS_OIDC_ISSUER")
    if not issuer:
        return None
    roles: dict[str, str] = {}
    for one in filter(None, (part.strip() for part in os.environ.get("FLOWS_OIDC_ROLES", "").split(","))):
        theirs, given, ours = one.rpartition("=")
        if not (given and theirs):
            raise ValueError(
                f"FLOWS_OIDC_ROLES: {one!r} names no role: it is like backup-admins=admin,backup-ops=operator"
            )
        roles[theirs] = ours
    return Oidc(
        issuer=issuer,
        client_id=os.environ.get("FLOWS_OIDC_CLIENT_ID", ""),
        client_secret_file=_file("FLOWS_OIDC_CLIENT_SECRET_FILE"),
        role_claim=os.environ.get("FLOWS_OIDC_ROLE_CLAIM") or "roles",
        roles=roles,
        group_claim=os.environ.get("FLOWS_OIDC_GROUP_CLAIM") or None,
        public_url=os.environ.get("FLOWS_PUBLIC_URL") or None,
    )


def _seed(name: str, variable: str) -> Seed | None:
    """Return a variable's value; folders have a colon between them, as on PATH."""
    value = _folders(variable) if name in ROOTS else _number(variable, None)
    if value is None:
        return None
    try:
        msgspec.convert({name: value}, SettingsPatch)
    except msgspec.ValidationError as error:
        raise ValueError(f"{variable} is {value}: {str(error).partition(' - at ')[0]}") from None
    return value


def _labels(name: str) -> dict[str, str]:
    try:
        return parsed(os.environ.get(name, ""))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _enrolment_file(state_folder: str | None) -> Path | None:
    if named := os.environ.get(ENROLMENT):
        return None if named == "none" else Path(named).resolve()
    return None if not state_folder else Path(state_folder).resolve() / FILE


def _folders(name: str) -> list[str] | None:
    return [folder for folder in os.environ.get(name, "").split(":") if folder] or None


def _file(name: str) -> Path | None:
    path = os.environ.get(name)
    return Path(path) if path else None


def _yes(name: str) -> bool:
    text = os.environ.get(name, "")
    if text not in {"", "0", "1"}:
        raise ValueError(f"{name} is {text!r}; it must be 1, or 0")
    return text == "1"


def networks(name: str) -> tuple[str, ...]:
    """Return the addresses and networks of a variable, with commas between; without any, those that are private."""
    found = tuple(os.environ.get(name, "").replace(",", " ").split())
    for one in found:
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise ValueError(f"{name}: {error}: it names addresses and networks, like 10.0.0.5,10.1.0.0/16") from None
    return found or PRIVATE


def _number(name: str, default: int | None) -> int | None:
    text = os.environ.get(name)
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}; it must be a whole number from 1")
    return int(text)

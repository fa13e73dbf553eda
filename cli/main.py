"""The command line: `flows …`. Each command imports what it needs: a process holds no more than its part."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bus.errors import LogError
from cli import logs
from cli import settings as settings_
from cli.settings import NAMES

DEFAULT_DATA = Path("flows-data")
_data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FLOWS_DATA_DIR",
    help="The data folder.  [default: ./flows-data]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="protection-flows-engine", prog_name="flows")
def cli() -> None:
    """Protection Flows Engine: what to back up, when, where to and how."""


@cli.command("up")
@_data
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the API listens on.")
@click.option("--port", default=8082, show_default=True, type=click.IntRange(1, 65535), help="Port of the API.")
@click.option(
    "--nats-port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Port of the log, on this machine only.  [default: any]",
)
@click.option(
    "--worker-slots", default=4, show_default=True, type=click.IntRange(1, 1000), help="VMs backed up at once."
)
@click.option("--demo", is_flag=True, help="Set up three VMs with real disk images and a flow over them.")
def up_command(data: Path | None, host: str, port: int, nats_port: int, worker_slots: int, demo: bool) -> None:
    """Run everything on this machine: log, services, API."""
    from cli.up import up

    folder = (data or DEFAULT_DATA).resolve()
    console = Console(stderr=False)
    up(
        folder,
        host=host,
        port=port,
        nats_port=nats_port,
        worker_slots=worker_slots,
        with_demo=demo,
        console=console,
    )


@cli.command("serve")
@click.argument("names", nargs=-1, required=True, type=click.Choice(NAMES))
def serve_command(names: tuple[str, ...]) -> None:
    """Run one or more services against FLOWS_NATS_URL and FLOWS_DATABASE_URL."""
    from cli.serve import serve

    _run(lambda: serve(names, settings_.from_environment()))


@cli.command("log")
@click.argument("pattern", default=">")
@_data
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--json", "as_json", is_flag=True, help="Print the messages as they are, one JSON object a line.")
@click.option("--flow", help="Of this flow, by name or id.")
@click.option("--execution", help="Of this execution.")
@click.option("--vm", help="About this VM.")
@click.option("--since", help="From then on; without a zone, local time. Or how long ago: 30m, 12h, 7d.")
@click.option("--until", help="Up to then.")
@click.option("--local", is_flag=True, help="Times in this machine's zone; else in UTC.")
def log_command(
    pattern: str,
    data: Path | None,
    follow: bool,
    as_json: bool,
    flow: str | None,
    execution: str | None,
    vm: str | None,
    since: str | None,
    until: str | None,
    local: bool,
) -> None:
    """Print the log. PATTERN is a NATS subject pattern, such as `flow.completed` or `backup.*`."""
    from bus.selection import Filter
    from cli.log import show

    wanted = Filter(
        flow=flow, execution=execution, vm=vm, since=_moment("--since", since), until=_moment("--until", until)
    )
    url, console = _nats_url(data), Console()
    _run(lambda: show(url, pattern, wanted, follow=follow, as_json=as_json, local=local, console=console))


@cli.command("rebuild")
@click.option("--into", required=True, help="An empty database: a URL, or the path of a SQLite file.")
@_data
def rebuild_command(into: str, data: Path | None) -> None:
    """Fill an empty database from the log. A recorder goes on where this ends."""
    from cli.history import rebuild

    _run(lambda: rebuild(_nats_url(data), _as_url(into), Console(stderr=True)))


@cli.command("diff")
@click.argument("first")
@click.argument("second")
@click.option("--most", default=20, show_default=True, type=click.IntRange(1), help="Differences that are printed.")
def diff_command(first: str, second: str, most: int) -> None:
    """Compare two databases (URLs, or paths of SQLite files). Exits with 1 when they differ."""
    from cli.history import diff

    if _run(lambda: diff(_as_url(first), _as_url(second), most, Console())):
        sys.exit(1)


@cli.command("restore-log")
@click.option("--from", "source", required=True, help="The database: a URL, or the path of a SQLite file.")
@_data
def restore_command(source: str, data: Path | None) -> None:
    """Fill an empty log from the second copy in a database; then everything runs on. The services must be stopped."""
    from cli.history import restore, restore_folder

    console = Console(stderr=True)
    if data is None and (url := os.environ.get("FLOWS_NATS_URL")):
        _run(lambda: restore(url, _as_url(source), console))
    else:
        restore_folder(data or DEFAULT_DATA, _as_url(source), console)


@cli.command("prune")
@click.option("--keep", required=True, help="How long history is kept: 90d, 2y.")
@_data
def prune_command(keep: str, data: Path | None) -> None:
    """Let go of the history of executions that ended longer ago; totals and the last good backup of each VM stay."""
    from cli.history import prune

    before = _ago("--keep", keep)
    _run(lambda: prune(_nats_url(data), before))
    click.echo(f"History from before {before:%Y-%m-%d %H:%M} UTC is let go, when the recorder comes to it.")


@cli.command("replay")
@click.argument("execution", required=False)
@click.option("--step", is_flag=True, help="Stop before each decision.")
@click.option("--publish-to", metavar="PREFIX", help="Send the messages again, to PREFIX.<subject>, for a subscriber.")
@click.option("--speed", default=0.0, type=click.FloatRange(0), help="1: in the original rhythm; 0: at once.")
@_data
def replay_command(execution: str | None, step: bool, publish_to: str | None, speed: float, data: Path | None) -> None:
    """Decide again what was decided about EXECUTION (or all of them), with today's code, and compare."""
    from cli.replay import publish, replay

    url, console = _nats_url(data), Console()
    if publish_to is not None:
        _run(lambda: publish(url, execution, publish_to, speed, console))
    elif not _run(lambda: replay(url, execution, step=step, console=console)):
        sys.exit(1)


@cli.command("explain")
@click.argument("flow")
@click.argument("at", required=False, metavar="[TIME]")
@_data
def explain_command(flow: str, at: str | None, data: Path | None) -> None:
    """Say in plain words why FLOW (a name or id) ran, or did not, at TIME or last."""
    from cli.explain import explain

    moment = _moment("TIME", at)
    _run(lambda: explain(_database_url(data), flow, moment, Console()))


@cli.group("dead")
def dead_group() -> None:
    """Look after messages that could not be used."""


@dead_group.command("list")
@_data
def dead_list_command(data: Path | None) -> None:
    """Print the messages that could not be used, with the cause."""
    from cli.dead import show

    _run(lambda: show(_nats_url(data), Console()))


@dead_group.command("show")
@click.argument("sequence", type=int)
@_data
def dead_show_command(sequence: int, data: Path | None) -> None:
    """Print one of them, whole."""
    from cli.dead import show_one

    _run(lambda: show_one(_nats_url(data), sequence))


@dead_group.command("retry")
@click.argument("sequence", type=int)
@_data
def dead_retry_command(sequence: int, data: Path | None) -> None:
    """Append it again, as it is: after an update that can read it."""
    from cli.dead import retry

    click.echo(f"It is message {_run(lambda: retry(_nats_url(data), sequence)):,} now.")


@dead_group.command("dismiss")
@click.argument("sequence", type=int)
@_data
def dead_dismiss_command(sequence: int, data: Path | None) -> None:
    """Note that nothing is to be done about it."""
    from cli.dead import dismiss

    _run(lambda: dismiss(_nats_url(data), sequence))


@cli.command("doctor")
@_data
def doctor_command(data: Path | None) -> None:
    """Check that what should hold true does. Exits with 1 when something does not."""
    from cli.doctor import doctor

    if not _run(lambda: doctor(_nats_url(data), _database_url(data), Console())):
        sys.exit(1)


@cli.command("repair")
@_data
@click.option("--yes", is_flag=True, help="Do it; else it is only shown.")
def repair_command(data: Path | None, yes: bool) -> None:
    """Show the safe remedies for what `flows doctor` finds, or apply them. Exits with 1 while something is wrong."""
    from cli.repair import repair

    if not _run(lambda: repair(_nats_url(data), _database_url(data), Console(), sure=yes)):
        sys.exit(1)


_url = click.option("--url", envvar="FLOWS_URL", default="http://127.0.0.1:8082", show_default=True, help="The API.")
_token = click.option(
    "--token-file", type=click.Path(path_type=Path), envvar="FLOWS_ADMIN_TOKEN_FILE", help="[default: DATA/admin-token]"
)


@cli.group("db")
def db_group() -> None:
    """Look after the tables of the read model."""


@db_group.command("upgrade")
@_data
def upgrade_command(data: Path | None) -> None:
    """Bring the tables to what this version needs. Stop the recorder first."""
    from services.database import bring_up_to_date

    before = bring_up_to_date(_database_url(data))
    click.echo("The tables were up to date." if before == "current" else f"The tables were {before}; now they are not.")


@cli.command("freeze")
@click.option(
    "--until", required=True, help="When it ends by itself, e.g. 2026-12-27T06:00; without a zone, local time."
)
@click.option("--reason", required=True, help="Shown with everything that is skipped.")
@_data
@_url
@_token
def freeze_command(until: str, reason: str, data: Path | None, url: str, token_file: Path | None) -> None:
    """Let nothing start by its schedule until then. What runs goes on, and starting by hand works."""
    from cli.declare import Api
    from cli.freeze import freeze

    freeze(Api(url, _read_token(data, token_file)), until, reason, Console())


@cli.command("thaw")
@_data
@_url
@_token
def thaw_command(data: Path | None, url: str, token_file: Path | None) -> None:
    """End the freeze now."""
    from cli.declare import Api
    from cli.freeze import thaw

    thaw(Api(url, _read_token(data, token_file)), Console())


@cli.command("export")
@_data
@_url
@_token
def export_command(data: Path | None, url: str, token_file: Path | None) -> None:
    """Print all definitions as YAML, for `flows apply`."""
    from cli.declare import Api, export

    click.echo(export(Api(url, _read_token(data, token_file))), nl=False)


@cli.command("apply")
@click.option("--file", "-f", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--prune", is_flag=True, help="Delete what is not in the file.")
@_data
@_url
@_token
def apply_command(file: Path, dry_run: bool, prune: bool, data: Path | None, url: str, token_file: Path | None) -> None:
    """Make the definitions what a YAML file says; the difference is shown first."""
    from cli.declare import Api, apply

    api = Api(url, _read_token(data, token_file))
    apply(api, file, prune=prune, dry_run=dry_run, console=Console())


def _read_token(data: Path | None, token_file: Path | None) -> str:
    file = token_file or (data or DEFAULT_DATA) / "admin-token"
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ValueError(f"cannot read the token from {file}: {error.strerror}. Name it with --token-file") from error


def _nats_url(data: Path | None) -> str:
    """Return the log's address: of a data folder of `flows up`, else from the environment."""
    if data is None and (url := os.environ.get("FLOWS_NATS_URL")):
        return url
    file = (data or DEFAULT_DATA) / "nats-url"
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ValueError(
            f"cannot read {file}: {error.strerror}. Name the folder of a running `flows up` with --data, "
            "or set FLOWS_NATS_URL"
        ) from error


def _as_url(place: str) -> str:
    """Return a database's URL: as it is, or that of a SQLite file."""
    from services.database import sqlite_url

    return place if "://" in place else sqlite_url(Path(place))


_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def _ago(name: str, text: str) -> datetime:
    """Return the instant that is so long ago: 30m, 12h, 7d, 4w, 2y. Raises `ValueError`."""
    if not (text[:-1].isdigit() and text[-1:] in _UNITS):
        raise ValueError(f"{name} is {text!r}: a number with m, h, d, w or y is needed, such as 90d")
    return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]])


def _moment(name: str, text: str | None) -> datetime | None:
    """Return the instant that an option names, or how long ago it was. Raises `ValueError`."""
    if text is None:
        return None
    if text[:-1].isdigit() and text[-1:] in _UNITS:
        return _ago(name, text)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ValueError(f"{name} is {text!r}: a time is needed, such as 2026-12-27T06:00, or 12h") from None


def _database_url(data: Path | None) -> str:
    """Return the tables' address: of a data folder of `flows up`, else from the environment."""
    if data is None and (url := os.environ.get("FLOWS_DATABASE_URL")):
        return url
    from services.database import sqlite_url

    file = (data or DEFAULT_DATA) / "flows.db"
    if not file.exists():
        raise ValueError(
            f"{file} does not exist. Name the folder of a running `flows up` with --data, or set FLOWS_DATABASE_URL"
        )
    return sqlite_url(file.resolve())


def _run(work: Callable[[], Any]) -> Any:
    """Run a coroutine on the fastest loop there is, and return what it returns."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work())
    return uvloop.run(work())


def main() -> None:
    """Run a command; errors that have a cause an operator can act on are one line, not a traceback."""
    logs.set_up()
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (LogError, OSError, ValueError, RuntimeError) as error:
        click.echo(f"flows: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

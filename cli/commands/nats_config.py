"""`flows nats-config`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("nats-config")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--restoring", is_flag=True, help="For the time of `flows restore-log`: nothing else can append then.")
def nats_config(folder: Path, *, restoring: bool) -> None:
    """Write the configuration and passwords of nats-server into FOLDER, for a distributed set-up.

    nats.conf and nats-passwords are the server's; credentials/ has one file with a password for each part, of which it
    needs its own alone (FLOWS_NATS_CREDENTIALS). The part setup needs `issuer` and `system` too, to let enrolled
    workers in, and to close their connections. What is there already is kept.
    """
    from bus.configuration import nats_conf, nats_passwords
    from bus.identities import SYSTEM, USERS
    from bus.server import issuer_in, passwords_in, write_private
    from cli import terminal

    credentials = folder / "credentials"
    passwords, issuer = passwords_in(credentials, (*USERS, SYSTEM)), issuer_in(credentials)
    # the server takes no variable that its configuration does not use: nobody is let in but its own users then
    written = {user: passwords[user] for user in USERS} if restoring else passwords
    write_private(folder / "nats-passwords", nats_passwords(written, None if restoring else issuer.public))
    write_private(folder / "nats.conf", nats_conf(restoring=restoring))
    text = f"Written to {folder}: nats.conf, nats-passwords, and {len(passwords) + 1} files in credentials/."
    terminal.print_line(terminal.out, text)

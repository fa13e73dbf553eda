"""`flows up`."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options, places
from cli.settings import PROXIES, VARIABLES, Settings, networks


@click.command
@options.data
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the API listens on.")
@click.option("--port", default=8082, show_default=True, type=click.IntRange(1, 65535), help="Port of the API.")
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    envvar="FLOWS_TLS_CERT",
    help="Serve the API by TLS, with the certificate in this file (PEM), and those that have signed it after it.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), envvar="FLOWS_TLS_KEY", help="The key of --tls-cert.")
@click.option(
    "--behind-proxy",
    is_flag=True,
    envvar="FLOWS_BEHIND_PROXY",
    help="A proxy in front of the API speaks TLS, and says who its clients are; FLOWS_PROXIES says where it is.",
)
@click.option(
    "--nats-port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Port of the log, on this machine only.  [default: any]",
)
@click.option(
    "--worker-slots",
    default=4,
    show_default=True,
    type=click.IntRange(1, 1000),
    envvar="FLOWS_WORKER_SLOTS",
    help="VMs that the worker of this machine backs up at once.",
)
@click.option(
    "--max-concurrent-jobs",
    type=click.IntRange(1),
    envvar=VARIABLES["max_concurrent_jobs"],
    help="VMs backed up at once over all flows and workers, unless `flows settings` has said.  [default: no limit]",
)
@click.option(
    "--process-per-service",
    is_flag=True,
    help="A process of its own for each service, instead of three for all of them: more memory, and more throughput.",
)
@options.nats_server
@click.option("--demo", is_flag=True, help="Set up three VMs with real disk images and a flow over them.")
def up(
    data: Path | None,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    nats_port: int,
    worker_slots: int,
    max_concurrent_jobs: int | None,
    process_per_service: bool,
    nats_server: str | None,
    demo: bool,
) -> None:
    """Run everything on this machine: log, services, API."""
    from cli import terminal
    from cli.up import up

    up(
        (data or places.DEFAULT_DATA).resolve(),
        settings=Settings(
            host=host,
            port=port,
            tls_cert=tls_cert and tls_cert.absolute(),
            tls_key=tls_key and tls_key.absolute(),
            behind_proxy=behind_proxy,
            proxies=networks(PROXIES),
            worker_slots=worker_slots,
            seeds={"max_concurrent_jobs": max_concurrent_jobs} if max_concurrent_jobs else {},
        ),
        nats_port=nats_port,
        nats_server=nats_server,
        process_per_service=process_per_service,
        with_demo=demo,
        console=terminal.out,
    )

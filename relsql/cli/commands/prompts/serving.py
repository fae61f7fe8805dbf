"""`relsql serve`."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.output import DatabasePath, note

if TYPE_CHECKING:
    from relsql.integrations.server import Server

_LOOK_SECONDS = 1.0
"""Interval at which the server checks whether it can continue."""


@click.command("serve", short_help="Let other DuckDB clients call the models.")
@click.argument("file", type=DatabasePath())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=9494, show_default=True, help="Port to listen on.")
@click.option(
    "--token", envvar="RELSQL_TOKEN", help="Secret that clients need. Default: $RELSQL_TOKEN, or a new random one."
)
@click.option("--read-write", is_flag=True, help="Let clients change the tables of FILE.")
@click.option(
    "--max-seconds",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Time limit of a client's statement.",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    help="What all statements together may allocate, for example 4GB. Default: 80% of the machine's memory.",
)
@click.option("--allow-network", is_flag=True, help="Required if other machines can reach HOST.")
def serve_command(
    file: Path,
    host: str,
    port: int,
    token: str | None,
    read_write: bool,
    max_seconds: int,
    memory_limit: str | None,
    allow_network: bool,
) -> None:
    """Serve FILE and its models to other DuckDB clients over DuckDB's quack protocol, until Ctrl-C.

    The statement with which a client attaches the server is printed to stdout. The client needs no Python: statements
    in r.query('...') run in the server. Clients run one SELECT, EXPLAIN, SHOW or DESCRIBE at a time, on the tables of
    FILE and with the functions of its models. They cannot change what others see, nor reach other files of this
    machine. With --read-write they may also INSERT, UPDATE and DELETE rows of DATABASE.TABLE.

    DuckDB 2.0 interrupts a statement that runs longer than --max-seconds. DuckDB 1.5 cannot interrupt it: the server
    restarts, and clients have to ATTACH again. It also restarts if a statement ends it. On Linux, a statement that
    needs more memory than there is within --memory-limit fails, and the others go on.

    Needs DuckDB's extensions httpfs and quack; the client needs them too.

    \b
    relsql serve f1.duckdb
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.integrations.server import serve
    from relsql.integrations.server_process import keep_serving, parent_of_server

    parent = parent_of_server()
    if parent is not None:
        opened = serve(
            file,
            host=host,
            port=port,
            token=token or "",
            read_write=read_write,
            max_seconds=max_seconds,
            memory_limit=memory_limit,
        )
        _serve_until_stopped(opened, parent, file, "to read and write" if read_write else "to read")
        return
    _check_host(host, allow_network)
    open_database(file, read_only=not read_write).close()
    options = ["--host", host, "--port", str(port), "--max-seconds", str(max_seconds)]
    options += ["--read-write"] if read_write else []
    options += [] if memory_limit is None else ["--memory-limit", memory_limit]
    secret = {"RELSQL_TOKEN": token or secrets.token_urlsafe(24)}
    sys.exit(keep_serving(["serve", *options, "--", str(file)], secret, click.echo, note))


def _serve_until_stopped(opened: AbstractContextManager[Server], parent: int, file: Path, access: str) -> None:
    """Serve in this process, which `parent` started, until either is asked to stop.

    If this process cannot go on, its exit code asks the parent to start another one.
    """
    from relsql.integrations.server_memory import limit_process
    from relsql.integrations.server_process import RESTART
    from relsql.registry.function_names import is_score_name

    with opened as server:
        limit_process(server.memory)
        models = [name for name in server.functions if is_score_name(name)]
        note(f"serving {file} {access}, as {server.database}: {', '.join(models) or 'no models yet'}; Ctrl-C stops")
        click.echo(server.attach_statement)
        stop = _stop_requests()
        while not stop.wait(_LOOK_SECONDS) and os.getppid() == parent:
            if reason := server.reason_to_restart():
                note(f"restarting, because {reason}; clients have to ATTACH again")
                # Leaving the block would wait for the statements that run.
                os._exit(RESTART)
    note("stopped")


def _check_host(host: str, allow_network: bool) -> None:
    """Refuse an address that other machines can reach, unless that is intended; then only warn."""
    from relsql.integrations.server import is_loopback

    if not is_loopback(host):
        if not allow_network:
            raise click.UsageError(f"other machines can reach {host}; if that is intended, add --allow-network.")
        note(f"warning: other machines can reach {host}; the token, the queries and the data are sent unencrypted")


def _stop_requests() -> threading.Event:
    """An event that SIGINT (Ctrl-C) or SIGTERM sets; waiting for it leaves the interpreter to the scoring threads."""
    stop = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda number, frame: stop.set())
    return stop

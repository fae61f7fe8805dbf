"""`relsql serve`."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import threading
from pathlib import Path

import click

from relsql.cli.output import DatabasePath, note

_LOOK_SECONDS = 1.0
"""Interval at which the server looks for statements that exceed the time limit."""


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
    restarts, and clients have to ATTACH again. On Linux, a statement that needs more memory than there is within
    --memory-limit fails, and the others go on.

    Needs DuckDB's extensions httpfs and quack; the client needs them too.

    \b
    relsql serve f1.duckdb
    """  # noqa: D301
    from relsql.integrations.server import serve
    from relsql.integrations.server_memory import limit_process
    from relsql.registry.function_names import is_score_name

    _check_host(host, allow_network)
    token = token or secrets.token_urlsafe(24)
    opened = serve(
        file,
        host=host,
        port=port,
        token=token,
        read_write=read_write,
        max_seconds=max_seconds,
        memory_limit=memory_limit,
    )
    with opened as server:
        limit_process(server.memory)
        models = [name for name in server.functions if is_score_name(name)]
        access = "to read and write" if read_write else "to read"
        note(f"serving {file} {access}, as {server.database}: {', '.join(models) or 'no models yet'}; Ctrl-C stops")
        click.echo(server.attach_statement)
        stop = _stop_requests()
        while not stop.wait(_LOOK_SECONDS):
            if overdue := server.overdue():
                note(f"restarting, because a statement has run for {max_seconds} seconds: {overdue[0][:200]!r}")
                _restart(token)
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


def _restart(token: str) -> None:
    """Replace this process with a new one with the same arguments and token, which ends all its threads.

    Open files and sockets would stay open in the new process, so they are marked as not inheritable.
    """
    for descriptor in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").exists() else ():
        if int(descriptor.name) > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(int(descriptor.name), False)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"RELSQL_TOKEN": token})  # noqa: S606

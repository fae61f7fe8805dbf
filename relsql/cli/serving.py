"""`relsql serve`."""

from __future__ import annotations

import secrets
import signal
import threading
from pathlib import Path

import click

from relsql.cli.output import note


@click.command("serve", short_help="Let other DuckDB clients call the models.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=9494, show_default=True, help="Port to listen on.")
@click.option(
    "--token", envvar="RELSQL_TOKEN", help="What clients have to know. Default: $RELSQL_TOKEN, or a new random one."
)
@click.option("--read-write", is_flag=True, help="Let clients change the tables of FILE.")
@click.option("--allow-network", is_flag=True, help="Needed for a HOST that other machines can reach.")
def serve_command(file: Path, host: str, port: int, token: str | None, read_write: bool, allow_network: bool) -> None:
    """Serve FILE and its models to other DuckDB clients, by DuckDB's own quack protocol, until Ctrl-C.

    The statement that a client attaches the server with goes to stdout. The client needs no Python: what it gives to
    r.query('...') runs here. Clients can read FILE, but no other file of this machine. Tables that they create are kept
    in memory until the server stops; with --read-write they change those of FILE as DATABASE.TABLE.

    Needs DuckDB's extensions httpfs and quack, and the client needs them too.

    \b
    relsql serve f1.duckdb
    """  # noqa: D301
    from relsql.serving import is_loopback, serve

    if not is_loopback(host):
        if not allow_network:
            raise click.UsageError(f"other machines can reach {host}; if they shall, add --allow-network.")
        note(f"warning: other machines can reach {host}; the token, the queries and the data are sent unencrypted")
    with serve(file, host=host, port=port, token=token or secrets.token_urlsafe(24), read_write=read_write) as server:
        models = [name for name in server.functions if name.startswith("predict_")]
        access = "to read and write" if read_write else "to read"
        note(f"serving {file} {access}, as {server.database}: {', '.join(models) or 'no models yet'}; Ctrl-C stops")
        click.echo(server.attach_statement)
        _wait_for_interrupt()
    note("stopped")


def _wait_for_interrupt() -> None:
    """Sleep until Ctrl-C or a request to terminate; meanwhile Python belongs to the threads that score."""
    stop = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda number, frame: stop.set())
    stop.wait()

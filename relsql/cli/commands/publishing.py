"""`relsql publish`, `relsql unpublish` and `relsql selftest`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.output import DatabasePath, note, write_json
from relsql.cli.progress import PhaseProgress
from relsql.errors import train_extra
from relsql.hints import command

if TYPE_CHECKING:
    from relsql.publishing.publish import Published


@click.command("publish", short_help="Write a model into the file as plain SQL.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--into", type=click.Path(path_type=Path), help="Publish in this new copy of FILE instead of in FILE.")
@click.option("--storage-version", help="Storage version of the copy, v1.5.0 for DuckDB 1.5 clients; needs --into.")
@click.option("--show-sql", is_flag=True, help="Print the views and macros that would be written, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def publish_command(
    file: Path, model: str, into: Path | None, storage_version: str | None, show_sql: bool, as_json: bool
) -> None:
    """Write the active version of MODEL into FILE as plain SQL: tables of weights, views and macros.

    Afterwards every DuckDB client that opens FILE can call predict_MODEL(id), predict_MODEL_full(id) and
    predict_MODEL_batch(), without Python. Rows without a stored embedding are embedded first. The macros are compared
    with torch and onnxruntime before they are committed; the largest difference is printed and stored with the version.

    DuckDB 1.5 does not open a file with the storage version of DuckDB 2. Publish into a copy for it, as below.

    \b
    relsql publish f1.duckdb dnf
    relsql publish f1.duckdb dnf --into f1-for-1.5.duckdb --storage-version v1.5.0
    duckdb f1.duckdb -c "SELECT driverId, predict_dnf(driverId) FROM drivers"
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.database.names import current_catalog
    from relsql.database.sources.attach_sources import attach_statements
    from relsql.publishing.publish import publication_sql, publish, publish_into

    if show_sql:
        with closing(open_database(file, read_only=True)) as con:
            click.echo(publication_sql(con, model), nl=False)
        return
    if storage_version and not into:
        raise click.UsageError("--storage-version needs --into: the storage version of a file cannot be changed")
    on_interrupt("nothing was published")
    if into:
        with PhaseProgress() as progress:
            published = publish_into(file, into, model, storage_version=storage_version, progress=progress)
    else:
        with closing(open_database(file)) as con, PhaseProgress() as progress:
            published = publish(con, model, progress=progress)
            sources = attach_statements(con, current_catalog(con))
        if sources:
            note(f"the data are in another database; a client without relsql first runs: {' '.join(sources)}")
    _note_storage(file, into or file, published.model)
    _print(published, as_json)


def _note_storage(file: Path, written: Path, model: str) -> None:
    """Print a note if older clients cannot open the file that was written."""
    from relsql.database.connections import open_database
    from relsql.publishing.database_copy import OLDER_STORAGE, newer_storage

    with closing(open_database(written, read_only=True)) as con:
        version = newer_storage(con)
    if version:
        copy = command("publish", file, model, "--into", "COPY", "--storage-version", OLDER_STORAGE)
        note(f"{written} has storage version {version}, which DuckDB 1.5 does not open; a copy for it: {copy}")


@click.command("unpublish", short_help="Remove a model's plain SQL from the file.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
def unpublish_command(file: Path, model: str) -> None:
    """Remove what `relsql publish` wrote to FILE for MODEL; the model itself is kept.

    \b
    relsql unpublish f1.duckdb dnf
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.publishing.publish import unpublish

    with closing(open_database(file)) as con:
        unpublish(con, model)
    note(f"model '{model}' is no longer published")


@click.command("selftest", short_help="Compare a published model with torch and ONNX again.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def selftest_command(file: Path, model: str, as_json: bool) -> None:
    """Check everything that FILE stores of MODEL, and compare its plain SQL with torch and onnxruntime.

    Fails if anything stored was changed (the card, the artefacts, a row embedding, a published table, view or macro),
    or if scores differ by more than 1e-5: for a regression, 1e-5 times the largest of the compared scores. Objects that
    an earlier relsql wrote have no digest to compare with until `relsql refresh` or `relsql publish` adds it.

    \b
    relsql selftest f1.duckdb dnf
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.publishing.selftest import selftest

    with closing(open_database(file, read_only=True)) as con, train_extra("relsql selftest"):
        _print(selftest(con, model), as_json)


def _print(published: Published, as_json: bool) -> None:
    if as_json:
        write_json(published)
        return
    parity = published.parity
    assert parity is not None
    figures = {
        "seeds": parity.seeds,
        **({"pending": parity.pending} if parity.pending else {}),
        "torch-onnx": f"{parity.torch_onnx:.1e}",
        "onnx-sql": f"{parity.onnx_sql:.1e}",
        "seconds": f"{published.seconds:.1f}",
    }
    if published.without_digest:
        how = command("refresh", "FILE", published.model)
        note(f"no digest: {', '.join(published.without_digest)}; to add it: {how}")
    described = (f"{name}={value}" for name, value in figures.items())
    click.echo("\t".join([published.model, str(published.version), *described]))

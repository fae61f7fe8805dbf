"""`relsql export`, and the models that `relsql import` adds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from relsql.cli.output import DatabasePath, note, write_json
from relsql.hints import command, counted


@click.command("export", short_help="Write a model into a folder, for another file.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace DIR if it is an exported model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export_command(file: Path, model: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Write MODEL, or a version of it, into a new folder that `relsql import` puts into another file.

    The folder has the ONNX components, the tokenizer, card, schema and plan as JSON, the row embeddings as Parquet, and
    a manifest with the SHA-256 of each file. It appears when it is complete; FILE is only read. Row embeddings have the
    texts of your rows.

    \b
    relsql export f1.duckdb dnf --output model/
    relsql import model/ other.duckdb
    """  # noqa: D301
    from relsql.bundles.export_model import export_model
    from relsql.database.connections import open_database

    with closing(open_database(file, read_only=True)) as con:
        done = export_model(con, model, output, overwrite=overwrite)
    if done.missing:
        store = command("refresh", file, f"{done.model}@{done.version}")
        note(f"{counted(done.missing, 'row text')} without a stored embedding left out; to store them: {store}")
    note(f"next: {command('import', output, 'ANOTHER.duckdb')}")
    if as_json:
        write_json(done)
    else:
        figures = (f"{key}={getattr(done, key)}" for key in ("files", "bytes", "texts"))
        click.echo("\t".join([done.model, str(done.version), *figures]))


def add_model(bundle: Path, file: Path, name: str | None, as_json: bool) -> None:
    """Import an exported model into a database file, and print the result."""
    from relsql.bundles.import_model import import_model
    from relsql.database.connections import open_database

    with closing(open_database(file)) as con:
        done = import_model(con, bundle, name=name)
    was = f", was version {done.replaced}" if done.replaced else ""
    note(f"version {done.version} of model {done.name} is active now{was}")
    note(f"to store embeddings of rows that it does not know: {command('refresh', file, done.name)}")
    if done.published is not None:
        note(f"plain SQL still scores with version {done.published}: {command('publish', file, done.name)}")
    if as_json:
        write_json(done)
    else:
        click.echo("\t".join([done.name, str(done.version), f"texts={done.texts}"]))

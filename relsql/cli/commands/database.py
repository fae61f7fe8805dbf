"""`relsql import` and `relsql inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.output import DatabasePath, note, with_path, write_json, write_table
from relsql.hints import command

if TYPE_CHECKING:
    from relsql.integrations.new_database import ImportReport


@click.command("import", short_help="Create a DuckDB file from other data, or add a model.")
@click.argument("source")
@click.argument("file", type=DatabasePath(), required=False)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists; not for a model.")
@click.option("--name", help="Another name for the model that is added.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON about the model that is added.")
def import_command(source: str, file: Path | None, overwrite: bool, name: str | None, as_json: bool) -> None:
    """Create the DuckDB FILE from SOURCE; default: a file of the same name in the current folder.

    SOURCE is a SQLite file, whose keys and links are kept; a file of CSV, Parquet or JSON, or a folder of them, a table
    each; a DuckDB file; a postgresql:// URL, where DuckDB's extension is installed; or a RelBench 3 data set with its
    keys, links, time columns and tasks, by its folder or its hub name, org/repo/name. SOURCE is not changed.

    A folder that `relsql export` wrote is a model. It is added to FILE, which must have the tables that the model
    reads, as a new version, and becomes the active one.

    \b
    relsql import northwind.sqlite
    relsql import exports/ shop.duckdb
    relsql import model/ shop.duckdb
    """  # noqa: D301
    from relsql.bundles.folder import is_bundle
    from relsql.cli.commands.bundles import add_model
    from relsql.database.sources.file_kinds import table_name
    from relsql.integrations.import_source import import_source

    if is_bundle(Path(source)):
        if file is None or overwrite:
            raise click.UsageError(f"'{source}' is a model: it is added to an existing FILE, without --overwrite.")
        add_model(Path(source), file, name, as_json)
        return
    if name is not None or as_json:
        raise click.UsageError("--name and --json are for a model, a folder that relsql export wrote.")
    target = file or Path(f"{table_name(Path(source)) or 'imported'}.duckdb")
    report = import_source(source, target, overwrite=overwrite, progress=_import_progress)
    _write_import(report)
    following = ("train", target, report.tasks[0], "--name", "NAME") if report.tasks else ("init", target)
    note(f"next: {command(*following)}")


def _import_progress(table: str, done: int, tables: int) -> None:
    if table:
        note(f"{done + 1}/{tables} {table}")


def _write_import(report: ImportReport) -> None:
    write_table(("table", "rows"), [(name, f"{rows:,}") for name, rows in report.tables], right=(1,))
    for title, lines in (
        ("links, as constraints", report.constraint_links),
        ("links, declared", report.declared_links),
        ("tasks", report.tasks),
        ("skipped tasks", [f"{name}: {why}" for name, why in report.skipped_tasks]),
        ("problems", report.problems),
    ):
        if lines:
            click.echo("\n".join(("", title, *(f"  {line}" for line in lines))))


@click.command("inspect", short_help="Show tables, links, tasks, models and problems.")
@click.argument("file", type=DatabasePath())
@click.argument("table", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect_command(file: Path, table: str | None, as_json: bool) -> None:
    """Show FILE as relsql sees it: tables, links, tasks, models, and any problems with them.

    With TABLE, show the columns of that table.
    """
    from relsql.cli.inspection import inspect, render_table, render_text
    from relsql.database.connections import foreign_database
    from relsql.schema.reading import read_schema

    with foreign_database(file) as (con, catalog):
        report = inspect(con, catalog)
        schema = read_schema(con, catalog)
    if table is None:
        if as_json:
            write_json(report)
        else:
            click.echo(with_path(render_text(report)), nl=False)
        return
    key = schema.table(table).key
    if as_json:
        write_json(next(info for info in report.tables if info.name == key))
    else:
        click.echo(render_table(key, report), nl=False)

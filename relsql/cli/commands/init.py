"""`relsql init`: declare or infer what the constraints of the tables do not show."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.output import DatabasePath, can_ask, note
from relsql.hints import command, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from relsql.database.sources.attach_sources import Source
    from relsql.schema.discovery.propose import KeyProposal, LinkProposal, Refusal, SchemaProposal, TimeProposal
    from relsql.schema.tables import Schema
    from relsql.tasks.task import Task


@click.command("init", short_help="Declare or infer keys, links, time columns; add tasks.")
@click.argument("file", type=DatabasePath())
@click.option("--yes", is_flag=True, help="Store the proposals of confidence 0.8 or more without asking.")
@click.option(
    "--attach", "attached", multiple=True, metavar="[NAME=]LOCATION", help="Read the tables of another database."
)
@click.option("--schema", "schema_name", metavar="NAME", help="Keep relsql's tables in a new schema of this name.")
@click.option("-v", "--verbose", is_flag=True, help="Show what was looked at and refused, too.")
@click.option("--primary-key", "primary_keys", multiple=True, metavar="'TABLE(COLUMN, ..)'", help="Declare a key.")
@click.option("--time-column", "time_columns", multiple=True, metavar="'TABLE(COLUMN)'", help="Declare a time column.")
@click.option(
    "--known-column", "known_columns", multiple=True, metavar="'TABLE(COLUMN)'", help="Declare when rows became known."
)
@click.option(
    "--entity",
    "entities",
    multiple=True,
    metavar="'NAME=TABLE(COLUMN), ..'",
    help="Declare an entity from column values.",
)
@click.option("--no-time-column", "untimed", multiple=True, metavar="TABLE", help="Rows of TABLE are always visible.")
@click.option("--link", "links", multiple=True, metavar="'CHILD(COLUMN) -> PARENT(COLUMN)'", help="Declare a link.")
@click.option(
    "--remove-link",
    "removed_links",
    multiple=True,
    metavar="'CHILD(COLUMN) -> PARENT(COLUMN)'",
    help="Do not link these tables.",
)
@click.option("--task", "manifests", multiple=True, type=click.Path(path_type=Path), metavar="YAML", help="Add a task.")
def init_command(
    file: Path,
    yes: bool,
    attached: tuple[str, ...],
    schema_name: str | None,
    verbose: bool,
    manifests: tuple[Path, ...],
    **declared: tuple[str, ...],
) -> None:
    """Declare the keys, links, time columns and tasks of FILE.

    DuckDB's constraints are read. What the options declare is checked against the data and stored. What is still
    missing is inferred, printed with its evidence, and stored only after confirmation or with --yes, which stores no
    proposal of less confidence than 0.8. Everything is stored in schema relsql, or in the one that --schema names once
    and for all; your tables are not changed. Options may be given several times.

    \b
    relsql init f1.duckdb
    relsql init f1.duckdb --time-column 'races(date)' --link 'results(race_id) -> races(race_id)'
    relsql init f1.duckdb --task driver-dnf.yaml
    relsql init models.duckdb --attach f1.duckdb
    relsql init models.duckdb --attach northwind.sqlite --attach shop=postgresql://ada@host/shop
    relsql init f1.duckdb --schema ml
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.database.names import current_catalog
    from relsql.schema.declared.declarations import Declarations
    from relsql.schema.sources.attached_tables import parse_source
    from relsql.tasks.labels.label_sandbox import check_definition
    from relsql.tasks.task import Task

    declarations = Declarations.parse(**declared)
    tasks = tuple(map(Task.from_manifest, manifests))
    for task in tasks:
        check_definition(task)
    writes = bool(yes or can_ask() or declarations or tasks or attached or schema_name is not None)
    sources = tuple(map(parse_source, attached))
    names = tuple(source.name for source in sources)
    with closing(open_database(file, read_only=not writes, must_exist=not attached, new_sources=names)) as con:
        catalog = current_catalog(con)
        if schema_name is not None:
            _choose_schema(con, catalog, schema_name)
        _add_sources(con, catalog, sources)
        for line in declarations.store(con, catalog) if declarations else ():
            note(f"stored: {line}")
        if _infer(con, catalog, file, yes=yes, asks=can_ask(), verbose=verbose):
            _note_warnings(con, catalog)
        if tasks:
            _save_tasks(con, catalog, tasks)
    note(f"see the result: {command('inspect', file)}")


def _choose_schema(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> None:
    from relsql.database.schema_choice import choose_schema

    if choose_schema(con, catalog, name):
        note(f"created: schema {name} for relsql's tables")


def _add_sources(con: duckdb.DuckDBPyConnection, catalog: str, sources: Iterable[Source]) -> None:
    from relsql.database.sources.source_kinds import without_password
    from relsql.schema.sources.attached_tables import add_source

    for source in sources:
        for line in add_source(con, catalog, source):
            note(line)
        if without_password(source.location) != source.location:
            note(f"not stored: the password of {source.name}; give it in PGPASSWORD, ~/.pgpass or a DuckDB secret")


def _infer(con: duckdb.DuckDBPyConnection, catalog: str, file: Path, *, yes: bool, asks: bool, verbose: bool) -> bool:
    """Infer what the schema lacks, print it, and store what is sure or confirmed.

    Returns:
        True if nothing that is sure waits to be stored.
    """
    from relsql.schema.discovery.propose import SURE, apply_proposal, infer_schema
    from relsql.schema.reading import read_schema

    proposal = infer_schema(con, catalog)
    sure, unsure = proposal.split()
    click.echo(_proposal_text(proposal), nl=False)
    _show_refused(proposal.every_refusal, file, verbose=verbose)
    # Once something is stored, the user has reviewed the schema, so hints that they did not follow are not repeated.
    for each in proposal.entities if verbose or not _has_declarations(con, catalog) else ():
        how = command("init", file, "--entity", each.declaration)
        note(f"hint: no table lists the values of {each}; to ask about them: {how}")
    if not len(proposal):
        note("nothing to add: keys, links and time columns are known or cannot be inferred from the data")
        return True
    store = f"Store these ({counted(len(sure), 'declaration')})?"
    stored = bool(len(sure) and (yes or (asks and click.confirm(store, err=True))))
    if stored:
        apply_proposal(con, catalog, sure)
        note(f"stored: {counted(len(sure), 'inferred declaration')}")
    elif len(sure):
        note(f"not stored: {counted(len(sure), 'sure proposal')}; to store: {command('init', file, '--yes')}")
        note(f"to correct one first: {command('init', file, *_correction(sure))}")
    done = stored or not len(sure)
    if not len(unsure):
        return done
    question = f"Store {counted(len(unsure), 'proposal')} of confidence below {SURE}, too?"
    if asks and not yes and click.confirm(question, default=False, err=True):
        apply_proposal(con, catalog, unsure)
        note(f"stored: {counted(len(unsure), 'declaration')} of less confidence")
        return done
    left = counted(len(unsure), "proposal")
    note(f"not stored, because the confidence is below {SURE}: {left}; to declare one that is right:")
    note(command("init", file, *_declaration(unsure, read_schema(con, catalog))))
    return done


def _has_declarations(con: duckdb.DuckDBPyConnection, catalog: str) -> bool:
    from relsql.schema.reading import read_declarations

    return any(read_declarations(con, catalog))


def _note_warnings(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Print what is wrong or doubtful about the schema as it is now stored; `relsql inspect` shows all findings."""
    from relsql.schema.checks import check_schema
    from relsql.schema.reading import read_schema

    for finding in check_schema(con, catalog, read_schema(con, catalog)):
        if finding.severity != "info":
            note(str(finding))


def _declaration(proposal: SchemaProposal, schema: Schema) -> tuple[str, str]:
    """The option that declares the first of some proposals."""
    from relsql.schema.declared.text import columns_text, link_text, time_text

    options = [("--link", link_text(link.link)) for link in proposal.links]
    options += [("--primary-key", columns_text(key.table, *key.columns)) for key in proposal.keys]
    times = [(each.table, each.column) for each in proposal.times if each.column]
    options += [("--time-column", time_text(*each, schema.table(each[0]).column_names)) for each in times]
    return options[0]


def _correction(proposal: SchemaProposal) -> tuple[str, str]:
    """The option that refuses the least certain link, or else the least certain time, or else replaces a key."""
    from relsql.schema.declared.text import link_text, table_text

    def confidence(each: KeyProposal | LinkProposal | TimeProposal) -> float:
        return each.confidence

    if proposal.links:
        return "--remove-link", link_text(min(proposal.links, key=confidence).link)
    timed = [each for each in proposal.times if each.column]
    if timed:
        return "--no-time-column", table_text(min(timed, key=confidence).table)
    return "--primary-key", f"{table_text(min(proposal.keys, key=confidence).table)}(COLUMN, ..)"


def _show_refused(refused: tuple[Refusal, ...], file: Path, *, verbose: bool) -> None:
    """Print what was refused: all of it with --verbose, otherwise what a statement could make possible."""
    shown = [each for each in refused if verbose or each.fix]
    if shown:
        alike = Counter(map(_numbered_alike, shown))
        firsts = list({_numbered_alike(each): each for each in reversed(shown)}.values())[::-1]
        width = max(len(f"{each.kind} {each}") for each in firsts)
        click.echo("looked at and refused")
        for each in firsts:
            fix = f"; to make it possible: {each.fix}" if each.fix else ""
            more = alike[_numbered_alike(each)] - 1
            others = f"; {more:,} more columns of such names are refused alike" if more else ""
            click.echo(f"  {f'{each.kind} {each}'.ljust(width)}  {each.reason}{fix}{others}")
    if len(shown) < len(refused):
        how = command("init", file, "-v")
        kinds = Counter(each.kind for each in refused if each not in shown)
        listed = ", ".join(counted(number, kind) for kind, number in sorted(kinds.items()))
        note(f"looked at and refused: {listed}; to see why: {how}")


def _numbered_alike(refused: Refusal) -> tuple[str, str, str, str]:
    """The common form of refusals whose columns differ only in a number, such as `d_1` and `d_2`."""
    column = ", ".join(refused.columns)
    plain = re.sub(r"[0-9]+", "0", column)
    return refused.kind, refused.table, plain, f"{refused.parent} {refused.reason} {refused.fix}".replace(column, plain)


def _proposal_text(proposal: SchemaProposal) -> str:
    keys = [(f"{key.table}({', '.join(key.columns)})", key.confidence, key.evidence) for key in proposal.keys]
    links = [(str(each.link), each.confidence, each.evidence) for each in proposal.links]
    times = [(f"{each.table}({each.column})", each.confidence, each.evidence) for each in proposal.times if each.column]
    sections = []
    for title, rows in (("primary keys", keys), ("links", links), ("time columns", times)):
        if rows:
            width = max(len(name) for name, _, _ in rows)
            lines = [f"  {name.ljust(width)}  {confidence:.2f}  {evidence}" for name, confidence, evidence in rows]
            sections.append("\n".join([f"proposed {title}, with confidence and evidence", *lines, ""]))
    return "\n".join(sections)


def _save_tasks(con: duckdb.DuckDBPyConnection, catalog: str, tasks: tuple[Task, ...]) -> None:
    """Check tasks against the schema and store all of them, or none if one does not fit."""
    from relsql.database.connections import transaction
    from relsql.schema.reading import read_schema
    from relsql.tasks.entity import entity_table
    from relsql.tasks.stored_tasks import save_task

    schema = read_schema(con, catalog)
    tasks = tuple(task.resolved(schema) for task in tasks)
    for task in tasks:
        entity_table(schema, task)
    with transaction(con):
        for task in tasks:
            save_task(con, catalog, task)
    for task in tasks:
        note(f"stored: task {task.name}")

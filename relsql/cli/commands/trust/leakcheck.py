"""`relsql leakcheck`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, number, write_csv, write_json, write_table
from relsql.cli.progress import PhaseProgress
from relsql.hints import counted

if TYPE_CHECKING:
    from relsql.evaluation.leaks.leakcheck import LeakRow

_HEADER = ("check", "table", "column", "seeds", "changed", "largest change", "verdict")


@click.command("leakcheck", short_help="Check on your data that nothing of the future is read.")
@click.argument("file", type=DatabasePath())
@click.argument("subject", metavar="TASK|MODEL")
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds that are compared. Default: 200; with --quick 32.")
@click.option(
    "--known-column",
    "known_columns",
    multiple=True,
    metavar="TABLE(COLUMN)",
    help="A column that says when rows became known.",
)
@click.option("--quick", is_flag=True, help="Only later rows at one moment, as relsql train does.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="Output."
)
@label_options
def leakcheck_command(
    file: Path,
    subject: str,
    seeds: int | None,
    known_columns: tuple[str, ...],
    quick: bool,
    form: Literal["table", "json", "csv"],
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Check that nothing that became known after as_of changes a label, a feature or a score.

    TASK|MODEL is a model, dnf or dnf@2; or a task: its name, the path of a manifest, or a question in one line. Labels
    are computed again on data that end with their windows. Features and scores are read again from copies in memory in
    which the later rows are deleted or garbled: they must be equal to the bit. Columns that seem to be filled in later,
    or that alone predict the labels, are suspect. FILE is only read.

    The exit code is 1 if anything leaks or is suspect.

    \b
    relsql leakcheck f1.duckdb driver-dnf
    relsql leakcheck shop.duckdb churn --known-column 'orders(entered_at)'
    """  # noqa: D301
    from relsql.cli.commands.training import resolve_task
    from relsql.database.names import current_catalog
    from relsql.evaluation.leaks.leakcheck import leakcheck

    opened = open_for_labels(file, read_only=True, allow_external=allow_external, memory_limit=memory_limit)
    with closing(opened) as con, PhaseProgress() as progress:
        is_path = subject.lower().endswith((".yaml", ".yml"))
        asked = resolve_task(con, current_catalog(con), subject, "leakcheck") if is_path else subject
        found = leakcheck(
            con,
            asked,
            seeds=seeds,
            known_columns=known_columns,
            quick=quick,
            progress=progress,
            allow_external=allow_external,
            label_timeout_seconds=label_timeout,
        )
    if form == "json":
        write_json(found)
    else:
        write = write_csv if form == "csv" else _write_table
        write(_HEADER, [_cells(row) for row in found.rows])
    bad = [row for row in found.rows if row.verdict != "ok"]
    for row in bad:
        where = f"{row.table}({row.column})" if row.column else row.table
        note(f"{row.verdict}: {where}: {row.advice}")
    outcome = f"{counted(len(bad), 'finding')}" if bad else "nothing leaks"
    note(f"{found.subject}: {outcome}, at {', '.join(found.moments)}")
    if bad:
        raise SystemExit(1)


def _write_table(header: tuple[str, ...], rows: list[tuple[str | None, ...]]) -> None:
    shown = [tuple("-" if cell is None else cell for cell in row) for row in rows]
    write_table(header, shown, right=(3, 4, 5))


def _cells(row: LeakRow) -> tuple[str | None, ...]:
    changed = None if row.changed is None else str(row.changed)
    largest = None if row.largest is None else number(row.largest)
    return row.check, row.table, row.column, str(row.seeds), changed, largest, row.verdict

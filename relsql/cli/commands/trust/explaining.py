"""`relsql explain` and `relsql importance`."""

from __future__ import annotations

import dataclasses
import datetime
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.commands.prompts.query import Statement, run_statement
from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, number, write_json, write_table
from relsql.cli.time_option import as_of_option
from relsql.hints import counted

if TYPE_CHECKING:
    from relsql.cli.commands.prompts.query import Format
    from relsql.tasks.splits import Split

ROUNDED = ("contribution", "logit_contribution", "score")
"""Columns that are rounded for people."""


@click.command("explain", short_help="Show what a score is made of.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.argument("id", nargs=-1)
@as_of_option
@click.option(
    "--level",
    type=click.Choice(["row", "column", "table"]),
    default="row",
    show_default=True,
    help="What each contribution leaves out.",
)
@click.option(
    "--top", type=click.IntRange(min=1), help="How many contributions of each score. Default: 10; 5 without ID."
)
@click.option("--counterfactual", is_flag=True, help="Only contributions that alone cross the threshold.")
@click.option("--threshold", type=float, help="With --counterfactual. Default: that of relsql threshold, or 0.5.")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)
def explain_command(
    file: Path,
    model: str,
    id: tuple[str, ...],
    as_of: datetime.datetime | None,
    level: str,
    top: int | None,
    counterfactual: bool,
    threshold: float | None,
    form: Format,
) -> None:
    """Show what the score of MODEL for the entity ID is made of; without ID, the scores of all entities.

    A contribution is the score minus the score without something: without a linked row, as if it had been deleted, or
    with a value of the entity's own row missing (--level row); with a column missing wherever it is read (column);
    without all rows of a table (table). The largest comes first. A key of several columns is given as several values.

    \b
    relsql explain f1.duckdb dnf 42
    relsql explain f1.duckdb dnf --as-of 2009-06-01 --top 3 --format csv
    relsql explain f1.duckdb dnf 42 --counterfactual --threshold 0.8
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.evaluation.explanations.explain import ExplainOptions, explain_query

    with closing(open_database(file, read_only=True)) as con:
        query = explain_query(con, model, id, ExplainOptions(as_of, level, top, counterfactual, threshold))
        if form == "table":
            rounded = (f"system.main.round({name}, 4) AS {name}" for name in ROUNDED)
            query = f"SELECT * EXCLUDE (table_name, as_of) REPLACE ({', '.join(rounded)}) FROM ({query})"
        run_statement(con, Statement(query, reads=True, selects=True), form)


@click.command("importance", short_help="Show what each table and column brings.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--split", type=click.Choice(["val", "test", "train"]), default="val", show_default=True, help="Labels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@label_options
def importance_command(
    file: Path,
    model: str,
    split: Split,
    as_json: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Show what each table and each column brings to the scores of MODEL.

    Each label of the split is scored as it is, without the rows of each table, and with each column missing. The gain
    is how much better the metric is with it; its interval comes from resampling entities.
    """
    opened = open_for_labels(file, read_only=True, allow_external=allow_external, memory_limit=memory_limit)
    with closing(opened) as con:
        from relsql.evaluation.explanations.importance import importance

        found = importance(con, model, split, allow_external=allow_external, label_timeout_seconds=label_timeout)
    if as_json:
        write_json([dataclasses.asdict(each) for each in found])
        return
    if found:
        note(f"{found[0].metric} {number(found[0].whole)} on {counted(found[0].labels, 'label')} of {split}")
    rows = [
        (each.table, each.column or "(all rows)", number(each.gain), " .. ".join(map(number, each.interval)), each.path)
        for each in found
    ]
    write_table(("table", "column", "gain", "95% interval", "path"), rows, right=(2, 3))

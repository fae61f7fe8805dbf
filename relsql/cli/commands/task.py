"""`relsql task`: what a task asks, and the labels that it gets."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, number, write_json, write_table

if TYPE_CHECKING:
    from relsql.tasks.summary import TaskSummary


LINE = "line"
"""The name of a task that was given as a line and is not stored."""


@click.command("task", short_help="Show the labels of each split of a task.")
@click.argument("file", type=DatabasePath())
@click.argument("task")
@click.option("--show-sql", is_flag=True, help="Print the label query only; nothing is computed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@label_options
def task_command(
    file: Path,
    task: str,
    show_sql: bool,
    as_json: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Show TASK and its labels: the number per split, the timestamps and why they were chosen, and five examples.

    TASK is the name of a task in FILE, the path of a task manifest (.yaml), or a question in one line; the last two are
    not stored. docs/tasks.md describes all fields of a task, and what a line can ask.

    \b
    relsql task f1.duckdb driver-dnf
    relsql task shop.duckdb "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id" --show-sql
    """  # noqa: D301
    from relsql.cli.commands.training import resolve_task
    from relsql.database.names import current_catalog
    from relsql.schema.reading import read_schema
    from relsql.tasks.labels.label_findings import label_findings
    from relsql.tasks.labels.label_sandbox import LabelLimits
    from relsql.tasks.summary import summarize_task

    limits = LabelLimits(allow_external, label_timeout)
    opened = open_for_labels(file, read_only=True, allow_external=allow_external, memory_limit=memory_limit)
    with closing(opened) as con:
        catalog = current_catalog(con)
        schema = read_schema(con, catalog)
        definition = resolve_task(con, catalog, task, LINE).resolved(schema)
        if show_sql:
            click.echo(definition.label_sql.strip())
            return
        summary = summarize_task(con, catalog, schema, definition, limits=limits)
        findings = label_findings(con, catalog, schema, summary.task, summary.splits, limits=limits)
    if as_json:
        write_json(_fields(summary) | {"findings": findings})
        return
    _write(summary)
    for finding in findings:
        note(str(finding))


def _write(summary: TaskSummary) -> None:
    from relsql.tasks.summary import split_lines

    task = summary.task
    click.echo(f"task {task.name}: {task.task_type} of {task.entity_table}({task.entity_col}), {task.moment}\n")
    click.echo("\n".join(split_lines(task, summary.splits, summary.reasons)))
    for split, problem in summary.problems.items():
        note(f"{split}: {problem}")
    rows = [(_shown(entity), str(as_of), _shown(label)) for entity, as_of, label in summary.examples]
    click.echo("\nexamples, of the latest training labels")
    write_table((task.entity_col, task.time_col, task.target_col), rows, right=(0, 2))
    click.echo(f"\nsql\n{task.sql.strip()}")


def _shown(value: object) -> str:
    """An entity, whose key may have several columns, or a label."""
    if isinstance(value, float):
        return number(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _fields(summary: TaskSummary) -> dict[str, object]:
    """A summary as the JSON object that `relsql task --json` prints."""
    return {
        "task": summary.task.to_manifest(),
        "sql": summary.task.sql,
        "splits": list(summary.splits),
        "reasons": dict(summary.reasons),
        "problems": dict(summary.problems),
        "examples": [{"entity": entity, "as_of": as_of, "label": label} for entity, as_of, label in summary.examples],
    }

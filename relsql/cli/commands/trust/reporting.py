"""`relsql card` and `relsql report`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, write_json
from relsql.errors import train_extra

if TYPE_CHECKING:
    from relsql.tasks.splits import Split


@click.command("card", short_help="Describe a model, its data and its limits.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--markdown", "form", flag_value="markdown", default="markdown", help="Print Markdown, the default.")
@click.option("--json", "form", flag_value="json", help="Print JSON, with all digests in full.")
def card_command(file: Path, model: str, form: str) -> None:
    """Print the card of MODEL: its question, data, metrics, findings, intended use, limits and digests.

    The tables that it reads are counted and hashed as they are now. Nothing is written.

    \b
    relsql card f1.duckdb dnf > dnf.md
    """  # noqa: D301
    from relsql.database.connections import foreign_database
    from relsql.reports.model_card import model_card

    with foreign_database(file) as (con, catalog):
        card = model_card(con, model, catalog=catalog)
    if form == "json":
        write_json(card)
    else:
        click.echo(card.markdown(), nl=False)


@click.command("report", short_help="Write a page with charts about a model.")
@click.argument("file", type=DatabasePath())
@click.argument("model", required=False)
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="HTML", help="The file to write.")
@click.option("--schema", "of_schema", is_flag=True, help="Show tables and links of FILE instead of a model.")
@click.option("--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True, help="Labels.")
@click.option(
    "--importance/--no-importance",
    default=None,
    help="Score the labels without each table and column. Default: if that is at most 100,000 scores.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
@label_options
def report_command(
    file: Path,
    model: str | None,
    output: Path,
    of_schema: bool,
    split: Split,
    importance: bool | None,
    overwrite: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Write one self-contained HTML file about MODEL: it opens anywhere, without scripts or requests.

    It shows the question, the tables, the labels over time, the metrics of the model and a baseline, charts of scores
    and labels, the importance of each table and column, five explained scores and the card. Files that relsql report
    did not write are never replaced.

    \b
    relsql report f1.duckdb dnf --output dnf.html
    relsql report f1.duckdb --schema --output schema.html
    """  # noqa: D301
    if of_schema == (model is not None):
        raise click.UsageError("Give either MODEL or --schema.")
    if model is None:
        _write_schema(file, output, overwrite)
        return
    opened = open_for_labels(file, read_only=True, allow_external=allow_external, memory_limit=memory_limit)
    with train_extra("relsql report"), closing(opened) as con:
        from relsql.reports.material import ReportOptions
        from relsql.reports.report import report
        from relsql.tasks.labels.label_sandbox import LabelLimits

        def took(what: str, seconds: float) -> None:
            note(f"{what}: {seconds:.1f} s")

        limits = LabelLimits(allow_external, label_timeout)
        options = ReportOptions(split, importance=importance, limits=limits, progress=took)
        report(con, model, output, options=options, overwrite=overwrite)
    click.echo(output)


def _write_schema(file: Path, output: Path, overwrite: bool) -> None:
    from relsql.database.connections import foreign_database
    from relsql.reports.report import schema_report

    with foreign_database(file) as (con, catalog):
        schema_report(con, output, catalog=catalog, overwrite=overwrite)
    click.echo(output)

"""`relsql card` and `relsql report`."""

from __future__ import annotations

from pathlib import Path

import click

from relsql.cli.output import DatabasePath, write_json


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

"""`relsql refresh`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.output import DatabasePath, note, write_json
from relsql.cli.progress import PhaseProgress


@click.command("refresh", short_help="Embed the rows that are new since training.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--prune", is_flag=True, help="Remove embeddings of texts that no row has any more.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads to use. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def refresh_command(file: Path, model: str, prune: bool, threads: int | None, as_json: bool) -> None:
    """Embed and store the rows that MODEL reads and that have no stored embedding yet.

    Scores do not change but become faster, because each process has to encode row texts without a stored embedding.
    Identical texts are encoded once. Damaged embeddings are encoded again. If the command is interrupted, finished work
    is kept and the next run continues from there. The result is one line: name, version, and the numbers of rows, texts
    and new embeddings.

    \b
    relsql refresh f1.duckdb dnf
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.scoring.refresh import refresh

    with closing(open_database(file)) as con, PhaseProgress() as progress:
        on_interrupt("what was embedded so far is kept; run the command again to continue")
        done = refresh(con, model, prune=prune, threads=threads, progress=progress)
    if as_json:
        write_json(done)
        return
    if not done.rows:
        note(f"model '{model}' reads no row with text")
    figures = {"rows": done.rows, "texts": done.texts, "new": done.new}
    figures |= {"repaired": done.repaired} if done.repaired else {}
    figures |= {"pruned": done.pruned} if prune else {}
    counts = (f"{name}={value}" for name, value in figures.items())
    click.echo("\t".join([done.model, str(done.version), *counts, f"seconds={done.seconds:.1f}"]))

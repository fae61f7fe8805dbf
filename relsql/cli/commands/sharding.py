"""`relsql shard-score`."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.output import note, write_json
from relsql.cli.progress import PhaseProgress
from relsql.cli.time_option import timestamp
from relsql.hints import counted


def _shard(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Parse `2/5`, the second of five parts."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value!r} is not a part such as 1/5, 2/5 .. 5/5")
    return int(match[1]), int(match[2])


@click.command("shard-score", short_help="Score Parquet files in parts, one process each.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--tables", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The files of the tables."
)
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), metavar="PATH", help="The folder of the scores."
)
@click.option("--as-of", "as_of", required=True, callback=timestamp, metavar="TIME", help="The moment of the scores.")
@click.option("--shards", type=click.IntRange(min=1), metavar="N", help="Number of parts.")
@click.option("--shard", callback=_shard, metavar="I/N", help="Only part I of N, 1/N to N/N, for a scheduler.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of each process. Default: the cores, divided.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def shard_score_command(
    bundle: Path,
    tables: Path,
    into: Path,
    as_of: datetime.datetime,
    shards: int | None,
    shard: tuple[int, int] | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Score every entity of Parquet files with BUNDLE, a folder that `relsql export` wrote.

    DIR has TABLE.parquet, or a folder TABLE with Parquet files, for each table that the model reads. Entities are
    divided into N parts by a hash of their key. Each part is one file in PATH, which appears when it is complete. An
    existing part is not computed again, so the same command continues a run that was stopped.

    \b
    relsql shard-score model/ --tables lake/ --as-of 2009-06-01 --shards 8 --into scores/
    relsql shard-score model/ --tables lake/ --as-of 2009-06-01 --shard 3/8 --into scores/
    """  # noqa: D301
    from relsql.shards.shard_score import shard_score

    part, total = shard or (None, shards)
    if total is None:
        raise click.UsageError("Missing option --shards N, or --shard I/N.")
    if shards not in (None, total):
        raise click.UsageError(f"--shards {shards} and --shard {part}/{total} contradict each other.")
    on_interrupt("finished parts are kept; the same command continues")
    with PhaseProgress() as progress:
        done = shard_score(
            bundle, tables, into, as_of=as_of, shards=total, shard=part, threads=threads, progress=progress
        )
    note(f"{counted(done.rows, 'score')} in {into}, {done.computed} of {counted(done.shards, 'part')} computed now")
    if done.missing:
        note(f"{counted(done.missing, 'part')} missing")
    if as_json:
        write_json(done)
    else:
        figures = (f"{key}={getattr(done, key)}" for key in ("shards", "computed", "missing", "rows"))
        click.echo("\t".join([done.model, str(done.version), *figures]))

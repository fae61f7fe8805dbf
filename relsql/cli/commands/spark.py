"""`relsql spark-score`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.output import note, write_json
from relsql.cli.time_option import timestamp
from relsql.hints import counted


@click.command("spark-score", short_help="Score tables on Spark, or on Sail.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--tables", type=click.Path(path_type=Path), metavar="DIR", help="The Parquet files of the tables.")
@click.option("--catalog", metavar="NAME", help="A catalogue or schema with the tables, in place of --tables.")
@click.option("--into", required=True, metavar="PATH", help="The folder of the scores, which must be new.")
@click.option("--as-of", "as_of", required=True, callback=timestamp, metavar="TIME", help="The moment of the scores.")
@click.option("--remote", metavar="URL", help="A server of Spark Connect, sc://HOST. Default: an engine here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def spark_score_command(
    bundle: Path,
    tables: Path | None,
    catalog: str | None,
    into: str,
    as_of: datetime.datetime,
    remote: str | None,
    as_json: bool,
) -> None:
    """Score every entity on Spark with BUNDLE, a folder that `relsql export` wrote.

    DIR has TABLE.parquet, or a folder TABLE with Parquet files, for each table that the model reads. PATH appears when
    all scores are in it. Without --remote, Sail runs in this process if it is installed, `pip install 'relsql[spark]'`;
    else Spark runs on this machine, which needs Java.

    \b
    relsql spark-score model/ --tables lake/ --as-of 2009-06-01 --into scores/
    relsql spark-score model/ --catalog lake.f1 --as-of 2009-06-01 --into s3a://bucket/scores --remote sc://spark:15002
    """  # noqa: D301
    from relsql.spark.jobs import spark_score

    if (tables is None) == (catalog is None):
        raise click.UsageError("Give --tables DIR or --catalog NAME.")
    on_interrupt("nothing was written")
    done = spark_score(bundle, into, as_of=as_of, tables=tables, catalog=catalog, remote=remote)
    note(f"{counted(done.rows, 'score')} in {into}, computed by an engine of version {done.engine}")
    if as_json:
        write_json(done)
    else:
        click.echo("\t".join([done.model, str(done.version), f"rows={done.rows}"]))

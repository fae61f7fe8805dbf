"""Measure what scores in parts cost: `python -m benchmarks.scale.shards`.

The database is the variant hub: customers with 20 orders each, and one shop with 100,000 of them. CPU seconds are those
of whole processes on one DuckDB thread. They include the start, which the row *start* measures alone:

    start              imports, reading the model, attaching it
    one process        all customers of the database by predict_churn_batch
    + messages before  the same, with the messages of hubs in a table that is computed first
    prepare            what parts share: the model, messages of hubs, the orders divided
    parts              all parts, one process each

The scores of parts are compared with those of one process.
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import duckdb

from benchmarks.data.problems import DEFAULT_CACHE, cache_folder
from benchmarks.data.shop import SCHEMAS, Size, create
from benchmarks.speed.run import TRAINED_ON, train_model
from benchmarks.speed.timing import in_new_process, peak_bytes
from relsql.bundles.export_model import export_model
from relsql.bundles.import_model import import_model
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.registry.models import active_card, read_models
from relsql.shards.prepare import prepare
from relsql.shards.score_part import score_part
from relsql.shards.shard_score import shard_request
from relsql.sql_text import literal
from udfs.attach import attach
from udfs.macros import batch_sql

AS_OF = datetime.datetime(2024, 1, 1)
VARIANT = "hub"
MODEL = "churn"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of a process, wall seconds of its work, and its largest resident memory."""

    cpu_seconds: float
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Files:
    """The files of the benchmark."""

    database: Path
    bundle: Path
    tables: Path
    scores: Path
    whole: Path


def measured(work: Callable[..., None], *arguments: object) -> Cost:
    """Do work in a process of its own."""
    return in_new_process(_measured, work, arguments)


def _measured(work: Callable[..., None], arguments: tuple[object, ...]) -> Cost:
    start = time.perf_counter()
    work(*arguments)
    return Cost(time.process_time(), time.perf_counter() - start, peak_bytes())


def start(files: Files) -> None:
    """Only open the database and attach the model."""
    with closing(_opened(files)):
        pass


def one_process(files: Files, messages_before: bool) -> None:
    """Score all customers of the database into a file."""
    with closing(_opened(files)) as con:
        catalog = current_catalog(con)
        card = active_card(con, catalog, MODEL)
        gather, given = card.gather(catalog), {}
        if messages_before:
            for i, (name, query) in enumerate(gather.given_queries(f"SELECT {literal(AS_OF)} AS _as_of").items()):
                given[name] = f"temp.given{i}"
                con.execute(f"CREATE TEMP TABLE given{i} AS {query}")
        query = batch_sql(card, catalog, moment=literal(AS_OF), gather=gather.with_given(given))
        con.execute(f"COPY ({query}) TO {literal(str(files.whole))} (FORMAT parquet)")


def _opened(files: Files) -> duckdb.DuckDBPyConnection:
    con = open_database(files.database, read_only=True)
    con.execute("SET threads = 1")
    attach(con)
    return con


def prepare_parts(files: Files, shards: int) -> None:
    """Compute what the parts share."""
    request = shard_request(files.bundle, files.tables, files.scores, AS_OF, shards)
    request.require_own_folder()
    prepare(request, threads=1)


def one_part(files: Files, shards: int, part: int) -> None:
    """Score one part."""
    score_part(shard_request(files.bundle, files.tables, files.scores, AS_OF, shards), part, threads=1)


def create_files(folder: Path, customers: int) -> Files:
    """The database with a model, its bundle, and its tables as Parquet files."""
    size = Size(customers, VARIANT)
    model = train_model(folder, Size(TRAINED_ON, VARIANT))
    work = folder / f"shards-{customers}"
    files = Files(*(work / name for name in ("hub.duckdb", "model", "tables", "scores", "whole.parquet")))
    shutil.rmtree(files.scores, ignore_errors=True)
    if files.tables.exists():
        return files
    shutil.rmtree(work, ignore_errors=True)
    create(files.database, size)
    with closing(open_database(model, read_only=True)) as con:
        export_model(con, MODEL, files.bundle)
    with closing(open_database(files.database)) as con:
        if not read_models(con, current_catalog(con)):
            import_model(con, files.bundle)
        drafts = work / "drafts"
        drafts.mkdir()
        for table in SCHEMAS[VARIANT][0]:
            con.execute(f"COPY {table} TO {literal(str(drafts / f'{table}.parquet'))} (FORMAT parquet)")
        drafts.rename(files.tables)
    return files


def largest_difference(files: Files) -> float:
    """Between the scores of parts and of one process; infinite if they have other customers, statuses or evidence."""
    same = " AND ".join(f"p.{column} = w.{column}" for column in ("status", "evidence", "as_of"))
    query = f"""
        SELECT count(*), count(*) FILTER (WHERE {same}), max(abs(p.score - w.score))
        FROM read_parquet('{files.scores}/*.parquet') p FULL JOIN '{files.whole}' w USING (customer_id)"""
    with duckdb.connect() as con:
        [(rows, equal, difference)] = con.execute(query).fetchall()
    return float(difference) if rows == equal else float("inf")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--customers", default=100_000, help="Customers, with 20 orders each.")
@click.option("--shards", default=4, type=click.IntRange(min=1), help="Number of parts.")
@click.option("--repeats", default=3, type=click.IntRange(min=1), help="Runs; the one with the least CPU time counts.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(customers: int, shards: int, repeats: int, cache: Path) -> None:
    """Measure CPU time and memory of parts, and compare their scores with those of one process."""
    files = create_files(cache_folder(cache) / "speed", customers)
    found: dict[str, list[Cost]] = {}
    for _ in range(repeats):
        shutil.rmtree(files.scores, ignore_errors=True)
        costs = {
            "start": measured(start, files),
            "+ messages before": measured(one_process, files, True),
            "one process": measured(one_process, files, False),
            "prepare": measured(prepare_parts, files, shards),
            "parts": _sum([measured(one_part, files, shards, part) for part in range(shards)]),
        }
        for name, cost in costs.items():
            found.setdefault(name, []).append(cost)
    best = {name: min(costs, key=lambda cost: cost.cpu_seconds) for name, costs in found.items()}
    click.echo(
        f"{customers:,} customers, {shards} parts\n\n| row | CPU s | wall s | peak GB |\n| --- | --- | --- | --- |"
    )
    for name in ("start", "one process", "+ messages before", "prepare", "parts"):
        cost = best[name]
        click.echo(f"| {name} | {cost.cpu_seconds:.1f} | {cost.seconds:.1f} | {cost.peak_bytes / 1e9:.2f} |")
    ratio = (best["prepare"].cpu_seconds + best["parts"].cpu_seconds) / best["one process"].cpu_seconds
    click.echo(f"\nprepare and parts / one process: {ratio:.2f}")
    click.echo(f"largest difference: {largest_difference(files):.1e}")


def _sum(costs: list[Cost]) -> Cost:
    return Cost(
        sum(cost.cpu_seconds for cost in costs), sum(c.seconds for c in costs), max(c.peak_bytes for c in costs)
    )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.scale.shards")

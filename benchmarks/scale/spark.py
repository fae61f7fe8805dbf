"""Measure what scores on Spark cost: `python -m benchmarks.scale.spark`, with Sail or PySpark installed.

The database is that of `benchmarks.scale.shards`: customers with 20 orders each, and one shop with 100,000 of them. CPU
seconds are those of whole processes and of all that they start, on as many threads as there are cores:

    start              imports, the engine, reading the model and comparing the tables
    all customers      relsql.spark.score of all customers, into a Parquet file
    twice              the same two times in a session, to see what it costs when it is warm
    a million more     all customers, one of which has a million more orders

Scores are compared with those of one DuckDB thread. Spark says what it shuffles, Sail does not.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import duckdb

import relsql.spark
from benchmarks.data.problems import DEFAULT_CACHE, cache_folder
from benchmarks.scale.shards import AS_OF, Files, create_files, measured, one_process
from benchmarks.speed.timing import in_new_process, peak_bytes
from relsql.database.connections import open_database
from relsql.spark.sessions import open_session

MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class EngineCost:
    """CPU seconds of a process and its children, wall seconds of its work, its largest memory, bytes it shuffled."""

    engine: str
    cpu_seconds: float
    seconds: float
    peak_bytes: int
    shuffled: int


def in_engine(work: Callable[..., None], *arguments: object) -> EngineCost:
    """Do work in a session of a process of its own."""
    return in_new_process(_in_engine, work, arguments)


def _in_engine(work: Callable[..., None], arguments: tuple[object, ...]) -> EngineCost:
    start = time.perf_counter()
    with open_session() as session:
        work(session, *arguments)
        seconds, shuffled = time.perf_counter() - start, _shuffled(session)
        engine = "Sail" if _is_connected(session) else "Spark"
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() + children.ru_utime + children.ru_stime
    return EngineCost(engine, cpu, seconds, max(peak_bytes(), children.ru_maxrss * 1024), shuffled)


def _is_connected(session: Any) -> bool:
    return type(session).__module__.startswith("pyspark.sql.connect")


def _shuffled(session: Any) -> int:
    """Bytes that tasks have written for others; 0 where the engine does not say."""
    if _is_connected(session):
        return 0
    executors = session.sparkContext._jsc.sc().statusStore().executorList(True)
    return sum(executors.apply(i).totalShuffleWrite() for i in range(executors.size()))


def start(session: Any, files: Files) -> None:
    """Only start the engine and register the model."""
    _model(session, files)


def all_customers(session: Any, files: Files, scores: str, times: int) -> None:
    """Score all customers into a folder."""
    model = _model(session, files)
    for _ in range(times):
        model.score(AS_OF).write.mode("overwrite").parquet(scores)


def _model(session: Any, files: Files) -> relsql.spark.SparkModel:
    tables = {file.stem: session.read.parquet(str(file)) for file in sorted(files.tables.iterdir())}
    return relsql.spark.register(session, files.bundle, tables=tables)


def with_many_orders(files: Files, folder: Path) -> Files:
    """The files with a million more orders of one customer."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    many = Files(folder / "hub.duckdb", files.bundle, folder / "tables", folder / "scores", folder / "whole.parquet")
    shutil.copy(files.database, many.database)
    shutil.copytree(files.tables, many.tables)
    with closing(open_database(many.database)) as con:
        con.execute(f"""
            INSERT INTO orders BY NAME
            SELECT * REPLACE (1000000000 + i AS order_id, ordered - to_seconds(i // 60) AS ordered)
            FROM (FROM orders ORDER BY order_id LIMIT 1), range({MANY}) t(i)""")
        con.execute(f"COPY orders TO '{many.tables / 'orders.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 100000)")
    return many


def largest_difference(files: Files, scores: str) -> float:
    """Between the scores of the engine and of DuckDB; infinite if other columns differ."""
    same = " AND ".join(f"p.{column} = w.{column}" for column in ("status", "evidence", "as_of"))
    query = f"""
        SELECT count(*), count(*) FILTER (WHERE {same}), max(abs(p.score - w.score))
        FROM read_parquet('{scores}/*.parquet') p FULL JOIN '{files.whole}' w USING (customer_id)"""
    with duckdb.connect() as con:
        [(rows, equal, difference)] = con.execute(query).fetchall()
    return float(difference) if rows == equal else float("inf")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--customers", default=100_000, help="Customers, with 20 orders each.")
@click.option("--many/--no-many", default=True, help="Also give one customer a million orders.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(customers: int, many: bool, cache: Path) -> None:
    """Measure CPU time, memory and shuffles of an engine, and compare its scores with those of DuckDB."""
    files = create_files(cache_folder(cache) / "speed", customers)
    scores = str(files.tables.parent / "spark-scores")
    duck = measured(one_process, files, False)
    click.echo(
        f"{customers:,} customers\n\n| row | CPU s | wall s | peak GB | shuffled MB |\n| --- | --- | --- | --- | --- |"
    )
    click.echo(f"| DuckDB, one thread | {duck.cpu_seconds:.1f} | {duck.seconds:.1f} | {duck.peak_bytes / 1e9:.2f} | |")
    _echo("start", in_engine(start, files))
    _echo("all customers", in_engine(all_customers, files, scores, 1))
    click.echo(f"largest difference: {largest_difference(files, scores):.1e}")
    _echo("all customers, twice", in_engine(all_customers, files, scores, 2))
    if many:
        files = with_many_orders(files, files.tables.parent / "many")
        measured(one_process, files, False)
        _echo("a million more orders", in_engine(all_customers, files, scores, 1))
        click.echo(f"largest difference: {largest_difference(files, scores):.1e}")


def _echo(name: str, cost: EngineCost) -> None:
    figures = f"{cost.cpu_seconds:.1f} | {cost.seconds:.1f} | {cost.peak_bytes / 1e9:.2f} | {cost.shuffled / 1e6:.0f}"
    click.echo(f"| {cost.engine}: {name} | {figures} |")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.scale.spark")

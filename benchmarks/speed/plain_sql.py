"""Measure models in plain SQL, in DuckDB's command line: `python -m benchmarks.speed.plain_sql`.

The databases are rel-f1, if its data are available, and generated customers with 20 orders each. relsql publishes the
models; the `duckdb` binary of this Python environment (package duckdb-cli) runs each query in a separate process. Times
are the command line's, the median of several runs after a first one. Scores are compared with those of onnxruntime on
the same files.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import duckdb

from benchmarks.data.problems import DEFAULT_CACHE, cache_folder
from benchmarks.data.shop import Size, create
from benchmarks.speed.formula1 import train_formula1
from benchmarks.speed.report import Target, target_lines
from benchmarks.speed.run import TRAINED_ON, has_formula1, train_model
from relsql.database.connections import open_database
from relsql.publishing.database_copy import copy_database
from relsql.publishing.publish import publish
from relsql.sql_text import ident, literal
from udfs.attach import connect

BINARY = Path(sys.executable).with_name("duckdb")
STORAGE_VERSION = "v1.5.0"
_TIME = re.compile(r"^Run Time \(s\): real ([0-9.]+)", re.MULTILINE)


def seconds(file: Path, query: str, repeats: int) -> float:
    """Median seconds of a query in the command line, after a first run."""
    script = ".timer on\n" + f"{query};\n" * (1 + repeats)
    done = subprocess.run([BINARY, "-readonly", file], input=script, capture_output=True, text=True, check=False)
    times = [float(found) for found in _TIME.findall(done.stdout)]
    if done.returncode or len(times) != 1 + repeats:
        raise click.ClickException(f"'{query}' failed: {done.stderr.strip() or done.stdout.strip()}")
    return statistics.median(times[1:])


def largest_difference(file: Path, model: str, key: str, table: str) -> float:
    """Largest difference between the scores of the plain command line and of onnxruntime, over all entities."""
    query = f"SELECT {ident(key)} AS id, predict_{model}({ident(key)}) AS score FROM {ident(table)}"
    csv = file.with_suffix(".csv")
    script = f"COPY ({query}) TO {literal(str(csv))} (HEADER);\n"
    subprocess.run([BINARY, "-readonly", file], input=script, capture_output=True, text=True, check=True)
    with connect(file, read_only=True) as con:
        compared = (
            f"SELECT max(abs(p.score - o.score)), count(*) FROM ({query}) o JOIN {literal(str(csv))} p USING (id)"
        )
        [(difference, rows)] = con.execute(compared).fetchall()
        [(entities,)] = con.execute(f"SELECT count(*) FROM ({query}) WHERE score IS NOT NULL").fetchall()
    csv.unlink()
    return float(difference) if rows >= entities else float("inf")


def published_copy(source: Path, target: Path, model: str) -> Path:
    """A copy of a database for DuckDB 1.5 with its model published; an existing copy is reused."""
    if not target.exists():
        copy_database(source, target, STORAGE_VERSION)
        with closing(open_database(target)) as con:
            publish(con, model)
    return target


def customers_with_model(folder: Path, customers: int) -> Path:
    """A generated database of the given size, with the model that was trained on a small one."""
    path = folder / f"plain-source-{customers}.duckdb"
    if not path.exists():
        trained = train_model(folder, Size(TRAINED_ON, "one-hop"))
        create(path, Size(customers, "one-hop"))
        with duckdb.connect(str(path)) as con:
            con.execute(f"ATTACH {literal(str(trained))} AS trained (READ_ONLY)")
            tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'trained' AND schema_name = 'relsql'"
            con.execute("CREATE SCHEMA IF NOT EXISTS relsql")
            for (table,) in con.execute(tables).fetchall():
                name = f"relsql.{ident(table)}"
                con.execute(f"CREATE OR REPLACE TABLE {name} AS FROM trained.{name}")
    return path


def measure(folder: Path, customers: int, repeats: int) -> Iterator[tuple[str, float, Target | None]]:
    """Names, figures and targets of all rows."""
    if has_formula1():
        file = published_copy(train_formula1(folder), folder / "plain-rel-f1.duckdb", "dnf")
        calls = "SELECT count(predict_dnf(driverId)) FROM drivers"
        name = "rel-f1, 857 drivers by predict_dnf(driverId), s"
        yield with_target(name, "<=", 0.4, seconds(file, calls, repeats))
        batch = seconds(file, "SELECT count(score) FROM predict_dnf_batch()", repeats)
        yield with_target("rel-f1, 857 drivers by predict_dnf_batch(), s", "<=", 0.4, batch)
        one = seconds(file, "SELECT predict_dnf(1)", 4 * repeats)
        yield with_target("rel-f1, one driver, s", "<=", 0.1, one)
        difference = largest_difference(file, "dnf", "driverId", "drivers")
        yield with_target("rel-f1, difference from onnxruntime", "<=", 1e-5, difference)
    source = customers_with_model(folder, customers)
    file = published_copy(source, folder / f"plain-{customers}.duckdb", "churn")
    batch = seconds(file, "SELECT count(score) FROM predict_churn_batch()", repeats)
    yield with_target(f"{customers} customers by predict_churn_batch(), per second", ">=", 10_000, customers / batch)
    yield f"one of {customers} customers, s", seconds(file, "SELECT predict_churn(1)", 4 * repeats), None


def with_target(name: str, sign: str, wanted: float, measured: float) -> tuple[str, float, Target]:
    """One row."""
    return name, measured, Target(name, sign, wanted, measured)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--customers", default=100_000, type=click.IntRange(min=1), help="Generated customers.")
@click.option("--repeats", default=5, type=click.IntRange(min=1), help="Runs of which the median counts.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(customers: int, repeats: int, cache: Path) -> None:
    """Time plain SQL in DuckDB's command line, and compare with the targets."""
    targets = []
    for name, measured, target in measure(cache_folder(cache) / "speed", customers, repeats):
        print(f"{name}: {measured:.4g}", file=sys.stderr)
        targets += [target] if target else []
    click.echo(target_lines(targets))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed.plain_sql")

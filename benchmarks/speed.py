"""Measure how fast scoring is, and how far it is from the joins it needs: `python -m benchmarks.speed`.

Every figure is taken in a process of its own. Ratios are taken within one run; run it on an idle machine.

    gather       the gather query alone, all that the score function would be given
    network      the score function alone, on rows gathered before, on one thread
    batch        SELECT ... FROM predict_churn_batch(as_of := ...), one moment for all
    own as_of    SELECT predict_churn(id, as_of := ...), as_of by row
    hundred, one the same call for 100 entities, and for one
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import duckdb
import msgspec

from benchmarks.problems import DEFAULT_CACHE, cache_folder
from benchmarks.speed_data import CHURN, LATEST, VARIANTS, Size, create
from benchmarks.timing import Timing, Work, timed
from relsql.gather import AS_OF, ENTITY
from relsql.registry import active_card, read_models
from relsql.schema import current_catalog
from relsql.sql import literal
from relsql.store import open_database
from relsql.train_options import TrainOptions
from udfs.attach import attach_model, load_scorer
from udfs.macros import score_argument

MODEL = "churn"
TRAINED_ON = 10_000
CHUNK = 2_048
"""Rows that DuckDB hands to a function at once."""

DATA = "speed_data"


@dataclass(frozen=True, slots=True)
class Target:
    """One figure beside what is wanted of it."""

    name: str
    wanted: str
    measured: float
    met: bool


def connect(model: Path, data: Path, threads: int) -> duckdb.DuckDBPyConnection:
    """A connection on which the macros of the model read the tables of another file."""
    con = open_database(model, read_only=True)
    con.execute(f"SET threads = {threads}")
    con.execute("SET enable_progress_bar = false")
    con.execute(f"ATTACH {literal(str(data))} AS {DATA} (READ_ONLY)")
    catalog = current_catalog(con)
    attach_model(con, catalog, active_card(con, catalog, MODEL), tables_from=DATA)
    return con


def _counting(con: duckdb.DuckDBPyConnection, query: str) -> Work:
    """Runs a query of one number, how many entities it scored."""

    def work() -> int:
        return int(con.execute(query).fetchall()[0][0])

    return work


def prepare_query(model: Path, data: Path, threads: int, query: str) -> Work:
    """A query over `predict_churn`."""
    return _counting(connect(model, data, threads), query)


def prepare_gather(model: Path, data: Path, threads: int) -> Work:
    """The gather query, its result read to the last number."""
    con = connect(model, data, threads)
    return _counting(con, f"SELECT count(hash(seed_rows)) FROM ({_gather_sql(con)})")


def prepare_network(model: Path, data: Path, threads: int) -> Work:
    """The score function on gathered rows, chunk by chunk as DuckDB calls it."""
    con = connect(model, data, threads)
    catalog = current_catalog(con)
    scorer = load_scorer(con, catalog, active_card(con, catalog, MODEL))
    column = con.sql(_gather_sql(con)).to_arrow_table().column("seed_rows").combine_chunks()

    def work() -> int:
        return sum(len(scorer.score(column.slice(start, CHUNK))) for start in range(0, len(column), CHUNK))

    return work


def _gather_sql(con: duckdb.DuckDBPyConnection) -> str:
    card = active_card(con, current_catalog(con), MODEL)
    seed = f"SELECT customer_id AS {ENTITY}, {LATEST} AS {AS_OF} FROM {DATA}.customers"
    return card.gather(DATA).query(seed, f"{score_argument(card)} AS seed_rows")


def queries(size: Size) -> dict[str, str]:
    """The calls that are timed, by name of the row."""
    customers = f"{DATA}.customers"
    own_as_of = f"as_of := {LATEST} - to_days(CAST(customer_id % 365 AS INTEGER))"
    hundred = f"customer_id % {max(1, size.customers // 100)} = 1"
    return {
        "batch": f"SELECT count(score) FROM predict_{MODEL}_batch(as_of := {LATEST})",
        "own as_of": f"SELECT count(predict_{MODEL}(customer_id, {own_as_of})) FROM {customers}",
        "hundred": f"SELECT count(predict_{MODEL}(customer_id, as_of := {LATEST})) FROM {customers} WHERE {hundred}",
        "one": f"SELECT count(predict_{MODEL}({size.customers // 2}, as_of := {LATEST}))",
    }


def measure(model: Path, folder: Path, size: Size, threads: int, repeats: int) -> dict[str, Timing]:
    """All rows of one database."""
    data = folder / size.file_name
    create(data, size)
    prepared: dict[str, tuple[Callable[..., Work], tuple[Any, ...]]] = {
        "gather": (prepare_gather, ()),
        "network": (prepare_network, ()),
        **{name: (prepare_query, (query,)) for name, query in queries(size).items()},
    }
    found = {}
    for name, (prepare, arguments) in prepared.items():
        often = 4 * repeats if name in ("one", "hundred") else repeats
        found[name] = timed(prepare, model, data, threads, *arguments, repeats=often)
        print(f"{size.variant} {size.customers:,} {name}: {found[name].warm_seconds:.4f} s", file=sys.stderr)
    return found


def train_model(folder: Path, size: Size, options: TrainOptions | None = None) -> Path:
    """The file with the model of a variant, trained on a database of `size`; it is trained once."""
    from relsql.training import train

    path = folder / f"model-{size.file_name}"
    create(path, size)
    with closing(open_database(path)) as con:
        if not read_models(con, current_catalog(con)):
            train(con, CHURN.name, name=MODEL, options=options)
    return path


def table(results: dict[Size, dict[str, Timing]]) -> str:
    """A Markdown table; ratios are to the gather query of the same database."""
    lines = [
        "| database | row | cold s | warm s | entities/s | gather / row | peak GB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, timings in results.items():
        for name, timing in timings.items():
            ratio = f"{timings['gather'].warm_seconds / timing.warm_seconds:.2f}" if timing.entities > 100 else ""
            rate = f"{timing.entities_per_second:,.0f}" if timing.entities > 100 else ""
            lines.append(
                f"| {size.variant}, {size.customers:,} customers | {name} | {timing.cold_seconds:.2f} "
                f"| {timing.warm_seconds:.4f} | {rate} | {ratio} | {timing.peak_bytes / 1e9:.2f} |"
            )
    return "\n".join(lines)


def targets(results: dict[Size, dict[str, Timing]]) -> list[Target]:
    """The goals that these results speak to."""
    one_hop = {size.customers: timings for size, timings in results.items() if size.variant == "one-hop"}
    found = []
    for customers, timings in one_hop.items():
        one = timings["one"].warm_seconds * 1e3
        found.append(Target(f"one of {customers:,} customers, warm, ms", "<= 20", one, one <= 20))
    if 1_000_000 in one_hop:
        batch = one_hop[1_000_000]["batch"]
        rate, peak = batch.entities_per_second, batch.peak_bytes / 1e9
        found.append(Target("1M customers with 20 orders each, per second", ">= 75,000", rate, rate >= 75_000))
        found.append(Target("the same, peak GB", "<= 3", peak, peak <= 3))
    if len(one_hop) > 1:
        few, many = (one_hop[customers]["batch"] for customers in (min(one_hop), max(one_hop)))
        growth = few.entities_per_second / many.entities_per_second
        name = f"cost per customer, {max(one_hop):,} to {min(one_hop):,}"
        found.append(Target(name, "<= 1.3", growth, growth <= 1.3))
    return found


def target_lines(found: list[Target]) -> str:
    """One line per target: wanted, measured, met or missed."""
    return "\n".join(
        f"{target.name}: target {target.wanted}, measured {target.measured:,.2f}, {'met' if target.met else 'missed'}"
        for target in found
    )


def write_json(path: Path, results: dict[Size, dict[str, Timing]], threads: int) -> None:
    """Write all timings."""
    rows = [
        {"variant": size.variant, "customers": size.customers, "row": name, **asdict(timing)}
        for size, timings in results.items()
        for name, timing in timings.items()
    ]
    environment = {"python": platform.python_version(), "duckdb": duckdb.__version__, "threads": threads}
    content = msgspec.json.encode({"environment": environment, "rows": rows})
    path.write_bytes(msgspec.json.format(content, indent=2) + b"\n")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--sizes", default="10000,100000,1000000", help="Numbers of customers, with commas between.")
@click.option("--variants", default=",".join(VARIANTS), help="Databases, see benchmarks/speed_data.py.")
@click.option("--threads", default=2, type=click.IntRange(min=1), help="DuckDB threads.")
@click.option("--repeats", default=5, type=click.IntRange(min=1), help="Warm runs; their median counts.")
@click.option("--out", default=DEFAULT_CACHE / "speed.json", type=click.Path(path_type=Path), help="Results file.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(sizes: str, variants: str, threads: int, repeats: int, out: Path, cache: Path) -> None:
    """Time scoring on generated databases, print ratios and targets, and store the figures."""
    folder = cache_folder(cache) / "speed"
    results = {}
    for variant in variants.split(","):
        if variant not in VARIANTS:
            raise click.BadParameter(f"there is no '{variant}', only {', '.join(VARIANTS)}", param_hint="--variants")
        model = train_model(folder, Size(TRAINED_ON, variant))
        for customers in sorted(int(size) for size in sizes.split(",")):
            size = Size(customers, variant)
            results[size] = measure(model, folder, size, threads, repeats)
    click.echo(f"{table(results)}\n\n{target_lines(targets(results))}")
    write_json(out, results, threads)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed")

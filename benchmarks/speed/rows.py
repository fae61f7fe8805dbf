"""The rows of the speed benchmark on generated databases; each one is timed in a separate process.

A row is a module-level function (`prepare_...`) that prepares the work and returns it as a function to be timed.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from benchmarks.data.shop import LATEST, Size
from benchmarks.speed.shop_model import DATA, MODEL, check_scores, connect
from benchmarks.speed.timing import Work
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.gather.arrays.graph_inputs import Feed
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card, read_artifacts
from relsql.schema.reading import read_schema
from relsql.scoring.score_table import score_into
from relsql.sql_text import ident, literal
from relsql.typing import FloatArray
from udfs.attach import connect as connect_and_attach
from udfs.attach import load_scorer
from udfs.components import Component
from udfs.functions import create_arrow_function
from udfs.macros import score_argument
from udfs.scorer import Scorer

CHUNK = 2_048
"""Number of rows that DuckDB passes to a function at once."""

LOOP_LIMIT = 100_000
"""Number of customers up to which slow rows are measured, and the maximum number for the row `onnxruntime`."""

BY_QUERY = "predict_by_query"
CALLS_PER_STATEMENT = 250_000
"""A statement keeps the gathered rows of all its calls in memory: a million calls over ten tables need over 19 GB."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `prepare(model, data, threads, *arguments)` returns the work; `share` scales its number of repeats."""

    prepare: Callable[..., Work]
    arguments: tuple[Any, ...] = ()
    share: float = 1.0


def rows(size: Size) -> dict[str, Row]:
    """All rows that are measured on a database, by name."""
    found = {
        "gather": Row(prepare_gather),
        "onnxruntime": Row(prepare_onnxruntime),
        "network": Row(prepare_network),
        **{name: Row(prepare_query, (query,), share) for name, (query, share) in queries(size).items()},
        "own as_of": Row(prepare_ranges, (own_as_of_query(), size.customers)),
        "one by index": Row(prepare_indexed, (queries(size)["one"][0],), 4),
        "score into": Row(prepare_job),
        "attach": Row(prepare_attach),
    }
    if size.customers <= LOOP_LIMIT:
        found["query in function"] = Row(prepare_query_in_function, share=0.2)
        found["torch loop"] = Row(prepare_torch_loop, share=0.2)
    return found


def queries(size: Size) -> dict[str, tuple[str, float]]:
    """The calls of the SQL functions, with their share of repeats."""
    hundred = f"customer_id % {max(1, size.customers // 100)} = 1"
    return {
        "batch": (f"SELECT count(score) FROM predict_{MODEL}_batch(as_of := {LATEST})", 1),
        "hundred": (
            f"SELECT count(predict_{MODEL}(customer_id, as_of := {LATEST})) FROM {DATA}.customers WHERE {hundred}",
            4,
        ),
        "one": (f"SELECT count(predict_{MODEL}({size.customers // 2}, as_of := {LATEST}))", 4),
    }


def own_as_of_query() -> str:
    """A call for each customer, with a different as_of per row."""
    own_as_of = f"as_of := {LATEST} - to_days(CAST(customer_id % 365 AS INTEGER))"
    return f"SELECT count(predict_{MODEL}(customer_id, {own_as_of})) FROM {DATA}.customers"


def counting(con: duckdb.DuckDBPyConnection, query: str) -> Work:
    """The work of running a query that returns the number of scored entities."""

    def work() -> int:
        return int(con.execute(query).fetchall()[0][0])

    return work


def prepare_query(model: Path, data: Path, threads: int, query: str) -> Work:
    """A query over `predict_churn`."""
    return counting(connect(model, data, threads), query)


def prepare_ranges(model: Path, data: Path, threads: int, query: str, customers: int) -> Work:
    """A query over `predict_churn` and the table `customers`, in several statements."""
    con, many = connect(model, data, threads), CALLS_PER_STATEMENT
    ranges = [f"customer_id > {start} AND customer_id <= {start + many}" for start in range(0, customers, many)]
    parts = [counting(con, f"{query} WHERE {part}") for part in ranges]
    return lambda: sum(part() for part in parts)


def prepare_indexed(model: Path, data: Path, threads: int, query: str) -> Work:
    """A query over `predict_churn` on a copy of the data with an index on every foreign key."""
    path = _temporary_copy(data)
    with closing(open_database(path)) as con:
        con.execute("SET enable_progress_bar = false")
        for link in read_schema(con, current_catalog(con)).links:
            [column] = link.child_columns
            con.execute(f"CREATE INDEX {ident(f'{link.child}_{column}')} ON {ident(link.child)} ({ident(column)})")
    return prepare_query(model, path, threads, query)


def _temporary_copy(data: Path) -> Path:
    """A copy that is deleted when the process ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(shutil.copy(data, folder.name))


def prepare_job(model: Path, data: Path, threads: int) -> Work:
    """`relsql score --into`: all entities into a table, in chunks. Data and model are copied into one file."""
    con = open_database(_temporary_copy(data))
    con.execute(f"SET threads = {threads}")
    con.execute("SET enable_progress_bar = false")
    con.execute(f"ATTACH {literal(str(model))} AS speed_model (READ_ONLY)")
    names = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'speed_model' AND schema_name = 'relsql'"
    for (name,) in con.execute(names).fetchall():
        con.execute(f"CREATE OR REPLACE TABLE relsql.{ident(name)} AS FROM speed_model.relsql.{ident(name)}")
    con.execute("DETACH speed_model")
    [(as_of,)] = con.execute(f"SELECT {LATEST}").fetchall()
    return lambda: score_into(con, MODEL, "scores", as_of=as_of, overwrite=True).scored


def prepare_gather(model: Path, data: Path, threads: int) -> Work:
    """The gather query; its whole result is read."""
    con = connect(model, data, threads)
    return counting(con, rows_read(_gather_sql(con, messages=False)))


def prepare_network(model: Path, data: Path, threads: int) -> Work:
    """The score function on gathered rows, chunk by chunk as DuckDB calls it."""
    con = connect(model, data, threads)
    catalog = current_catalog(con)
    scorer = load_scorer(con, catalog, active_card(con, catalog, MODEL))
    chunks = _chunks(con.sql(_gather_sql(con)).to_arrow_table())

    def work() -> int:
        return sum(len(scorer.score(chunk)) for chunk in chunks)

    return work


def prepare_onnxruntime(model: Path, data: Path, threads: int) -> Work:
    """The lower bound: onnxruntime alone, on tensors that the score function prepared before."""
    con = connect(model, data, threads)
    catalog = current_catalog(con)
    card = active_card(con, catalog, MODEL)
    scorer = RecordingScorer(card, read_artifacts(con, catalog, card))
    # The gathered text ids refer to the text table of the scorer that the text function calls.
    known = load_scorer(con, catalog, card).texts
    gathered = con.sql(_gather_sql(con, LOOP_LIMIT)).to_arrow_table()
    scorer.texts.add(known.texts, known.embeddings(np.arange(1, len(known) + 1)))
    seeds = sum(len(scorer.score(chunk)) for chunk in _chunks(gathered))
    calls = list(scorer.calls)

    def work() -> int:
        for component, feed in calls:
            Component.__call__(component, feed)
        return seeds

    return work


class RecordingScorer(Scorer):
    """A scorer that records the inputs of its components in `calls`."""

    def __init__(self, card: ModelCard, artifacts: Mapping[str, bytes]) -> None:
        self.calls: list[tuple[Component, Feed]] = []
        super().__init__(card, artifacts)
        # The constructor calls components too.
        self.calls.clear()

    def _component(self, name: str) -> Component:
        return _RecordingComponent(self.card, self._artifacts, name, self.calls)


class _RecordingComponent(Component):
    def __init__(
        self, card: ModelCard, artifacts: Mapping[str, bytes], name: str, calls: list[tuple[Component, Feed]]
    ) -> None:
        super().__init__(card, artifacts, name)
        self.calls = calls

    def __call__(self, feed: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        self.calls.append((self, dict(feed)))
        return super().__call__(feed)


def prepare_attach(model: Path, data: Path, threads: int) -> Work:
    """Opening the model's file and attaching: the first time, including everything that is loaded, and again."""

    def work() -> int:
        connect_and_attach(model, read_only=True).close()
        return 0

    return work


def prepare_query_in_function(model: Path, data: Path, threads: int) -> Work:
    """A Python function over ids that runs its own query to gather their rows, and scores them as the macros do."""
    con = connect(model, data, threads)
    create_query_function(con)
    sample = f"SELECT customer_id, {BY_QUERY}(customer_id) AS score FROM {DATA}.customers WHERE customer_id <= 1_000"
    found = con.sql(sample).to_arrow_table()
    check_scores(con, np.asarray(found["customer_id"]), np.asarray(found["score"]))
    return counting(con, f"SELECT count({BY_QUERY}(customer_id)) FROM {DATA}.customers")


def create_query_function(con: duckdb.DuckDBPyConnection) -> None:
    """Register `predict_by_query(id)` on a connection of `connect`: the score as of `LATEST`.

    It needs DuckDB 2.0: earlier versions hang if a function runs a query.
    """
    catalog = current_catalog(con)
    card = active_card(con, catalog, MODEL)
    scorer = load_scorer(con, catalog, card)
    seed = f"SELECT DISTINCT id AS {ENTITY}, {LATEST} AS {AS_OF} FROM asked"
    gather = card.gather(DATA)
    query = gather.query(seed, f"seed.{ENTITY} AS id, {score_argument(gather)} AS seed_rows")
    lock = threading.Lock()

    def score(ids: pa.Array) -> pa.Array:
        # The calling connection is busy with the calling query, and a cursor must not be shared by threads.
        with lock:
            cursor = con.cursor()
        with closing(cursor):
            cursor.register("asked", pa.table({"id": ids}))
            gathered = cursor.sql(query).to_arrow_table().combine_chunks()
        if not gathered.num_rows:
            return pa.nulls(len(ids), pa.float64())
        scores = scorer.score(gathered["seed_rows"]).field("score")
        return scores.take(pa.compute.index_in(ids, value_set=gathered["id"].combine_chunks()))

    # The registered function lives as long as the process and keeps the connection open.
    atexit.register(con.close)
    create_arrow_function(con, BY_QUERY, score, ["BIGINT"], "DOUBLE")


def prepare_torch_loop(model: Path, data: Path, threads: int) -> Work:
    """The usual way without relsql: tables to pandas, a HeteroData, a loop over batches of entities in torch."""
    # Imported here, so that the processes of the other rows do not load torch.
    from benchmarks.speed.torch_loop import prepare

    return prepare(model, data, threads)


def _gather_sql(con: duckdb.DuckDBPyConnection, limit: int | None = None, *, messages: bool = True) -> str:
    """A query for the score function's argument for every customer; without `messages` hubs have rows instead."""
    seed = f"SELECT customer_id AS {ENTITY}, {LATEST} AS {AS_OF} FROM {DATA}.customers"
    seed += f" WHERE customer_id <= {limit}" if limit else ""
    return gather_sql(active_card(con, current_catalog(con), MODEL), DATA, seed, messages=messages)


def gather_sql(card: ModelCard, catalog: str, seed: str, *, messages: bool, many_moments: bool = False) -> str:
    """The gather query of a model for the seeds of a query, in one column `seed_rows`."""
    gather = card.gather(catalog).for_seeds("moments" if many_moments else "batch")
    gather = gather if messages else replace(gather, message_functions={})
    return gather.query(seed, f"{score_argument(gather)} AS seed_rows")


def rows_read(gather: str) -> str:
    """A query for the number of seeds that reads everything gathered for them."""
    return f"SELECT count(hash(seed_rows)) FROM ({gather})"


def _chunks(gathered: pa.Table) -> list[pa.Array]:
    column = gathered.column("seed_rows").combine_chunks()
    return [column.slice(start, CHUNK) for start in range(0, len(column), CHUNK)]

"""The model of the speed benchmark: connections on which it scores generated shops, and a check of other scores."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.data.shop import LATEST
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.registry.models import active_card
from relsql.sql_text import ident, literal
from udfs.attach import attach_model

MODEL = "churn"
DATA = "speed_data"
TOLERANCE = 1e-5


def connect(model: Path, data: Path, threads: int) -> duckdb.DuckDBPyConnection:
    """A connection on which the macros of the model read the tables of another file."""
    con = open_database(model, read_only=True)
    con.execute(f"SET threads = {threads}")
    con.execute("SET enable_progress_bar = false")
    con.execute(f"ATTACH {literal(str(data))} AS {DATA} (READ_ONLY)")
    catalog = current_catalog(con)
    attach_model(con, catalog, active_card(con, catalog, MODEL), tables_from=DATA)
    return con


def check_scores(con: duckdb.DuckDBPyConnection, ids: npt.NDArray[Any], scores: npt.NDArray[Any]) -> None:
    """Compare scores as of `LATEST` with those of the SQL function.

    Raises:
        AssertionError: one differs by more than 1e-5.
    """
    with closing(con.cursor()) as cursor:
        catalog = current_catalog(con)
        attach_model(cursor, catalog, active_card(cursor, catalog, MODEL), tables_from=DATA)
        cursor.register("found", pa.table({"id": ids, "score": scores.astype(np.float64)}))
        query = f"SELECT max(abs(score - {ident('predict_' + MODEL)}(id, as_of := {LATEST}))), count(score) FROM found"
        [(difference, count)] = cursor.execute(query).fetchall()
    assert count and difference <= TOLERANCE, f"{count} scores, one differs from the SQL function's by {difference}"

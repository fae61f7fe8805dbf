"""Labels joined to explanations of their scores, computed on the tables that those scores read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from relsql.database.names import current_catalog, unique_name
from relsql.database.queries.sealed import sealed
from relsql.gather.explain.explanations import explained_key
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.registry.cards.card import ModelCard
from relsql.schema.entity_keys import key_sql
from relsql.schema.reading import read_schema
from relsql.sql_text import ident
from relsql.tasks.labels.frozen_database import frozen_database
from relsql.tasks.regime import Regime, check_regime, split_end
from relsql.tasks.splits import Split
from udfs.macros import explanations


@contextmanager
def scored_tables(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, split: Split, regime: Regime | None = None
) -> Iterator[str]:
    """The database that the scores of a split read: in the frozen regime, a copy that ends where the split starts.

    `regime` is that of the model by default.

    Raises:
        TaskError: the regime does not exist, or does not fit the task.
    """
    end = split_end(card.task, split)
    if check_regime(regime or card.regime, card.task) == "seed-time" or end is None:
        yield catalog
        return
    # All columns are copied, because the time of a row may be computed from one that the model does not read.
    tables = read_schema(con, catalog).read_for(card.schema.tables)
    with frozen_database(con, catalog, tables, end) as frozen:
        yield frozen


@dataclass(frozen=True, slots=True)
class ExplainedLabels:
    """Labels that can be queried together with explanations of their scores; made by `explained_labels`."""

    con: duckdb.DuckDBPyConnection
    card: ModelCard
    tables: str
    relation: str

    def select(self, level: str, columns: str, rest: str) -> duckdb.DuckDBPyRelation:
        """Select columns of the explanations `e` and their labels `l`; `rest` is what follows the join."""
        seeds = f"SELECT l.entity AS {ENTITY}, l.as_of AS {AS_OF} FROM {ident(self.relation)} l"
        key = key_sql(self.card.entity, "e", explained_key(self.card.entity))
        query = f"""
            SELECT {columns}
            FROM ({explanations(self.card, self.tables).query(seeds, level)}) e
            JOIN {ident(self.relation)} l ON l.entity = {key} AND l.as_of = e.as_of
            {rest}"""
        return self.con.sql(sealed(query))


@contextmanager
def explained_labels(
    con: duckdb.DuckDBPyConnection, card: ModelCard, labels: pa.Table, split: Split
) -> Iterator[ExplainedLabels]:
    """Make labels of a split (`entity`, `as_of`, ...) available for queries during the block.

    The model must be attached.
    """
    relation = unique_name("relsql_labels")
    with scored_tables(con, current_catalog(con), card, split) as tables:
        con.register(relation, labels)
        try:
            yield ExplainedLabels(con, card, tables, relation)
        finally:
            con.unregister(relation)

"""Find the scores that models wrote into the user's tables: in columns, and as whole tables.

A model that is trained on its own scores, or on those of an earlier version, learns its own predictions instead of what
happened. These are detected:

* tables that relsql wrote scores to, which have a comment that says so;
* columns of an entity's table, or of its children, whose values are the scores of a stored version for the entity: as
  of the latest event, or as of a batch job. Scores are compared for a sample of entities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import duckdb
import numpy as np

from relsql.database.cursors import task_cursor
from relsql.database.names import ObjectName, find_relation
from relsql.database.queries.sealed import sealed
from relsql.database.relsql_tables import has_relsql_table, rows_sql
from relsql.errors import RelsqlError
from relsql.evaluation.screening import separation
from relsql.gather.sql.seeds import latest_sql
from relsql.hints import remove_column
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import read_card, read_models
from relsql.registry.score_jobs import is_scores
from relsql.schema.entity_keys import key_known_sql, key_sql
from relsql.schema.finding import Finding, column_object
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.sql_text import ident, literal
from udfs.attach import load_scorer, register_functions
from udfs.macros import batch_sql

SAMPLE = 200
"""Entities whose scores are compared with a column."""

FEWEST_VALUES = 5
EQUAL_SHARE = 0.9
TOLERANCE = 1e-5
"""The scores of one version agree to within this on all engines. A column may hold them as FLOAT, or rounded to no less
than this precision."""

FOLLOWS = 0.99
"""From this separation on, a column that a model does not read follows its scores too closely for chance."""

_VERSIONS = 3
_JOB_TIMES = 2
_SCORE_TYPES = ("FLOAT", "DOUBLE")


@dataclass(frozen=True, slots=True)
class Written:
    """What models wrote: the (table, column) pairs to leave out, and findings about these and doubtful others."""

    columns: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()


def find_written(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Written:
    """Find what models wrote into the tables of a database. Models that can no longer score are skipped."""
    columns: list[tuple[str, str]] = []
    findings: list[Finding] = []
    for table in schema.tables.values():
        if _holds_scores(con, catalog, table):
            columns += [(table.key, name) for name in table.column_names]
            findings.append(_left_out(table.key, "relsql wrote scores into it"))
    for card in _recent_cards(con, catalog, schema):
        for table, key in _tables_of(schema, card):
            names = [c.name for c in table.columns if c.type in _SCORE_TYPES and (table.key, c.name) not in columns]
            for name, exact in _matching(con, catalog, card, table, key, names):
                which = f"model {card.name} version {card.version}"
                if exact:
                    columns.append((table.key, name))
                    findings.append(_left_out(column_object(table.key, name), f"its values are the scores of {which}"))
                else:
                    findings.append(_doubtful(table.key, name, which))
    return Written(tuple(columns), tuple(dict.fromkeys(findings)))


def _left_out(what: str, why: str) -> Finding:
    return Finding(
        "warning",
        what,
        f"is left out: {why}, because training on a model's own predictions would be circular; "
        "relsql train FILE TASK --read-scores reads it",
    )


def _doubtful(table: str, column: str, which: str) -> Finding:
    return Finding(
        "warning",
        column_object(table, column),
        f"is in the order of the scores of {which}, which does not read it: a model may have written it; if so, "
        + remove_column(table, column),
    )


def _holds_scores(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> bool:
    found = find_relation(con, ObjectName(catalog, table.schema_name, table.name))
    return found is not None and is_scores(found)


def _recent_cards(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Iterator[ModelCard]:
    """The cards of the latest versions of every model that can be read and whose tables still exist."""
    by_name: dict[str, list[int]] = {}
    for model in read_models(con, catalog):
        by_name.setdefault(model.name, []).append(model.version)
    for name, versions in by_name.items():
        for version in sorted(versions)[-_VERSIONS:]:
            try:
                card = read_card(con, catalog, name, version)
            except RelsqlError:
                continue
            # The score of a multiclass model is a class, which many of the user's columns may hold. The score of a
            # forecast in steps is a list.
            if schema.find(card.task.entity_table) and not (card.classes or card.ranker or card.task.steps):
                yield card


def _tables_of(schema: Schema, card: ModelCard) -> Iterator[tuple[Table, tuple[str, ...]]]:
    """The entity table and its children, each with the columns that hold the entity's key."""
    entity = schema.table(card.task.entity_table)
    key = card.entity.primary_key
    yield entity, key
    for link in schema.links_to(entity.key):
        held = dict(zip(link.parent_columns, link.child_columns, strict=True))
        if held.keys() == set(key) and link.child != entity.key:
            yield schema.table(link.child), tuple(held[name] for name in key)


def _matching(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, table: Table, key: tuple[str, ...], names: list[str]
) -> Iterator[tuple[str, bool]]:
    """The columns of a table that hold a version's scores: (column, True), or follow them: (column, False)."""
    if not names:
        return
    read = card.inputs[table.key].columns if table.key in card.inputs else ()
    values = ", ".join(f"r.{ident(name)}::DOUBLE" for name in names)
    anything = " OR ".join(f"r.{ident(name)} IS NOT NULL" for name in names)
    with task_cursor(con, catalog) as cursor:
        entity = key_sql(card.entity, "r", key)
        known = key_known_sql(card.entity, "r", key)
        query = f"""SELECT CAST({entity} AS VARCHAR), {values} FROM {relation_sql(table, catalog)} r
                    WHERE {known} AND ({anything}) ORDER BY hash({entity}) ASC LIMIT {SAMPLE}"""
        rows = cursor.execute(sealed(query)).fetchall()
        by_time = _scores(cursor, catalog, card, {row[0] for row in rows})
    for i, name in enumerate(names, start=1):
        pairs = [
            np.array([(row[i], scores[row[0]]) for row in rows if row[i] is not None and row[0] in scores])
            for scores in by_time
        ]
        judged = [pair for pair in pairs if len(pair) and len(np.unique(pair[:, 0])) >= FEWEST_VALUES]
        if any(np.mean(np.abs(pair[:, 0] - pair[:, 1]) <= TOLERANCE) >= EQUAL_SHARE for pair in judged):
            yield name, True
        elif name not in read and any(_follows(pair) for pair in judged):
            yield name, False


def _follows(pair: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    return len(pair) >= SAMPLE // 10 and separation(pair[:, 0], pair[:, 1], classification=False) >= FOLLOWS


def _scores(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, entities: Iterable[str]
) -> list[dict[str, float]]:
    """Scores of some entities by the text of their key, as of the latest event and of the model's batch jobs."""
    try:
        register_functions(con, load_scorer(con, catalog, card))
        latest = f"({latest_sql(card.gather(catalog).rows)})"
        chosen = ", ".join(map(literal, entities))
        key = key_sql(card.entity, columns=card.score_key)
        entity = f"CAST({key} AS VARCHAR)"
        where = f"CAST({key_sql(card.entity, 'relsql_entity')} AS VARCHAR) IN ({chosen})"
        found = []
        for moment in [latest, *_job_times(con, catalog, card)] if chosen else []:
            scores = batch_sql(card, catalog, moment=moment, where=where)
            rows = con.execute(f"SELECT {entity}, score FROM ({scores})").fetchall()
            found.append({row[0]: row[1] for row in rows if row[1] is not None and math.isfinite(row[1])})
        return found
    except (RelsqlError, duckdb.Error):
        return []  # The version can no longer score these tables, so nothing can be compared with it.


def _job_times(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> list[str]:
    """The moments of the latest batch jobs of a model, as expressions of type TIMESTAMP."""
    if not has_relsql_table(con, catalog, "score_jobs"):
        return []
    query = f"""SELECT DISTINCT as_of FROM {rows_sql(con, catalog, "score_jobs")} WHERE model = ? AND as_of IS NOT NULL
                ORDER BY as_of DESC LIMIT {_JOB_TIMES}"""
    return [literal(as_of) for (as_of,) in con.execute(query, [card.name]).fetchall()]

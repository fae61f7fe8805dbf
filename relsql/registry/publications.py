"""Record which models are published as plain SQL, check the objects written for them, and remove them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow.compute

from relsql.database.digests import embedding_digests, row_digest, sum_digests
from relsql.database.names import DEFAULT_SCHEMA, Macro, find_macros, join_name, stored_name
from relsql.database.queries.sealed import sealed
from relsql.database.relsql_schema import in_schema_sql, relsql_schema
from relsql.database.relsql_tables import ensure_table, has_relsql_table, read_sealed, relsql_table, seal_rows
from relsql.errors import ArtifactError, ModelError
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import all_names
from relsql.registry.row_embeddings import table_name
from relsql.sql_text import literal, qualified

PUBLICATION_FORMAT = 1
"""Increased whenever an earlier relsql could not replace or remove what this one publishes."""

_EXCLUDED = re.compile(r"EXCLUDE \(([^()]*)\)")


class _Objects(msgspec.Struct, forbid_unknown_fields=True):
    """Digests of the objects that were written for a published model.

    DuckDB generates the text of view and macro definitions, and another version may generate it differently. Thus
    definitions are only compared under the DuckDB version that wrote them.

    Attributes:
        duckdb: version of DuckDB.
        tables: digest of each table by name; for the table of texts its number of rows and the sum of their digests.
        definitions: digest of each view and macro by name.
    """

    duckdb: str
    tables: dict[str, str]
    definitions: dict[str, str]


def weights_table(identity: str) -> str:
    """Name within relsql's schema of a published model version's table of weights."""
    return f"weights_{identity}"


def texts_table(identity: str) -> str:
    """Name within relsql's schema of a published model version's table of texts, with the state that each text adds."""
    return f"texts_{identity}"


def new_texts_view(identity: str) -> str:
    """Name within relsql's schema of the view of texts that the table of texts lacks."""
    return f"new_texts_{identity}"


def published_texts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str | None:
    """The qualified name of a model version's table of texts; None if it is not published or does not read text."""
    name = texts_table(card.identity)
    return relsql_table(con, catalog, name) if has_relsql_table(con, catalog, name) else None


def add_texts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> None:
    """Add all texts that have a row embedding by now to the plain SQL of a model version, if it is published.

    The caller owns the transaction.

    Raises:
        ModelError: an object of the published model is missing.
    """
    table = published_texts(con, catalog, card)
    if table is None:
        return
    [(end,)] = con.execute(f"SELECT coalesce(system.main.max(rowid), -1) FROM {table}").fetchall()
    try:
        con.execute(f"INSERT INTO {table} FROM {relsql_table(con, catalog, new_texts_view(card.identity))}")
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise changed_sql(card.name, error) from error
    rows, total = texts_digest(con, table, card, f"rowid > {end}")
    _count_texts(con, catalog, card, rows, total)


def remove_texts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, where: str) -> None:
    """Remove texts from the plain SQL of a model version, if it is published. The caller owns the transaction."""
    table = published_texts(con, catalog, card)
    if table is None:
        return
    rows, total = texts_digest(con, table, card, where)
    con.execute(f"DELETE FROM {table} WHERE {where}")
    _count_texts(con, catalog, card, -rows, -total)


def texts_digest(con: duckdb.DuckDBPyConnection, table: str, card: ModelCard, where: str = "true") -> tuple[int, int]:
    """Number and digest of the rows of a table of texts that meet a condition; both are additive."""
    rows = total = 0
    place = f"md5_number(place || ':' || text_hash::VARCHAR) // {2**64}::UHUGEINT"
    # The third column is called `said` in files that an earlier build published.
    query = f"SELECT CAST({place} AS UBIGINT) AS key, * EXCLUDE (place, text_hash) FROM {table} WHERE {where}"
    for batch in con.sql(sealed(query)).to_arrow_reader(50_000):
        states, keys = batch.column(1), np.asarray(batch.column("key").fill_null(0), dtype=np.uint64)
        lengths = np.asarray(pyarrow.compute.list_value_length(states).fill_null(0))
        # A vector that is too short or NULL still counts; missing values are replaced by zeros.
        values = np.zeros((len(batch), max(card.channels, int(lengths.max(initial=0)))), dtype=np.float32)
        values[np.arange(values.shape[1]) < lengths[:, None]] = states.flatten().to_numpy(zero_copy_only=False)
        rows += len(batch)
        total += sum_digests(embedding_digests(card.identity, keys, values))
    return rows, total % 2**64


def _count_texts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, rows: int, total: int) -> None:
    """Update the stored digest of the table of texts by the rows that were added or removed."""
    objects = _recorded_objects(con, catalog, card.name)
    if objects is None:
        record_objects(con, catalog, card)
        return
    name = texts_table(card.identity)
    known_rows, known_total = map(int, objects.tables.get(name, "0 0").split())
    objects.tables[name] = f"{known_rows + rows} {(known_total + total) % 2**64}"
    _store_objects(con, catalog, card.name, objects)


def record_objects(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> None:
    """Store the digests of a published model's objects for `check_publication`. The caller owns the transaction."""
    ensure_table(con, catalog, "publications")
    _store_objects(con, catalog, card.name, _found_objects(con, catalog, card))


def check_publication(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> bool:
    """Compare a published model's objects with their digests; returns False if there are none.

    Raises:
        ModelError: an object was changed.
    """
    rows = read_sealed(con, catalog, "publications", "model = ?", [card.name])
    if any(row.intact is False for row in rows):
        raise _changed(card.name, "its row in publications does not have the digest that was written with it")
    recorded = _recorded_objects(con, catalog, card.name)
    if recorded is None:
        return False
    found = _found_objects(con, catalog, card)
    pairs = [(recorded.tables, found.tables)]
    if recorded.duckdb == found.duckdb:
        pairs.append((recorded.definitions, found.definitions))
    for before, now in pairs:
        for name in sorted({*before, *now}):
            if name not in now:
                raise _changed(card.name, f"{name} is gone")
            if now[name] != before.get(name):
                raise _changed(card.name, f"{name} is not as it was written")
    return True


def _changed(model: str, problem: str) -> ModelError:
    return ModelError(f"the plain SQL of model '{model}' was changed: {problem}", fix=command("publish", "FILE", model))


def _recorded_objects(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> _Objects | None:
    """Digests of a published model's objects; None if an earlier build published it.

    Raises:
        ModelError: the digests cannot be read.
    """
    rows = read_sealed(con, catalog, "publications", "model = ?", [model])
    text = rows[0].values["objects"] if rows else None
    try:
        return None if text is None else msgspec.json.decode(text, type=_Objects)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _changed(model, f"publications.objects cannot be read: {error}") from error


def _store_objects(con: duckdb.DuckDBPyConnection, catalog: str, model: str, objects: _Objects) -> None:
    table = relsql_table(con, catalog, "publications")
    con.execute(f"UPDATE {table} SET objects = ? WHERE model = ?", [msgspec.json.encode(objects).decode(), model])
    seal_rows(con, catalog, "publications", "model = ?", [model])


def _found_objects(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> _Objects:
    weights, texts = weights_table(card.identity), published_texts(con, catalog, card)
    tables = {}
    if has_relsql_table(con, catalog, weights):
        tables[weights] = row_digest(con.execute(f"FROM {relsql_table(con, catalog, weights)}").fetchall())
    if texts is not None:
        tables[texts_table(card.identity)] = " ".join(map(str, texts_digest(con, texts, card)))
    names = ", ".join(map(literal, all_names(card.name)))
    query = f"""SELECT function_name, function_type, parameters, macro_definition FROM system.main.duckdb_functions()
                WHERE database_name = ? AND schema_name = ? AND function_name IN ({names}) ORDER BY ALL ASC"""
    rows = con.execute(query, [catalog, DEFAULT_SCHEMA]).fetchall()
    query = f"""SELECT view_name, sql FROM system.main.duckdb_views()
                WHERE database_name = ? AND {in_schema_sql(relsql_schema(con, catalog))}
                      AND system.main.ends_with(view_name, ?) ORDER BY ALL ASC"""
    rows += con.execute(query, [catalog, f"_{card.identity}"]).fetchall()
    return _Objects(duckdb.__version__, tables, _definition_digests(rows))


def _definition_digests(rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """Digests of definitions by name; names in an EXCLUDE are sorted, because DuckDB loads them in varying order."""
    digests = {}
    for name, *parts, text in rows:
        ordered = _EXCLUDED.sub(lambda found: f"EXCLUDE ({', '.join(sorted(found[1].split(', ')))})", text)
        digests[name] = row_digest([name, *parts, ordered])
    return digests


def changed_sql(model: str, error: duckdb.Error) -> ModelError:
    """The error for an object of a published model that is missing or was changed."""
    return _changed(model, str(error).splitlines()[0])


def comment_start(model: str) -> str:
    """The start of the comments on a model's objects, which show what an object belongs to."""
    return f"relsql model {model} "


def is_mark(comment: str | None, model: str | None = None) -> bool:
    """True if an object with this comment was made by relsql, for this model or for any."""
    return (comment or "").startswith("relsql model " if model is None else comment_start(model))


def require_unclaimed(macros: Iterable[Macro], model: str, *, made_for: str | None = None) -> None:
    """Check that macros that a model's macros would replace or hide are relsql's own.

    Args:
        macros: the existing macros with names that the model needs.
        model: the model's name.
        made_for: the model that they must have been made for; None: any model.

    Raises:
        ModelError: one of them is somebody else's.
    """
    foreign = (macro for macro in macros if not is_mark(macro.comment, made_for))
    taken = next((macro for macro in foreign if made_for or not macro.reads_weights), None)
    if taken:
        where = "on this connection" if taken.catalog == "temp" else f"in database '{taken.catalog}'"
        whose = f"of model '{made_for}'" if made_for else f"relsql's, and model '{model}' needs its name"
        kind = "MACRO TABLE" if taken.is_table else "MACRO"
        raise ModelError(
            f"a macro '{taken.name}' exists {where} that is not {whose}",
            expected="a free name",
            fix=f"DROP {kind} {join_name(taken.name)}, or relsql train FILE TASK --name ANOTHER",
        )


def published(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> tuple[int, str] | None:
    """The version and identity that the plain SQL of a model scores with; None if the model is not published."""
    if not has_relsql_table(con, catalog, "publications"):
        return None
    query = f"SELECT version, identity FROM {relsql_table(con, catalog, 'publications')} WHERE model = ?"
    return next(iter(con.execute(query, [model]).fetchall()), None)


def require_published(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> tuple[str, int]:
    """The stored name and the published version of a model, whose name may be in upper or lower case.

    Raises:
        ModelError: it is not published.
    """
    names = []
    if has_relsql_table(con, catalog, "publications"):
        # A damaged row may lack a name, and then does not belong to a model.
        query = f"SELECT DISTINCT model FROM {relsql_table(con, catalog, 'publications')} WHERE model IS NOT NULL"
        names = [name for (name,) in con.execute(query).fetchall()]
    name = stored_name(model, names)
    found = published(con, catalog, name) if name else None
    if name is None or found is None:
        raise ModelError(
            f"model '{model}' is not published in database '{catalog}'", fix=command("publish", "FILE", model)
        )
    return name, found[0]


def require_known_format(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> None:
    """Refuse to remove a publication of a newer relsql.

    Raises:
        ArtifactError: a newer relsql published the model.
    """
    if not has_relsql_table(con, catalog, "publications"):
        return
    query = f"SELECT system.main.max(format) FROM {relsql_table(con, catalog, 'publications')} WHERE model = ?"
    [(found,)] = con.execute(query, [model]).fetchall()
    if found is not None and found > PUBLICATION_FORMAT:
        raise ArtifactError(
            f"model '{model}' was published in format {found}, this relsql knows up to {PUBLICATION_FORMAT}",
            fix="pip install --upgrade relsql",
        )


def remove_publication(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> None:
    """Drop all objects of a published model, and its record. The caller owns the transaction.

    A comment alone is not proof, because users write comments too. Macros must also have the names of the model's
    functions, and tables and views must be in relsql's schema.
    """
    start, own = [catalog, comment_start(model)], in_schema_sql(relsql_schema(con, catalog))
    drops = [macro.sql for macro in find_macros(con, [catalog], all_names(model)) if is_mark(macro.comment, model)]
    for kind in ("view", "table"):
        query = f"""SELECT schema_name, {kind}_name FROM system.main.duckdb_{kind}s()
                    WHERE database_name = ? AND system.main.starts_with(comment, ?)
                      AND {own}"""
        drops += [f"{kind} {qualified(catalog, *names)}" for names in con.execute(query, start).fetchall()]
    for drop in drops:
        con.execute(f"DROP {drop}")
    if has_relsql_table(con, catalog, "publications"):
        _drop_idle_embeddings(con, catalog, model)
        con.execute(f"DELETE FROM {relsql_table(con, catalog, 'publications')} WHERE model = ?", [model])


def _drop_idle_embeddings(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> None:
    """Remove the row embeddings of a published version that is not the active one: nothing else reads them."""
    query = f"""SELECT identity FROM {relsql_table(con, catalog, "publications")} WHERE model = ? AND identity NOT IN (
                    SELECT sha256 FROM {relsql_table(con, catalog, "models")} WHERE status = 'active')"""
    for (identity,) in con.execute(query, [model]).fetchall():
        con.execute(f"DROP TABLE IF EXISTS {relsql_table(con, catalog, table_name(identity))}")

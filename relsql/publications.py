"""Which models are published as plain SQL, and the removal of what was published (see `relsql.publishing`)."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from relsql.card import ModelCard
from relsql.errors import ArtifactError, ModelError
from relsql.names import Macro, find_macros, join_name, stored_name
from relsql.references import function_names
from relsql.row_embeddings import table_name
from relsql.schema import RELSQL_SCHEMA, has_relsql_table
from relsql.sql import qualified
from relsql.store import relsql_table

PUBLICATION_FORMAT = 1
"""Raised when an earlier relsql could not replace or remove what this one publishes."""


def texts_table(identity: str) -> str:
    """Name within schema `relsql` of a published model version's table of texts: what each says to rows of a table."""
    return f"texts_{identity}"


def new_texts_view(identity: str) -> str:
    """Name within schema `relsql` of the view of what the table of texts lacks."""
    return f"new_texts_{identity}"


def published_texts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str | None:
    """The table of texts of a model version, in SQL; None if it is not published, or reads no text."""
    name = texts_table(card.identity)
    return qualified(catalog, RELSQL_SCHEMA, name) if has_relsql_table(con, catalog, name) else None


def add_texts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> None:
    """Let the plain SQL of a model version know all texts that have a row embedding by now, if it is published.

    The caller owns the transaction.

    Raises:
        ModelError: an object of the published model is gone.
    """
    table = published_texts(con, catalog, card)
    if table is None:
        return
    try:
        con.execute(f"INSERT INTO {table} FROM {qualified(catalog, RELSQL_SCHEMA, new_texts_view(card.identity))}")
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise changed_sql(card.name, error) from error


def changed_sql(model: str, error: duckdb.Error) -> ModelError:
    """The error that an object of a published model is gone or was changed."""
    return ModelError(
        f"the plain SQL of model '{model}' was changed: {str(error).splitlines()[0]}",
        fix=f"relsql publish FILE {model}",
    )


def comment_start(model: str) -> str:
    """How the comments of a published model's objects start: they tell whose an object is."""
    return f"relsql model {model} "


def is_mark(comment: str | None, model: str | None = None) -> bool:
    """True if an object with this comment was made by relsql, for this model or for any."""
    return (comment or "").startswith("relsql model " if model is None else comment_start(model))


def require_unclaimed(macros: Iterable[Macro], model: str, *, made_for: str | None = None) -> None:
    """Check that macros which a model's would replace or hide are relsql's.

    Args:
        macros: those that have a name which the model needs.
        model: its name.
        made_for: they must have been made for this model; None: for any.

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
    """Version and identity of a model that its plain SQL scores with; None if it is not published."""
    if not has_relsql_table(con, catalog, "publications"):
        return None
    query = f"SELECT version, identity FROM {relsql_table(catalog, 'publications')} WHERE model = ?"
    return next(iter(con.execute(query, [model]).fetchall()), None)


def require_published(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> tuple[str, int]:
    """The stored name and the published version of a model, whatever the case of its letters.

    Raises:
        ModelError: it is not published.
    """
    names = []
    if has_relsql_table(con, catalog, "publications"):
        query = f"SELECT DISTINCT model FROM {relsql_table(catalog, 'publications')}"
        names = [name for (name,) in con.execute(query).fetchall()]
    name = stored_name(model, names)
    found = published(con, catalog, name) if name else None
    if name is None or found is None:
        raise ModelError(
            f"model '{model}' is not published in database '{catalog}'", fix=f"relsql publish FILE {model}"
        )
    return name, found[0]


def require_known_format(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> None:
    """Refuse to remove what a newer relsql published.

    Raises:
        ArtifactError: a newer relsql published the model.
    """
    if not has_relsql_table(con, catalog, "publications"):
        return
    query = f"SELECT max(format) FROM {relsql_table(catalog, 'publications')} WHERE model = ?"
    [(found,)] = con.execute(query, [model]).fetchall()
    if found is not None and found > PUBLICATION_FORMAT:
        raise ArtifactError(
            f"model '{model}' was published in format {found}, this relsql knows up to {PUBLICATION_FORMAT}",
            fix="pip install --upgrade relsql",
        )


def remove_publication(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> None:
    """Drop all objects of a published model, and its record. The caller owns the transaction.

    A comment alone proves nothing, people write comments too: macros have the names of the model's functions, and
    tables and views lie in schema relsql.
    """
    start = [catalog, comment_start(model)]
    drops = [macro.sql for macro in find_macros(con, [catalog], function_names(model)) if is_mark(macro.comment, model)]
    for kind in ("view", "table"):
        query = f"""SELECT schema_name, {kind}_name FROM duckdb_{kind}s()
                    WHERE database_name = ? AND starts_with(comment, ?) AND lower(schema_name) = '{RELSQL_SCHEMA}'"""
        drops += [f"{kind} {qualified(catalog, *names)}" for names in con.execute(query, start).fetchall()]
    for drop in drops:
        con.execute(f"DROP {drop}")
    if has_relsql_table(con, catalog, "publications"):
        _drop_idle_embeddings(con, catalog, model)
        con.execute(f"DELETE FROM {relsql_table(catalog, 'publications')} WHERE model = ?", [model])


def _drop_idle_embeddings(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> None:
    """Remove the row embeddings of a published version that is not the active one: nothing else reads them."""
    query = f"""SELECT identity FROM {relsql_table(catalog, "publications")} WHERE model = ? AND identity NOT IN (
                    SELECT sha256 FROM {relsql_table(catalog, "models")} WHERE status = 'active')"""
    for (identity,) in con.execute(query, [model]).fetchall():
        con.execute(f"DROP TABLE IF EXISTS {qualified(catalog, RELSQL_SCHEMA, table_name(identity))}")

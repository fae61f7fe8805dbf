"""Functions that the models of several databases would have: which one a call means is unknown, so it is refused.

A temporary macro has no schema of its own, so `predict_churn` of one attached file would replace that of another.
The comment of each macro says which databases it belongs to.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

import duckdb

from relsql.database.names import Functions, Macro, current_catalog, fold
from relsql.registry.function_names import predict_name
from relsql.registry.publications import comment_start, is_mark
from relsql.sql_text import literal

Ambiguous = Mapping[str, frozenset[str]]
"""By the folded name of a function, the other databases whose models have it."""

_ATTACHED = "attached from "


def mark_macro(con: duckdb.DuckDBPyConnection, macro: Macro, model: str, databases: Iterable[str]) -> None:
    """Mark a macro as relsql's with a comment, so that relsql may replace and drop it later.

    Args:
        con: the connection of the macro.
        macro: the macro.
        model: the model that it was made for.
        databases: the databases that have such a function; several if it refuses calls.
    """
    comment = f"{comment_start(model)}{_ATTACHED}{json.dumps(list(databases))}"
    con.execute(f"COMMENT ON {macro.sql} IS {literal(comment)}")


def find_ambiguous(con: duckdb.DuckDBPyConnection, catalog: str, functions: Functions) -> Ambiguous:
    """The functions of models of other databases than `catalog`, attached or published, that a name alone calls.

    Databases that are no longer attached do not count.
    """
    here = current_catalog(con)
    query = "SELECT database_name FROM system.main.duckdb_databases()"
    attached = {name for (name,) in con.execute(query).fetchall()}
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for macro in functions.find_macros({"temp", here}):
        if is_mark(macro.comment):
            found[fold(macro.name)] |= _databases_of(macro) & attached - {catalog}
    return found


def _databases_of(macro: Macro) -> frozenset[str]:
    """The databases whose model a macro calls; a published one calls that of its own database."""
    _, attached, names = (macro.comment or "").partition(_ATTACHED)
    return frozenset(json.loads(names)) if attached else frozenset({macro.catalog})


def ambiguity(function: str, model: str, databases: Iterable[str]) -> str:
    """The message of a function that several databases have."""
    names = sorted(databases)
    listed = " and ".join(f"'{name}'" for name in names)
    return (
        f"{function} is ambiguous: the databases {listed} have it. Expected: one of them, or a prefix. "
        f"Fix: relsql.attach(con, database={names[0]!r}, models=[{model!r}], prefix={names[0]!r}), which creates "
        f"{predict_name(f'{names[0]}_{model}')}"
    )

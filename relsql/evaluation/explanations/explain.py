"""The query that explains scores of a model: `explain_<model>` of one entity, or `explain_<model>_batch` of all."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from relsql.database.names import current_catalog
from relsql.errors import ModelError
from relsql.gather.explain.explanations import explained_key
from relsql.hints import command
from relsql.registry.function_names import explain_names
from relsql.registry.models import active_card
from relsql.registry.versions import suffix_of
from relsql.schema.entity_keys import key_order_sql
from relsql.sql_text import ident, literal
from udfs.attach import attach


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain.

    Attributes:
        as_of: explain the scores of this time (inclusive, zone-less); None: of the latest event.
        level: what is left out, one of `relsql.gather.explain.explanations.LEVELS`.
        top: how many contributions to return of each score; None: the function's default.
        counterfactual: only contributions that each move the score across the threshold alone, the smallest first.
        threshold: the score at or above which the answer is yes; default: .5 for a probability.
    """

    as_of: datetime.datetime | None = None
    level: str = "row"
    top: int | None = None
    counterfactual: bool = False
    threshold: float | None = None

    def arguments(self) -> list[str]:
        """The arguments of the function in SQL."""
        given = [f"level := {literal(self.level)}"]
        given += [f"as_of := {literal(self.as_of)}"] if self.as_of else []
        given += [f"top := {self.top}"] if self.top is not None else []
        if self.counterfactual:
            given += ["counterfactual := true"]
            given += [f"threshold := {literal(self.threshold)}"] if self.threshold is not None else []
        return given


def explain_query(
    con: duckdb.DuckDBPyConnection, model: str, id: Sequence[str], options: ExplainOptions | None = None
) -> str:
    """Attach a model and return the query that explains its scores.

    Args:
        con: a connection to the database that holds the model.
        model: its name, or a version of it, `dnf@2`.
        id: the entity's key as text, one value for each of its columns; empty: all entities.
        options: what to explain.

    Raises:
        ModelError: there is no such model or version, or the id has another number of values than the key.
            SchemaDriftError: its tables changed. ArtifactError: it is damaged.
    """
    card = active_card(con, current_catalog(con), model)
    key, given = card.entity.primary_key, (options or ExplainOptions()).arguments()
    if id and len(id) != len(key):
        raise ModelError(
            f"model '{card.name}': {len(id)} values are not a key of {card.entity.key}",
            expected=f"one value for each of: {', '.join(key)}",
            fix=command("explain", "FILE", model, *(name.upper() for name in key)),
        )
    attach(con, models=[model])
    one, of_all = explain_names(suffix_of(model, card.name, card.version))
    if not id:
        order = key_order_sql(explained_key(card.entity))
        return f"FROM {ident(of_all)}({', '.join(given)}) ORDER BY {order}, rank ASC"
    parts = [f"CAST({literal(part)} AS {card.entity.column(name).type})" for part, name in zip(id, key, strict=True)]
    return f"FROM {ident(one)}({', '.join([*parts, *given])}) ORDER BY rank ASC"

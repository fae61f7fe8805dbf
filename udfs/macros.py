"""Write the SQL of the macros that `attach` creates for a model; it is sealed: all names are qualified or reserved."""

from __future__ import annotations

from dataclasses import replace

from relsql.database.sealed import sealed, sealed_expression
from relsql.gather.latest_rows import AS_OF, ENTITY
from relsql.gather.layout import counts_name, layouts_of
from relsql.gather.query import Gather
from relsql.gather.seeds_sql import all_seeds_sql, call_seed_sql
from relsql.registry.card import ModelCard
from relsql.registry.function_names import encode_name, function_names, row_text_name
from relsql.schema.indexes import Indexed
from relsql.sql import ident, indented
from relsql.text.row_text_sql import row_text_sql
from udfs.messages import MESSAGE_SQL_TYPE

_SORTED = "list_sort({}, 'ASC', 'NULLS LAST')"
"""Without these arguments the order would depend on the session's settings."""


def macro_statements(
    card: ModelCard, catalog: str, suffix: str | None = None, *, shared: bool = False, indexed: Indexed = frozenset()
) -> list[tuple[str, str]]:
    """CREATE statements of a model's macros, each with the macro's name.

    The macros are temporary and belong to one connection, or they are shared: created in the current database for all
    its connections. `suffix` follows `predict_`; default: the model's name. With another suffix, which pins a version,
    `row_text_<table>` is not created, because its name cannot include a version. `indexed` are the columns that have an
    index.
    """
    suffix = suffix or card.name
    name, with_status, of_all = function_names(suffix)
    create = "CREATE OR REPLACE MACRO" if shared else "CREATE OR REPLACE TEMP MACRO"
    full = scalar_sql(card, catalog, indexed)
    batch = batch_sql(card, catalog)
    statements = [
        (with_status, f"{create} {ident(with_status)}(id, as_of := NULL) AS {full}"),
        (name, f"{create} {ident(name)}(id, as_of := NULL) AS ({full}).score"),
        (of_all, f"{create} {ident(of_all)}(as_of := NULL) AS TABLE\n{batch}"),
    ]
    encode = encode_name(suffix)
    call = sealed_expression(f"{card.encode_function}(text)")
    statements.append((encode, f"{create} {ident(encode)}(text) AS {call}"))
    for key, inputs in card.inputs.items() if suffix == card.name else ():
        macro = row_text_name(key)
        text = sealed_expression(row_text_sql(card.schema.table(key), inputs.text_columns, "relsql_row"))
        statements.append((macro, f"{create} {ident(macro)}(relsql_row) AS {text}"))
    return statements


def scalar_sql(card: ModelCard, catalog: str, indexed: Indexed = frozenset()) -> str:
    """The body of `predict_<model>_full`: a correlated subquery over one seed, planned as a single set-based join."""
    gather = card.gather(catalog).for_seeds("call", indexed=indexed)
    select = f"CASE WHEN seed._given THEN {_result_sql(card, gather)} END AS relsql_result"
    query = gather.query(call_seed_sql(card.entity, gather.rows), select=select)
    return sealed_expression(f"(\n{indented(query)}\n)")


def batch_sql(card: ModelCard, catalog: str, *, moment: str | None = None, where: str | None = None) -> str:
    """The query of `predict_<model>_batch`: one row per entity that is visible at as_of.

    Args:
        card: the model's card.
        catalog: database that holds the tables.
        moment: as_of as an expression of type TIMESTAMP; default: the macro's argument, or the latest event.
        where: a condition on `relsql_entity`, the entity's row: only these entities are gathered and scored.
    """
    key = ident(card.entity.primary_key[0])
    gather = card.gather(catalog)
    select = f"seed.{ENTITY}, {_result_sql(card, gather)} AS relsql_result"
    query = gather.query(all_seeds_sql(card.entity, gather.rows, moment, where), select=select)
    return sealed(
        f"SELECT {ENTITY} AS {key}, relsql_result.score AS score, relsql_result.status AS status,\n"
        f"    relsql_result.evidence AS evidence, relsql_result.as_of AS as_of, relsql_result.version AS version\n"
        f"FROM (\n{indented(query)}\n)"
    )


def fingerprint_sql(card: ModelCard, catalog: str, *, moment: str, where: str) -> str:
    """A query for `_entity` and `fingerprint` (UBIGINT): a hash of everything that the score of an entity depends on.

    The hash covers the content of texts, lists regardless of their order, and the rows of hubs instead of their
    messages, which may differ in the last bit from query to query. Arguments as in `batch_sql`.
    """
    lists = {path.name for path in card.paths}
    gather = replace(card.gather(catalog), text_function="hash", coded_texts=False, message_functions={})
    columns = gather.qualified_columns().items()
    # Lists are sorted by the unique rank of their rows, the first field, so that the hash does not depend on threads.
    fields = [f"{ident(name)}: {_SORTED.format(column) if name in lists else column}" for name, column in columns]
    select = f"seed.{ENTITY}, hash({{as_of: seed.{AS_OF}, {', '.join(fields)}}}) AS fingerprint"
    return sealed(gather.query(all_seeds_sql(card.entity, gather.rows, moment, where), select=select))


def _result_sql(card: ModelCard, gather: Gather) -> str:
    """The expression that calls the score function on a gathered seed."""
    argument = score_argument(gather)
    return f"{card.score_function}({argument})"


def score_argument(gather: Gather) -> str:
    """The argument of the score function, an expression in the select list of the gather query."""
    fields = ", ".join(f"{ident(name)}: {column}" for name, column in gather.qualified_columns().items())
    # DuckDB passes the seeds of scalar calls in a different order in every run.
    order = f"hash(seed.{ENTITY}, seed.{AS_OF})" if gather.rows.seed_kind == "call" else "CAST(NULL AS UBIGINT)"
    return f"{{as_of: seed.{AS_OF}, seed_order: {order}, {fields}}}"


def score_parameter(card: ModelCard) -> str:
    """The DuckDB type of the score function's argument."""
    fields = ["as_of TIMESTAMP", "seed_order UBIGINT"]
    for path, layout in zip(card.paths, layouts_of(card.paths, card.inputs), strict=True):
        fields.append(f"{ident(path.name)} {MESSAGE_SQL_TYPE if path.shared else layout.arrow_type()}")
        if path.counted and not path.shared:
            fields.append(f"{ident(counts_name(path.name))} {layout.counts_type()}")
    return f"STRUCT({', '.join(fields)})"

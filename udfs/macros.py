"""Write the SQL of the macros that `attach` creates for a model; it is sealed: all names are qualified or reserved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from relsql.database.queries.sealed import sealed, sealed_expression
from relsql.gather.candidates.ranking import OPTIONS
from relsql.gather.explain.explanations import BATCH_TOP, OWN_TOP, Explanations, explain_parameters
from relsql.gather.layout import counts_name, layouts_of
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.gather.sql.query import Gather
from relsql.gather.sql.ranking import columns_of
from relsql.gather.sql.results import batch_columns, classes_sql, score_columns, step_score_sql, steps_sql
from relsql.gather.sql.seeds import ALL_PARAMETERS, STEP_PARAMETER, all_seeds_sql, call_parameters, call_seed_sql
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import (
    classes_name,
    embed_name,
    encode_name,
    explain_names,
    function_names,
    row_text_name,
)
from relsql.schema.entity_keys import key_columns_sql
from relsql.schema.indexes import Indexed
from relsql.sql_text import field_sql, ident, indented, literal
from relsql.text.row_text_sql import row_text_sql
from udfs.hub_messages import MESSAGE_SQL_TYPE
from udfs.scorer import result_type, score_type

_SORTED = "list_sort({}, 'ASC', 'NULLS LAST')"
"""Without these arguments the order would depend on the session's settings."""


@dataclass(frozen=True, slots=True)
class MacroText:
    """A macro that is to be created.

    Attributes:
        name: its name.
        parameters: the text between its parentheses.
        body: the expression or, for a table macro, the query.
        returns: the type of the expression; empty for a table macro.
    """

    name: str
    parameters: str
    body: str
    returns: str

    @property
    def is_table(self) -> bool:
        """True for a table macro."""
        return not self.returns

    def statement(self, *, shared: bool = False) -> str:
        """The CREATE statement: of a temporary macro, or with `shared` of one in the current database."""
        create = "CREATE OR REPLACE MACRO" if shared else "CREATE OR REPLACE TEMP MACRO"
        return f"{create} {ident(self.name)}({self.parameters}) AS {'TABLE ' if self.is_table else ''}{self.body}"

    def refusing(self, message: str) -> MacroText:
        """A macro with the same name and parameters that raises an error with this message when it is called."""
        refuse = f"error({literal(message)})"
        if not self.is_table:
            return replace(self, body=f"CAST({refuse} AS {self.returns})")
        # The arguments of a table function are computed when the macro is bound, unless they depend on its parameters.
        return replace(self, body=f"FROM query(CASE WHEN as_of IS NULL THEN {refuse} ELSE {refuse} END)")


_ANY_KEY = f"id1, {''.join(f'id{i} := NULL, ' for i in range(2, 9))}"
"""The key of a model whose card cannot be read, so that the number of key columns and the kind are unknown."""


def score_macros(card: ModelCard, suffix: str, full: str, batch: str) -> list[MacroText]:
    """The macros that score: `full` is the expression for the result of one entity, `batch` the query for all."""
    name, with_status, of_all = function_names(suffix)
    parameters, steps = call_parameters(card.entity), card.task.steps
    score = MacroText(name, parameters, field_sql(full, "score"), score_type(card.classes))
    if steps:
        of_step = sealed_expression(step_score_sql(full, steps))
        score = MacroText(name, call_parameters(card.entity, STEP_PARAMETER), of_step, score_type(None))
    return [
        MacroText(with_status, parameters, full, result_type(card.classes, steps)),
        score,
        MacroText(of_all, ALL_PARAMETERS, batch, ""),
    ]


def refusing_macros(suffix: str, message: str) -> list[MacroText]:
    """The macros of a model that cannot be called: all that any kind of model has, each raising this message."""
    predict, with_status, of_all = function_names(suffix)
    explain, explain_all = explain_names(suffix)
    described = result_type(None).removesuffix(")") + ", probabilities MAP(VARCHAR, DOUBLE), items VARCHAR[])"
    macros = [
        MacroText(predict, f"{_ANY_KEY}{OPTIONS}, {STEP_PARAMETER}", "", score_type(None)),
        MacroText(with_status, f"{_ANY_KEY}{OPTIONS}", "", described),
        MacroText(embed_name(suffix), f"{_ANY_KEY}{ALL_PARAMETERS}", "", "FLOAT[]"),
        MacroText(of_all, OPTIONS, "", ""),
        MacroText(classes_name(suffix), ALL_PARAMETERS, "", ""),
        MacroText(explain, f"{_ANY_KEY}{ALL_PARAMETERS}, {explain_parameters(OWN_TOP)}", "", ""),
        MacroText(explain_all, f"{ALL_PARAMETERS}, {explain_parameters(BATCH_TOP)}", "", ""),
    ]
    return [macro.refusing(message) for macro in macros]


def model_macros(
    card: ModelCard, catalog: str, suffix: str | None = None, *, indexed: Indexed = frozenset()
) -> list[MacroText]:
    """The macros of a model.

    `suffix` follows `predict_`; default: the model's name. With another suffix, which pins a version or names the
    database, `row_text_<table>` is not created, because its name cannot include it. `indexed` are the columns that have
    an index.
    """
    suffix = suffix or card.name
    full, batch = scalar_sql(card, catalog, indexed), batch_sql(card, catalog)
    macros = score_macros(card, suffix, full, batch)
    if card.classes:
        by_class = sealed(classes_sql(card.entity, card.classes, batch))
        macros.append(MacroText(classes_name(suffix), ALL_PARAMETERS, by_class, ""))
    state = state_sql(card, catalog, indexed)
    macros.append(MacroText(embed_name(suffix), call_parameters(card.entity), state, f"FLOAT[{card.channels}]"))
    macros += explain_macros(card, catalog, suffix)
    call = sealed_expression(f"{card.encode_function}(text)")
    macros.append(MacroText(encode_name(suffix), "text", call, f"FLOAT[{card.encoder.width}]"))
    for key, inputs in card.inputs.items() if suffix == card.name else ():
        text = sealed_expression(row_text_sql(card.schema.table(key), inputs.text_columns, "relsql_row"))
        macros.append(MacroText(row_text_name(key), "relsql_row", text, "VARCHAR"))
    return macros


def recommendation_macros(card: ModelCard, catalog: str, suffix: str | None = None) -> list[MacroText]:
    """The macros of a recommendation, which call no Python function. Arguments as in `model_macros`."""
    ranking, name = card.ranking, suffix or card.name
    parameters, full = ranking.call_parameters(), sealed_expression(ranking.call_sql(catalog))
    listed = f"struct_extract({ranking.call_sql(catalog)}, 'items')"
    items = sealed_expression(f"list_transform({listed}, lambda ranked: struct_extract(ranked, 'item'))")
    predict, with_status, of_all = function_names(name)
    return [
        MacroText(with_status, parameters, full, ranking.result_type),
        MacroText(predict, parameters, items, f"{ranking.item_type}[]"),
        MacroText(of_all, OPTIONS, sealed(ranking.batch_sql(catalog)), ""),
    ]


def explanations(card: ModelCard, catalog: str) -> Explanations:
    """The builder of the queries that explain scores by the registered score function."""
    gather = replace(card.gather(catalog), message_functions=card.left_functions)

    def scored(seed_sql: str, kept: Sequence[str]) -> str:
        without = replace(gather, rows=replace(gather.rows, removals=True))
        columns = columns_of("seed", (ENTITY, AS_OF, *kept))
        result = f"{card.left_function}({score_argument(without)}) AS relsql_result"
        query = without.query(seed_sql, f"{columns}, {result}")
        scores = ", ".join(f"relsql_result.{name} AS {name}" for name in score_columns(card.classes))
        return f"SELECT * EXCLUDE (relsql_result), {scores}\nFROM (\n{indented(query)}\n)"

    return Explanations(gather.rows, scored, card.task.is_classification, card.classes is not None, card.threshold)


def explain_macros(card: ModelCard, catalog: str, suffix: str) -> list[MacroText]:
    """The table macros that explain scores: of one entity, and of all; lists of classes or steps are not explained."""
    if not card.is_explained:
        lists = "lists of classes" if card.classes else "several windows"
        message = f"model '{card.name}' predicts {lists}, which are not explained. Expected: one number or class"
        one, of_all = explain_names(suffix)
        given = f"{ALL_PARAMETERS}, {explain_parameters(OWN_TOP)}"
        called = MacroText(one, f"{_ANY_KEY}{given}", "", "")
        return [called.refusing(message), MacroText(of_all, given, "", "").refusing(message)]
    functions = explanations(card, catalog).functions(sealed)
    named = zip(explain_names(suffix), *functions, strict=True)
    return [MacroText(name, parameters, query, "") for name, parameters, query in named]


def scalar_sql(card: ModelCard, catalog: str, indexed: Indexed = frozenset()) -> str:
    """The body of `predict_<model>_full`: a correlated subquery over one seed, planned as a single set-based join."""
    return _call_sql(card, catalog, indexed, card.score_function)


def state_sql(card: ModelCard, catalog: str, indexed: Indexed = frozenset()) -> str:
    """The body of `embed_<model>`, in the form of `scalar_sql`."""
    return _call_sql(card, catalog, indexed, card.state_function)


def _call_sql(card: ModelCard, catalog: str, indexed: Indexed, function: str) -> str:
    """A subquery that gathers the seed of a call, and calls a function on it."""
    gather = card.gather(catalog).for_seeds("call", indexed=indexed)
    select = f"CASE WHEN seed._given THEN {function}({score_argument(gather)}) END AS relsql_result"
    query = gather.query(call_seed_sql(card.entity, gather.rows), select=select)
    return sealed_expression(f"(\n{indented(query)}\n)")


def batch_sql(
    card: ModelCard,
    catalog: str,
    *,
    moment: str | None = None,
    where: str | None = None,
    gather: Gather | None = None,
) -> str:
    """The query of `predict_<model>_batch`: one row per entity that is visible at as_of.

    Args:
        card: the model's card.
        catalog: database that holds the tables.
        moment: as_of as an expression of type TIMESTAMP; default: the macro's argument, or the latest event.
        where: a condition on `relsql_entity`, the entity's row: only these entities are gathered and scored.
        gather: the gather of the model, where it reads other relations than the tables.
    """
    gather = gather or card.gather(catalog)
    select = f"seed.{ENTITY}, {_result_sql(card, gather)} AS relsql_result"
    query = gather.query(all_seeds_sql(card.entity, gather.rows, moment, where), select=select)
    columns = ",\n    ".join(f"relsql_result.{name} AS {name}" for name in batch_columns(card.classes))
    keys = key_columns_sql(card.entity, ENTITY, card.score_key)
    scored = f"SELECT {keys},\n    {columns}\nFROM (\n{indented(query)}\n)"
    if card.task.steps:
        scored = steps_sql(card.score_key, card.task.timedelta, card.task.steps, scored)
    return sealed(scored)


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


def score_parameter(card: ModelCard, apart: Collection[str]) -> str:
    """The DuckDB type of the score function's argument; the paths `apart` have messages instead of rows."""
    fields = ["as_of TIMESTAMP", "seed_order UBIGINT"]
    for path, layout in zip(card.paths, layouts_of(card.paths, card.inputs), strict=True):
        fields.append(f"{ident(path.name)} {MESSAGE_SQL_TYPE if path.name in apart else layout.arrow_type()}")
        if path.counted and path.name not in apart:
            fields.append(f"{ident(counts_name(path.name))} {layout.counts_type()}")
    return f"STRUCT({', '.join(fields)})"

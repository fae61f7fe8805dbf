"""Why a score is what it is, in SQL: the score without each row, column or table that it reads.

The query has three steps. First, the rows that the scores read (`relsql.gather.explain.read_rows`). Then one seed for
each score as it is, and one for each thing to leave out of it (`relsql.gather.sql.removals`); they are scored like any
other seeds, by the function or the plain SQL that `Scored` writes. Last, the differences, ranked by their size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relsql.gather.explain.read_rows import ReadRows, key_text_sql
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import AS_OF, ENTITY, SEED, LatestRows
from relsql.gather.sql.ranking import columns_of
from relsql.gather.sql.removals.conditions import (
    ALL_ROWS_SQL,
    NOTHING,
    OUT,
    OUT_COLUMN,
    OUT_TABLE,
    hidden_columns,
    table_number,
)
from relsql.gather.sql.seeds import ALL_PARAMETERS, all_seeds_sql, call_parameters, call_seed_sql
from relsql.schema.entity_keys import key_columns_sql, output_names
from relsql.schema.tables import Table
from relsql.schema.times.events import time_sql
from relsql.sql_text import COMMA, Cte, ident, indented, literal, with_ctes

LEVELS = ("row", "column", "table")
"""What is left out: single rows and the entity's own values; a column of a table wherever it is read; all rows of a
table."""

OWN_TOP, BATCH_TOP = 10, 5
"""How many contributions of each score are returned by default: for one entity, and for all."""

DEFAULT_THRESHOLD = 0.5
"""The probability at or above which the answer is yes, if nobody has chosen a threshold."""

_TOLD = ("place", "row_key", "row_time", "column_name", "value")
"""Columns that describe what a seed leaves out."""

_CONTRIBUTION = ("contribution", "logit_contribution", "class", "score", "as_of")

_PROBABILITIES = ("probabilities", "probabilities_without")

_ASKED = "relsql_asked_seeds"
"""Stands for the seeds of a function until its query is in its final form."""

Scored = Callable[[str, Sequence[str]], str]
"""(seeds as a query, further columns of the seeds) -> a query for entity, as_of, these columns and `score`; of a
multiclass task also `probabilities`."""


def explained_key(entity: Table) -> tuple[str, ...]:
    """The names of the key's columns beside the others of `explain_<model>`."""
    return output_names(entity, ("rank", "table_name", "path", *_TOLD[1:], *_CONTRIBUTION))


def explain_parameters(top: int) -> str:
    """The parameters of the functions for one entity and for all that the score functions do not have."""
    return f"level := 'row', top := {top}, counterfactual := false, threshold := NULL"


@dataclass(frozen=True, slots=True)
class Explanations:
    """Builds the query of `explain_<model>`.

    Attributes:
        rows: which rows are read.
        scored: how seeds are scored.
        logit: contributions are also given on the scale of the logit, because what is explained is a probability.
        by_class: the score is a class, so the probability of this class is explained.
        threshold: the score at or above which the answer is yes, if the model has one.
    """

    rows: LatestRows
    scored: Scored
    logit: bool
    by_class: bool = False
    threshold: float | None = None

    @property
    def _plan(self) -> RowPlan:
        return self.rows.plan

    def functions(self, query_form: Callable[[str], str]) -> tuple[tuple[str, str], tuple[str, str]]:
        """The parameters of the functions for one entity and for all, and their queries in a form, such as sealed.

        Both are the same query over different seeds. It is put into that form once, because sealing it takes a second.
        """
        entity = self._plan.entity
        called = indented(call_seed_sql(entity, self.rows))
        one = f"SELECT {ENTITY}, {AS_OF}\nFROM (\n{called}\n)\nWHERE _given"
        query = query_form(self.query(f"SELECT * FROM {_ASKED}"))
        own, of_all = (
            query.replace(_ASKED, f"({query_form(seeds)})") for seeds in (one, all_seeds_sql(entity, self.rows))
        )
        parameters = (
            f"{call_parameters(entity)}, {explain_parameters(OWN_TOP)}",
            f"{ALL_PARAMETERS}, {explain_parameters(BATCH_TOP)}",
        )
        return parameters, (own, of_all)

    def query(self, seed_sql: str, level: str | None = None) -> str:
        """The whole query.

        Args:
            seed_sql: a query for the columns `_entity` and `_as_of` of the scores to explain.
            level: leave out everything of this level, one at a time; default: as the function's parameters say.
                Where a level is given and scores are classes, each row also has the probabilities of all classes.
        """
        more = _PROBABILITIES if self.by_class and level is not None else ()
        ctes = [
            Cte("asked", self._arguments_sql() if level is None else _everything_sql(level), "The arguments."),
            Cte("left_out", self._left_out_sql(seed_sql), "The scores as they are, and what to leave out of each."),
            Cte("found", self.scored("SELECT * FROM left_out", [*OUT, *_TOLD]), "The score of each."),
            Cte("compared", self._compared_sql(more), "The difference that each makes."),
            Cte("ranked", self._ranked_sql(), "The order of the differences of each score."),
        ]
        return with_ctes(ctes, self._result_sql(more), materialized=["left_out", "found"])

    def _arguments_sql(self) -> str:
        """The arguments under names of their own: DuckDB replaces every bare name that is a parameter's."""
        levels = ", ".join(map(literal, LEVELS))
        problem = literal(f"level is not one of {', '.join(LEVELS)}")
        bound = f"coalesce(CAST(threshold AS DOUBLE), {self._default_bound_sql()})"
        return (
            f"SELECT CASE WHEN level IN ({levels}) THEN level ELSE error({problem}) END AS what,\n"
            f"    CAST(top AS BIGINT) AS most, CAST(counterfactual AS BOOLEAN) AS crossing,\n"
            f"    CASE WHEN CAST(counterfactual AS BOOLEAN) THEN {bound} END AS bound"
        )

    def _default_bound_sql(self) -> str:
        """The default threshold of counterfactuals. Scores that are values have none that would fit every question."""
        if self.by_class:
            return f"error({literal('counterfactual needs a score that is one number, and this one is a class')})"
        needed = "counterfactual needs a threshold in the unit of the score: threshold := 10"
        default = DEFAULT_THRESHOLD if self.threshold is None else self.threshold
        return repr(default) if self.logit else f"error({literal(needed)})"

    def _left_out_sql(self, seed_sql: str) -> str:
        """One row for each score as it is, and one for each thing to leave out of it."""
        reads = ReadRows.of(self.rows)
        ctes = reads.ctes(seed_sql)
        seed = columns_of("seed", (ENTITY, AS_OF))
        nothing = f"{NOTHING} AS {OUT[0]}, {ALL_ROWS_SQL} AS {OUT[1]}, {NOTHING} AS {OUT[2]}"
        untold = "NULL AS place, NULL AS row_key, NULL AS row_time, NULL AS column_name, NULL AS value"
        rows = (
            f"SELECT {seed}, read.out_table, read.out_row, {NOTHING},\n"
            f"    read.place, read.row_key, read.row_time, NULL, NULL\n"
            f"FROM read JOIN seed USING ({SEED}), asked WHERE asked.what = 'row'"
        )
        parts = [f"SELECT {seed}, {nothing}, {untold}\nFROM seed", rows]
        parts += [part for part in (self._own_columns_sql(), self._other_columns_sql(), self._tables_sql()) if part]
        return self.rows.written(ctes, "\nUNION ALL\n".join(parts))

    def _own_columns_sql(self) -> str:
        """The values of the entity's own row that can be hidden; empty if it has none."""
        entity, unread = self._plan.entity, self._plan.asked.hidden
        own = [(n, c) for n, (key, c) in enumerate(hidden_columns(self._plan)) if key == entity.key]
        numbers = {column: number for number, column in own if column not in unread}
        if not numbers:
            return ""
        time = time_sql(entity, "r") if entity.time_column else "CAST(NULL AS TIMESTAMP)"
        values = [
            f"{{number: {number}, name: {literal(c)}, value: CAST(r.{ident(c)} AS VARCHAR)}}"
            for c, number in numbers.items()
        ]
        listed = f"unnest([\n{indented(COMMA.join(values))}\n]) AS hidden"
        values_of_row = (
            f"SELECT {columns_of('self', (ENTITY, AS_OF))},\n"
            f"    {key_text_sql(entity, 'r')} AS row_key, {time} AS row_time,\n"
            f"{indented(listed)}\n{self.rows.single_from(self._plan.paths[0])}"
        )
        return (
            f"SELECT {ENTITY}, {AS_OF}, {NOTHING}, {ALL_ROWS_SQL}, hidden.number,\n"
            f"    0, row_key, row_time, hidden.name, hidden.value\n"
            f"FROM (\n{indented(values_of_row)}\n), asked WHERE asked.what IN ('row', 'column')"
        )

    def _other_columns_sql(self) -> str:
        """The columns of other tables; empty if the only ones are in tables that a path only passes through."""
        numbered = enumerate(hidden_columns(self._plan))
        first = self._first_places()
        values = ", ".join(f"({n}, {first[key]}, {literal(c)})" for n, (key, c) in numbered if key in first)
        return values and (
            f"SELECT {columns_of('seed', (ENTITY, AS_OF))}, {NOTHING}, {ALL_ROWS_SQL}, other.n,\n"
            f"    other.place, NULL, NULL, other.name, NULL\n"
            f"FROM seed, (VALUES {values}) other (n, place, name), asked WHERE asked.what = 'column'"
        )

    def _first_places(self) -> dict[str, int]:
        """For each table, the first place where its rows are read; the row of the entity itself does not count."""
        places = [*enumerate(ReadRows.of(self.rows).places())]
        return {table.key: place for place, (_, table) in reversed(places) if table.key != self._plan.entity.key}

    def _tables_sql(self) -> str:
        """All rows of each table but the entity's own; empty if no other table is read."""
        first = self._first_places()
        values = ", ".join(f"({table_number(self._plan, key)}, {place})" for key, place in sorted(first.items()))
        return values and (
            f"SELECT {columns_of('seed', (ENTITY, AS_OF))}, other.n, {ALL_ROWS_SQL}, {NOTHING},\n"
            f"    other.place, NULL, NULL, NULL, NULL\n"
            f"FROM seed, (VALUES {values}) other (n, place), asked WHERE asked.what = 'table'"
        )

    def _compared_sql(self, more: Sequence[str]) -> str:
        """The difference between the score with and without each thing; `more` are names for the probabilities."""
        score, without = self._value_sql("whole"), self._value_sql("less")
        logit = f"{_logit_sql(score)} - {_logit_sql(without)}" if self.logit else "CAST(NULL AS DOUBLE)"
        class_ = "    whole.score AS class,\n" if self.by_class else ""
        if more:
            class_ += f"    whole.probabilities AS {more[0]}, less.probabilities AS {more[1]},\n"
        nothing = f"{OUT_TABLE} = {NOTHING} AND %s.{OUT_COLUMN} = {NOTHING}"
        return (
            f"SELECT {columns_of('less', (ENTITY, AS_OF, *_TOLD))},\n"
            f"{class_}    {score} AS score, {without} AS score_without,\n"
            f"    {score} - {without} AS contribution, {logit} AS logit_contribution\n"
            f"FROM found less\n"
            f"JOIN found whole ON whole.{ENTITY} = less.{ENTITY} AND whole.{AS_OF} = less.{AS_OF}\n"
            f"    AND whole.{nothing % 'whole'}\n"
            f"WHERE NOT (less.{nothing % 'less'}) AND less.score IS NOT NULL"
        )

    def _value_sql(self, side: str) -> str:
        """What is explained: the score, or the probability of the predicted class."""
        return f"map_extract_value({side}.probabilities, whole.score)" if self.by_class else f"{side}.score"

    def _ranked_sql(self) -> str:
        """The differences in order: the largest first, or the smallest of those that cross the threshold."""
        size = "CASE WHEN asked.crossing THEN abs(contribution) ELSE -abs(contribution) END"
        order = f"{size} ASC, place ASC, row_key ASC NULLS LAST, column_name ASC NULLS LAST"
        crossed = "(compared.score >= asked.bound) <> (compared.score_without >= asked.bound)"
        return (
            f"SELECT compared.*, row_number() OVER (PARTITION BY {ENTITY}, {AS_OF} ORDER BY {order}) AS nth\n"
            f"FROM compared, asked\nWHERE NOT asked.crossing OR {crossed}"
        )

    def _result_sql(self, more: Sequence[str]) -> str:
        places = ReadRows.of(self.rows).places()
        tables = f"[{', '.join(literal(table.key) for _, table in places)}]"
        paths = f"[{', '.join(literal(text) for text, _ in places)}]"
        class_ = "".join(f"{name}, " for name in (*(("class",) if self.by_class else ()), *more))
        return (
            f"SELECT {key_columns_sql(self._plan.entity, ENTITY, explained_key(self._plan.entity))}, nth AS rank,\n"
            f"    list_extract({tables}, place + 1) AS table_name,\n"
            f"    list_extract({paths}, place + 1) AS path,\n"
            f"    row_key, row_time, column_name, value,\n"
            f"    contribution, logit_contribution, {class_}score, {AS_OF} AS as_of\n"
            f"FROM ranked, asked\n"
            f"WHERE asked.most IS NULL OR nth <= asked.most\n"
            f"ORDER BY {ENTITY} ASC, {AS_OF} ASC, nth ASC"
        )


def _everything_sql(level: str) -> str:
    """Arguments that ask for all contributions of a level."""
    return f"SELECT {literal(level)} AS what, CAST(NULL AS BIGINT) AS most, false AS crossing, 0.0 AS bound"


def _logit_sql(score: str) -> str:
    """The logit of a score; NULL for 0 and 1."""
    return f"CASE WHEN {score} > 0 AND {score} < 1 THEN ln({score} / (1 - {score})) END"

"""A model as plain SQL: views over the tables that it reads, and macros that score with ordinary tables of weights.

Calling them needs only DuckDB. DuckDB resolves the names in a macro in the caller's database, but the names in a view
in the view's own database. Macros therefore read views, whose names end with the model's identity: a macro that is
called from another database can never read that database's tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from exporters.sql.certainty import certainty_sql
from exporters.sql.classes import VALID, boosted_sql, label_steps, probabilities_sql, raw_steps, score_sql
from exporters.sql.layers import element_sql, linear_sql, norm_steps, sum_sql, twice_relu_sql
from exporters.sql.network import SqlNetwork
from exporters.sql.step_values import VALID_VALUES, value_steps
from exporters.sql.texts import new_texts_sql
from relsql.database.names import DEFAULT_SCHEMA
from relsql.database.queries.sealed import sealed, sealed_expression
from relsql.gather.explain.explanations import Explanations
from relsql.gather.sql.latest_rows import AS_OF, ENTITY, SEED, LatestRows
from relsql.gather.sql.results import batch_columns, classes_sql, score_columns, step_score_sql, steps_sql
from relsql.gather.sql.seeds import ALL_PARAMETERS, STEP_PARAMETER, all_seeds_sql, call_parameters, call_seed_sql
from relsql.hints import command
from relsql.nn.head import DAYS_PER_YEAR, LARGEST_LOG
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import classes_name, explain_names, function_names
from relsql.registry.publications import comment_start, new_texts_view, texts_table, weights_table
from relsql.registry.row_embeddings import table_name
from relsql.schema.entity_keys import key_columns_sql
from relsql.schema.indexes import Indexed
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Table
from relsql.sql_layout import comment_sql
from relsql.sql_text import COMMA, Cte, field_sql, ident, indented, literal, qualified
from relsql.tasks.target import MEAN

FARTHEST_DAY = 106_751_991.0
"""Days from 1970 to the ends of TIMESTAMP; used for infinite times."""

_EXPLAINED = ("What the score of one entity is made of.", "What the scores of all entities are made of.")
"""Comments on the functions of `explain_names`."""

_ATTACH_FIRST = "The data are in another database; a client without relsql first runs:"


@dataclass(frozen=True, slots=True)
class SqlModel:
    """The SQL of one model version.

    Attributes:
        card: its card.
        relsql_schema: the schema of relsql's tables in its database.
        logarithmic: see `exporters.sql.weights.logarithmic_columns`.
        indexed: columns whose index is used to find the rows of a call's entity.
        sources: the statements that attach the databases which hold the data, if the model lives in a file of its own.
    """

    card: ModelCard
    relsql_schema: str
    logarithmic: frozenset[str]
    indexed: Indexed = frozenset()
    sources: tuple[str, ...] = ()

    @property
    def weights_table(self) -> str:
        """Name of the table of weights within relsql's schema."""
        return weights_table(self.card.identity)

    def views(self) -> list[tuple[str, str]]:
        """The views over the tables that the model reads: name within relsql's schema, and query."""
        return [(self._view_name(table), self._view_sql(table)) for table in self._tables()]

    def _own(self, name: str) -> str:
        """The qualified name of a table or view of the model."""
        return qualified(self.relsql_schema, name)

    def network(self) -> SqlNetwork:
        """The builder of the scoring query."""
        card = self.card
        views = {table.key: self._own(self._view_name(table)) for table in self._tables()}
        return SqlNetwork(
            LatestRows(card.rows, catalog="", sources=views, visible=card.task.visible),
            weights=self._own(self.weights_table),
            texts=self._own(texts_table(card.identity)),
            logarithmic=self.logarithmic,
            channels=card.channels,
            windows=card.windows,
            statistics=card.statistics,
        )

    def statements(self, *, seal: bool = True) -> list[str]:
        """Statements that create views, macros and the table of texts in the current database.

        The tables of weights and of row embeddings must exist. Queries are sealed (`relsql.database.queries.sealed`);
        without `seal` they are the same queries in readable form.
        """
        query_form = sealed if seal else str
        views = [(view, query_form(query)) for view, query in self.views()]
        call = sealed_expression(self.call_sql()) if seal else self.call_sql()
        batch = self.batch_sql()
        scored, full, table = (qualified(DEFAULT_SCHEMA, name) for name in function_names(self.card.name))
        names = (qualified(DEFAULT_SCHEMA, name) for name in explain_names(self.card.name))
        explaining: list[tuple[str, str, str]] = []
        if self.card.is_explained:
            explaining = list(zip(names, *self.explanations().functions(query_form), strict=True))
        by_class = qualified(DEFAULT_SCHEMA, classes_name(self.card.name))
        of_classes = classes_sql(self.card.entity, self.card.classes, batch) if self.card.classes else ""
        described = {
            f"MACRO {scored}": "Score of one entity; NULL for one that is not known.",
            f"MACRO {full}": (
                "Score of one entity with status, evidence (rows of its history), as_of, version, target, interval."
            ),
            f"MACRO TABLE {table}": "Scores of all entities that are visible at as_of.",
            **dict(zip((f"MACRO TABLE {name}" for name, *_ in explaining), _EXPLAINED, strict=False)),
            **({f"MACRO TABLE {by_class}": "Probability of every class for the same entities."} if of_classes else {}),
            f"TABLE {self._own(self.weights_table)}": "Weights of the network, one row.",
            **{f"VIEW {self._own(view)}": "What the model reads of a table." for view, _ in views},
        }
        texts = self.text_statements(query_form)
        if texts:
            identity = self.card.identity
            described[f"TABLE {self._own(texts_table(identity))}"] = "What texts contribute to the rows of a table."
            described[f"VIEW {self._own(new_texts_view(identity))}"] = "Texts that it lacks."
        needs = (_ATTACH_FIRST, *self.sources) if self.sources else ()
        return [
            *(f"CREATE OR REPLACE VIEW {self._own(view)} AS\n{query}" for view, query in views),
            *texts,
            f"CREATE MACRO {full}({call_parameters(self.card.entity)}) AS (\n{indented(call)}\n)",
            self._score_macro(scored, call, seal=seal),
            *(f"CREATE MACRO {name}({given}) AS TABLE\n{query}" for name, given, query in explaining),
            f"CREATE MACRO {table}({ALL_PARAMETERS}) AS TABLE\n{query_form(batch)}",
            *([f"CREATE MACRO {by_class}({ALL_PARAMETERS}) AS TABLE\n{query_form(of_classes)}"] if of_classes else []),
            *(comment_sql(what, f"{self.comment()}. {text}", *needs) for what, text in described.items()),
        ]

    def _score_macro(self, name: str, call: str, *, seal: bool) -> str:
        """The statement that creates `predict_<model>`; of a forecast in steps it has an argument for the window."""
        score, more = field_sql(call, "score"), tuple[str, ...]()
        if steps := self.card.task.steps:
            score, more = step_score_sql(call, steps), (STEP_PARAMETER,)
            score = sealed_expression(score) if seal else score
        return f"CREATE MACRO {name}({call_parameters(self.card.entity, *more)}) AS (\n{indented(score)}\n)"

    def text_statements(self, query_form: Callable[[str], str]) -> list[str]:
        """Statements that create and fill the table of texts, and the view of texts that it lacks."""
        identity, network = self.card.identity, self.network()
        query = new_texts_sql(network, self._own(table_name(identity)))
        if not query:
            return []
        view = self._own(new_texts_view(identity))
        return [
            f"CREATE OR REPLACE TABLE {network.texts} (place VARCHAR, text_hash UHUGEINT, text_state FLOAT[])",
            f"CREATE OR REPLACE VIEW {view} AS\n{query_form(query)}",
            f"INSERT INTO {network.texts} FROM {view}",
        ]

    def comment(self) -> str:
        """A description of the model for people who browse a catalog; its start names the model."""
        card, kind = self.card, self.card.task.task_type.replace("_", " ")
        metrics = [f"{name} {value:.4g}" for name, value in card.metrics.items() if name.startswith("val_")]
        described = [f"{card.task.name} ({kind}, {card.task.moment})", *metrics[:1]]
        until = f"trained until {card.trained_until:%Y-%m-%d}"
        return f"{comment_start(card.name)}version {card.version}: {', '.join([*described, until])}"

    def call_sql(self) -> str:
        """The body of `predict_<model>_full(id, as_of := ...)`: a subquery for a STRUCT, NULL without id or moment."""
        network = self.network()
        network = replace(network, rows=replace(network.rows, seed_kind="call", indexed=self.indexed))
        fields = [
            *("score: score", "status: status", "evidence: evidence", f"as_of: {AS_OF}", "version: version"),
            f"target: {literal(self.card.task.predicts)}",
            *(() if self.card.task.steps else (certainty_sql(self.card),)),
        ]
        listed = indented(",\n".join(fields))
        result = f"SELECT CASE WHEN _given THEN {{\n{listed}\n}} END AS relsql_result\nFROM scored"
        return (
            f"(\n{indented(self._query(network, call_seed_sql(self.card.entity, network.rows), ['_given'], result))}\n)"
        )

    def batch_sql(self) -> str:
        """The query of `predict_<model>_batch(as_of := ...)`: one row for each entity that is visible at as_of."""
        network = self.network()
        key = key_columns_sql(self.card.entity, ENTITY, self.card.score_key)
        names = [f"{AS_OF} AS as_of" if name == "as_of" else name for name in batch_columns(self.card.classes)]
        result = f"SELECT {key}, {', '.join(names)}\nFROM scored"
        batch, task = self._query(network, all_seeds_sql(self.card.entity, network.rows), [], result), self.card.task
        return steps_sql(self.card.score_key, task.timedelta, task.steps, batch) if task.steps else batch

    def explanations(self) -> Explanations:
        """The builder of `explain_<model>` and `explain_<model>_batch`."""
        network = self.network()
        looking_away = replace(network, rows=replace(network.rows, removals=True))

        def scored(seed_sql: str, kept: Sequence[str]) -> str:
            columns = ", ".join([ENTITY, AS_OF, *kept, *score_columns(self.card.classes)])
            return self._query(looking_away, seed_sql, list(kept), f"SELECT {columns}\nFROM scored")

        return Explanations(
            network.rows, scored, self.card.task.is_classification, self.card.classes is not None, self.card.threshold
        )

    def _query(self, network: SqlNetwork, seed_sql: str, kept: list[str], result: str) -> str:
        ctes = network.rows.ctes(network, seed_sql)
        messages = network.rows.select_sql(network, self._message_columns(network, kept))
        ctes.append(Cte("messages", messages, "The message of every path to each seed; NULL if the path has no rows."))
        ctes += [*self._state_steps(network), *self._raw_steps(network)]
        ctes.append(Cte("scored", self._scored_sql(kept), "Score, status and evidence."))
        return network.rows.written(ctes, result)

    def _message_columns(self, network: SqlNetwork, kept: list[str]) -> str:
        """For each seed, the messages of all paths and the columns that `status` and `evidence` are computed from."""
        paths = network.columns_per_path()
        linked = paths[1:]
        evidence = [f"coalesce({name}, 0)" for _, names in linked for name in names if name.endswith("__evidence")]
        newest = [name for _, names in linked for name in names if name.endswith("__newest_days")]
        infinite = "'infinity'::FLOAT"
        pending = [f"coalesce({name}, 0)" for _, names in paths for name in names if name.endswith("__pending")]
        return ",\n    ".join(
            [
                f"seed.{SEED}, seed.{ENTITY}, seed.{AS_OF}",
                *(f"seed.{column}" for column in kept),
                f"{ident(paths[0][0].name)}.{ident(paths[0][0].name)} IS NOT NULL AS known",
                f"{' + '.join(evidence) or '0'} AS evidence",
                # least() ignores NULL: an age that is unknown, or of an infinite time.
                f"least({', '.join([*newest, infinite])}) AS newest_days",
                f"{' + '.join(pending) or '0'} AS pending",
                *(f"{ident(path.name)}.{ident(path.name)} AS message{i}" for i, (path, _) in enumerate(paths)),
                *self._chosen_columns(network),
            ]
        )

    def _chosen_columns(self, network: SqlNetwork) -> list[str]:
        """The statistics of all paths that the trees read, as one list; they are 0 where a path has no rows."""
        if not self.card.statistics:
            return []
        parts = []
        for path in self.card.paths:
            count = len(network.chosen(path))
            parts += [f"coalesce({path.name}__chosen, [{', '.join(['0'] * count)}])"] if count else []
        return [f"list_concat({', '.join(parts)}) AS statistics"]

    def _state_steps(self, network: SqlNetwork) -> list[Cte]:
        """CTEs for the entity state of seeds whose entity is known: the sum of all messages, normed."""
        numbers = range(len(self.card.paths))
        weights = network.with_weights(
            "messages", head="head", **{f"v{i}": f"path {path.name}" for i, path in enumerate(self.card.paths)}
        )
        columns = ",\n    ".join(f"coalesce(message{i}, v{i}.without_rows) AS message{i}" for i in numbers)
        total = sum_sql(*(f"message{i}" for i in numbers))
        kept = f"{SEED}, {AS_OF}, head" + (", statistics" if self.card.statistics else "")
        filled = f"SELECT {kept},\n    {columns}\nFROM (\n{indented(weights)}\n)\nWHERE known"
        summed = f"SELECT {kept},\n    {total} AS sum\nFROM filled"
        return [
            Cte("filled", filled, "The messages of known entities; a path without rows has a constant one."),
            Cte("summed", summed, "The sum of the messages, one element a channel."),
            *norm_steps("summed", "inverse", "state", "sum", norm="head", channels=network.channels),
        ]

    def _raw_steps(self, network: SqlNetwork) -> list[Cte]:
        """CTEs for the head's raw output, from the entity state and the time of the prediction."""
        days = (
            f"CASE WHEN isfinite({AS_OF}) THEN epoch({AS_OF}) / 86400.0 "
            f"WHEN {AS_OF} > TIMESTAMP '1970-01-01' THEN {FARTHEST_DAY} ELSE -{FARTHEST_DAY} END"
        )
        share = "(days - first_day) / (last_day - first_day)"
        # FLOAT, as in the network: days are large enough that rounding to FLOAT changes the season.
        angle = f"days * CAST({2 * math.pi / DAYS_PER_YEAR!r} AS FLOAT)"
        time = (
            f"CASE WHEN {share} > 1 THEN 1 WHEN {share} < 0 THEN 0 ELSE {share} END",
            f"sin({angle}) * seasonal",
            f"cos({angle}) * seasonal",
        )
        constants = ", ".join(f"head.constants.{name}" for name in ("first_day", "last_day", "seasonal"))
        return [
            Cte("dated", f"SELECT *, CAST({days} AS FLOAT) AS days, {constants}\nFROM state", "as_of in days."),
            Cte(
                "timed",
                f"SELECT *,\n    [{', '.join(time)}] AS times\nFROM dated",
                "The time of the prediction as the head's inputs.",
            ),
            Cte(
                "hidden",
                "SELECT * EXCLUDE (inputs),\n"
                f"    list_concat({twice_relu_sql(linear_sql('head.hidden', 'inputs'))}, [1.0]) AS hidden\n"
                "FROM (\n    SELECT *, list_concat(state, times, [1.0]) AS inputs\n    FROM timed\n)",
                "The head's hidden layer, over the state and the time.",
            ),
            *(self._tree_steps() if self.card.statistics else []),
            *self._last_steps(),
        ]

    def _last_steps(self) -> list[Cte]:
        """CTEs from the head's hidden layer to `raw`."""
        if self.card.classes and self.card.classes.many:
            return label_steps()
        if self.card.classes:
            return raw_steps(trees=bool(self.card.statistics))
        if self.card.task.steps:
            return value_steps(self._value_sql("v", "constants"), trees=bool(self.card.statistics))
        return [Cte("raw", self._raw_sql(), "The head's output, before calibration.")]

    def _tree_steps(self) -> list[Cte]:
        """CTEs for the output of the head's trees, see `relsql.nn.boosted_trees`."""
        place = f"({element_sql('tree_inputs', 's.input')} - s.lower) / s.span"
        # v between 0 and 1; this form is faster than least() and greatest().
        clipped = "(abs(v) - abs(v - 1) + 1) / 2"
        shares = f"list_transform(list_transform(head.shares, lambda s: {place}), lambda v: {clipped})"
        product = " * ".join(element_sql("shares", side) for side in ("p.left", "p.right"))
        paired = f"list_transform(head.pairs, lambda p: {product})"
        boosted = [
            "head.constants.tree_constant",
            "list_inner_product(shares, head.share_weights)",
            f"coalesce(list_inner_product({paired}, head.pair_weights), 0)",
        ]
        boosted_query = f"SELECT *,\n    {' + '.join(boosted)} AS boosted\nFROM shares"
        return [
            Cte(
                "shares",
                f"SELECT *, {shares} AS shares\n"
                "FROM (\n    SELECT *, list_concat(statistics, times) AS tree_inputs\n    FROM hidden\n)",
                "For each question of the trees, how far the seed is on the side of yes.",
            ),
            Cte(
                "boosted",
                boosted_sql(paired) if self.card.outputs else boosted_query,
                "The sum of all trees: weights of shares and of pairs of shares.",
            ),
        ]

    def _raw_sql(self) -> str:
        raw, source = "list_inner_product(hidden, head.out)", "hidden"
        if self.card.statistics:
            raw, source = f"{raw} + head.constants.tree_share * (boosted - {raw})", "boosted"
        return f"SELECT {SEED}, head.constants AS constants,\n    {raw} AS raw\nFROM {source}"

    def _scored_sql(self, kept: list[str]) -> str:
        """A query for score, status and the rest of the result of every seed; no score if the entity is not known."""
        stale, classes, score = self.card.stale_after_days, self.card.classes, self._score_sql()
        # DuckDB orders NaN above every number, so NaN is not valid either.
        valid = f"{score} BETWEEN " + ("0 AND 1" if self.card.task.is_classification else "-1e308 AND 1e308")
        valid, more = VALID_VALUES if self.card.task.steps else valid, ""
        if classes:
            valid, more = VALID, f",\n    CASE WHEN {VALID} THEN {probabilities_sql(classes)} END AS probabilities"
        status = [
            "WHEN raw.raw IS NULL THEN 'unknown_entity'",
            f"WHEN NOT ({valid}) THEN 'error'",
            "WHEN messages.pending > 0 THEN 'text_pending'",
            "WHEN messages.evidence = 0 THEN 'no_history'",
            *([f"WHEN messages.newest_days > {literal(float(stale))} THEN 'stale'"] if stale is not None else []),
        ]
        return (
            f"SELECT {', '.join(f'messages.{column}' for column in (ENTITY, AS_OF, *kept))},\n"
            f"    CASE WHEN {valid} THEN {score} END AS score,\n"
            f"    CASE {' '.join(status)} ELSE 'ok' END AS status,\n"
            f"    CAST(CASE WHEN raw.raw IS NULL THEN 0 ELSE messages.evidence END AS INTEGER) AS evidence,\n"
            f"    {self.card.version} AS version{more}\n"
            f"FROM messages\n"
            f"LEFT JOIN raw USING ({SEED})"
        )

    def _score_sql(self) -> str:
        """The calibrated score, see `relsql.nn.head.Head.scores`, or the likeliest class."""
        if self.card.classes:
            return score_sql(self.card.classes)
        if self.card.task.steps:
            return "raw.raw"
        if self.card.task.is_classification:
            return "1 / (1 + exp(-raw.raw / raw.constants.temperature))"
        return self._value_sql("raw.raw", "raw.constants")

    def _value_sql(self, raw: str, constants: str) -> str:
        """An output of a regression in the unit of the labels."""
        value = f"({raw} * {constants}.label_scale + {constants}.label_center)"
        bounded = f"least(abs({value}), {LARGEST_LOG})"
        unlogged = f"sign({value}) * (exp({bounded}) - 1)"
        if self.card.task.target == MEAN:
            unlogged = f"exp(sign({value}) * {bounded})"
        return f"CASE WHEN {constants}.label_logarithmic > 0.5 THEN {unlogged} ELSE {value} END"

    def _tables(self) -> list[Table]:
        return [self.card.schema.table(key) for key in self.card.schema.tables]

    def _view_name(self, table: Table) -> str:
        return f"{table.key}_{self.card.identity}"

    def _view_sql(self, table: Table) -> str:
        """The columns that the model reads of a table and, without a primary key, the row's position in storage."""
        # If a column no longer exists, DuckDB's error shows this alias, which says where to look.
        alias = ident(f"see {command('selftest', 'FILE', self.card.name)}")
        columns = [] if table.primary_key or table.is_view else ["rowid"]
        # A column whose type has changed still works as long as its values can be cast.
        for column in table.columns:
            value = f"CAST({alias}.{ident(column.name)} AS {column.type})"
            # ARRAY values are read as text, see `relsql.schema.relations`.
            value = f"CAST({value} AS VARCHAR)" if column.holds_array else value
            columns.append(f"{value} AS {ident(column.name)}")
        return f"SELECT {indented(COMMA.join(columns)).lstrip()}\nFROM {relation_sql(table)} AS {alias}"

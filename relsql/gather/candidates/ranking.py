"""The queries that rank items: for the entity of a call, for all entities, and for labelled seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relsql.gather.candidates.features import Candidates
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import AS_OF, ENTITY, LatestRows
from relsql.gather.sql.seeds import ALL_PARAMETERS, all_seeds_sql, call_parameters, call_seed_sql
from relsql.schema.entity_keys import is_entity_sql, key_columns_sql, output_names
from relsql.schema.relations import relation_sql
from relsql.schema.visibility import and_visible_sql
from relsql.sql_text import Cte, ident, with_ctes

OPTIONS = f"k := 10, exclude_seen := false, {ALL_PARAMETERS}"
"""The parameters of functions that recommend, after the key."""

_ARGUMENTS = "SELECT CAST(k AS BIGINT) AS _k, coalesce(CAST(exclude_seen AS BOOLEAN), false) AS _unseen"
"""Bound in a query that reads no table, where no column can capture them, see `relsql.gather.sql.seeds`."""


RANKED_COLUMNS = ("item", "rank", "score", "status", "evidence", "as_of", "version")
"""The columns of `predict_<model>_batch` after the key."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Builds the queries.

    Attributes:
        candidates: which items are ranked.
        scores: by name, the expression that ranks a candidate `c`; the first one ranks what functions return.
        version: of the model.
    """

    candidates: Candidates
    scores: Mapping[str, str]
    version: int = 0

    @property
    def item_type(self) -> str:
        """The type of an item in SQL."""
        items = self.candidates.items
        return items.column(items.primary_key[0]).type

    @property
    def result_type(self) -> str:
        """The type of `predict_<model>_full`."""
        item = f'STRUCT(item {self.item_type}, "rank" BIGINT, score DOUBLE)'
        return f"STRUCT(items {item}[], status VARCHAR, evidence BIGINT, as_of TIMESTAMP, version INTEGER)"

    def call_parameters(self) -> str:
        """The parameters of a function that recommends to one entity."""
        entity = call_parameters(self.candidates.entity).removesuffix(ALL_PARAMETERS)
        return f"{entity}{OPTIONS}"

    def call_sql(self, catalog: str) -> str:
        """The body of `predict_<model>_full`, an expression."""
        seed = call_seed_sql(self.candidates.entity, self._rows(catalog))
        body = (
            f"SELECT CASE WHEN e._given THEN CAST({{\n"
            f"    items: CASE WHEN e.known THEN coalesce(r.items, []) END, status: e.status, evidence: e.evidence,\n"
            f"    as_of: e.{AS_OF}, version: {self.version}}} AS {self.result_type}) END AS result\n"
            f"FROM entity e LEFT JOIN (\n"
            f'    SELECT {ENTITY}, {AS_OF}, list({{item: r.item, "rank": r.place, score: r.score}}'
            f" ORDER BY r.place ASC) AS items\n    FROM ranked r GROUP BY ALL\n"
            f") r ON {self._same('r', 'e')}"
        )
        return f"(\n{self._ranked(catalog, seed, 'seed._given', body)}\n)"

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of the key's columns in `predict_<model>_batch`."""
        return output_names(self.candidates.entity, RANKED_COLUMNS)

    def batch_sql(self, catalog: str) -> str:
        """The query of `predict_<model>_batch`: a row for each entity and item, the best of each entity first."""
        seed = all_seeds_sql(self.candidates.entity, self._rows(catalog))
        keys = key_columns_sql(self.candidates.entity, f"e.{ENTITY}", self.key_names)
        body = (
            f'SELECT {keys}, r.item, r.place AS "rank", r.score, e.status, e.evidence, e.{AS_OF} AS as_of,\n'
            f"    CAST({self.version} AS INTEGER) AS version\n"
            f"FROM entity e JOIN ranked r ON {self._same('r', 'e')}"
        )
        return self._ranked(catalog, seed, "true", body)

    def features_sql(self, catalog: str, seed_sql: str) -> str:
        """A query for the candidates of seeds with their numbers and `scores`, see `Candidates.ctes`."""
        scores = "".join(f", {sql} AS {ident(name)}" for name, sql in self.scores.items())
        return with_ctes(self.candidates.ctes(catalog, seed_sql), f"SELECT c.*{scores}\nFROM candidate c")

    def _ranked(self, catalog: str, seed_sql: str, given: str, body: str) -> str:
        entity = self.candidates.entity
        [score, *_] = self.scores.values()
        # The entity's own row is seen at as_of itself under both rules of visibility.
        seen = and_visible_sql(entity, "x", f"seed.{AS_OF}")
        status = "CASE WHEN x.known IS NULL THEN 'unknown_entity' WHEN t.n IS NULL THEN 'no_history' ELSE 'ok' END"
        known = (
            f"SELECT seed.{ENTITY}, seed.{AS_OF}, {given} AS _given, x.known IS NOT NULL AS known,\n"
            f"    {status} AS status, coalesce(CAST(t.n AS BIGINT), 0) AS evidence\n"
            f"FROM seed\n"
            f"LEFT JOIN (SELECT true AS known, * FROM {relation_sql(entity, catalog)}) x\n"
            f"    ON {is_entity_sql(entity, 'x', f'seed.{ENTITY}')}{seen}\n"
            f"LEFT JOIN total t ON {self._same('t', 'seed')}"
        )
        order = "c.score DESC, c.item_place ASC, c.own_place ASC, c.item ASC"
        ranked = (
            f"SELECT c.{ENTITY}, c.{AS_OF}, c.item, c.score, c.place\n"
            f"FROM (\n"
            f"    SELECT c.*, a._k, row_number() OVER (\n"
            f"        PARTITION BY c.{ENTITY}, c.{AS_OF} ORDER BY {order}) AS place\n"
            f"    FROM scored c, ({_ARGUMENTS}) a\n    WHERE NOT (a._unseen AND c.own_count > 0)\n"
            f") c\nWHERE c.place <= c._k"
        )
        ctes = [
            *self.candidates.ctes(catalog, seed_sql),
            Cte("entity", known, "whether it is known, and how many interactions it has"),
            Cte("scored", f"SELECT c.*, {score} AS score\nFROM candidate c", "the candidates with their score"),
            Cte("ranked", ranked, "the best ones"),
        ]
        return with_ctes(ctes, body)

    def _same(self, first: str, second: str) -> str:
        return f"{first}.{ENTITY} = {second}.{ENTITY} AND {first}.{AS_OF} = {second}.{AS_OF}"

    def _rows(self, catalog: str) -> LatestRows:
        """The tables from which the latest event is read."""
        schema, entity = self.candidates.schema, self.candidates.entity
        inputs = {key: NodeInputs(key, (), (), ()) for key in schema.tables}
        plan = RowPlan(schema, (Path("self", "entity", entity.key, (), 1, ()),), inputs)
        return LatestRows(plan, catalog, visible=self.candidates.visible)

"""Candidates and their numbers, in SQL: which items are ranked for an entity, and by which numbers.

Candidates are the items that an entity has interacted with, the items that entities with the same items have interacted
with, and the items that are popular lately. All of it is counted from interactions that are visible at the seed's
as_of.
"""

from __future__ import annotations

from dataclasses import dataclass

from relsql.gather.candidates.interactions import interactions_sql
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.schema.entity_keys import key_parts
from relsql.schema.tables import Schema, Table
from relsql.schema.times.events import age_sql
from relsql.schema.visibility import VisibilityRule, end_before_sql, since_sql, visible_time_sql
from relsql.sql_text import Cte
from relsql.tasks.predict.links import Way

MAX_OF_A_KIND = 60
"""The maximum number of candidates of each kind: earlier items, popular items and similar items."""

MAX_RECENT = 30
"""The number of an entity's latest items that count as seen together."""

MAX_COMPARED = 20
"""The number of an entity's latest items that other items are compared with."""

MAX_SIMILAR = 30
"""How many similar items are kept for each item."""

LONG_AGO = "1e6"
"""The age of an interaction that never happened, in horizons."""

FEATURES = {
    "own_count": "coalesce(o.n, 0)",
    "own_last": "coalesce(o.n_last, 0)",
    "own_before": "coalesce(o.n_before, 0)",
    "own_age": f"coalesce({{newest_o}}, {LONG_AGO})",
    "own_first_age": f"coalesce({{oldest_o}}, {LONG_AGO})",
    "own_share": "coalesce(o.n / t.n, 0)",
    "own_place": f"coalesce(o.place, {LONG_AGO})",
    "item_people": "coalesce(p.people / p.most, 0)",
    "item_people_last": "coalesce(p.people_last / greatest(p.most_last, 1), 0)",
    "item_people_before": "coalesce(p.people_before / greatest(p.most_before, 1), 0)",
    "item_place": f"coalesce(p.place, {LONG_AGO})",
    "item_age": f"coalesce({{newest_p}}, {LONG_AGO})",
    "item_first_age": f"coalesce({{oldest_p}}, {LONG_AGO})",
    "near": "coalesce(s.near, 0)",
    "near_place": f"coalesce(s.place, {LONG_AGO})",
    "entity_count": "coalesce(t.n, 0)",
    "entity_last": "coalesce(t.n_last, 0)",
    "entity_items": "coalesce(t.items, 0)",
    "entity_age": f"coalesce({{newest_t}}, {LONG_AGO})",
}
"""The numbers by which a candidate is ranked. Counts of interactions: all, those of the last horizon, and of the
one before. Ages are in horizons. `people` are entities."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Which items are ranked for a seed.

    Attributes:
        schema: tables and links.
        entity: the table of the entities.
        items: the table of the items, with a key of one column.
        way: from entities to items.
        horizon_days: length of the task's horizon.
        visible: whether rows at as_of itself count.
    """

    schema: Schema
    entity: Table
    items: Table
    way: Way
    horizon_days: float
    visible: VisibilityRule

    def ctes(self, catalog: str, seed_sql: str) -> list[Cte]:
        """The CTEs `seed`, ... and `candidate`: a row for each seed and item, with the `FEATURES`.

        `seed_sql` is a query for `_entity` and `_as_of`, and any other columns.
        """
        met = interactions_sql(self.schema, self.entity, self.items, self.way, catalog)
        return [
            Cte("seed", seed_sql, "the entities, each at a moment"),
            Cte("moment", f"SELECT DISTINCT {AS_OF} FROM seed WHERE {AS_OF} IS NOT NULL", "the moments"),
            Cte("met", met, "which entity interacted with which item, and when"),
            Cte("history", self._history(), "the same, counted at each moment"),
            Cte("popular", _POPULAR, "how many entities interacted with each item"),
            Cte("own", self._own(), "what the entity itself interacted with, the latest first"),
            Cte("total", _TOTAL, "how many interactions it has in all"),
            Cte("recent", _RECENT, "the last items of every entity"),
            Cte("pair", _PAIR, "how many entities interacted with both of two items, one of them an item of a seed"),
            Cte("alike", _ALIKE, "for each item the ones most similar to it, by cosine"),
            Cte("near", _NEAR, "items similar to the last items of the entity"),
            Cte("named", _NAMED, "the candidates"),
            Cte("candidate", self._features(), "the candidates with their numbers"),
        ]

    def _ago(self, horizons: int) -> str:
        return f"m.{AS_OF} - to_microseconds({round(horizons * self.horizon_days * 86_400_000_000)})"

    def _history(self) -> str:
        end = end_before_sql(f"m.{AS_OF}") if self.visible == "before" else f"m.{AS_OF}"
        last, before = since_sql("met.time", self._ago(1)), since_sql("met.time", self._ago(2))
        return (
            f"SELECT m.{AS_OF}, met.entity, met.item, count(*) AS n,\n"
            f"    count(*) FILTER (WHERE {last}) AS n_last,\n"
            f"    count(*) FILTER (WHERE {before} AND NOT ({last})) AS n_before,\n"
            f"    max(met.time) AS newest, min(met.time) AS oldest\n"
            f"FROM moment m JOIN met ON {visible_time_sql('met.time', end)}\nGROUP BY ALL"
        )

    def _own(self) -> str:
        mine, theirs = (key_parts(self.entity, alias).values() for alias in (f"seed.{ENTITY}", "h.entity"))
        same = " AND ".join(f"{a} = {b}" for a, b in zip(theirs, mine, strict=True))
        return (
            f"SELECT seed.{ENTITY}, h.* EXCLUDE (entity), row_number() OVER (\n"
            f"    PARTITION BY seed.{ENTITY}, seed.{AS_OF} ORDER BY h.newest DESC, h.n DESC, h.item ASC) AS place\n"
            f"FROM seed JOIN history h ON {same} AND h.{AS_OF} = seed.{AS_OF}"
        )

    def _features(self) -> str:
        def age(time: str) -> str:
            return f"{age_sql(time, f'c.{AS_OF}')} / {self.horizon_days!r}"

        ages = {f"{kind}_{alias}": age(f"{alias}.{kind}") for kind in ("newest", "oldest") for alias in "opt"}
        columns = ",\n    ".join(f"CAST({sql.format(**ages)} AS DOUBLE) AS {name}" for name, sql in FEATURES.items())
        of_seed = f"{{0}}.{ENTITY} = c.{ENTITY} AND {{0}}.{AS_OF} = c.{AS_OF}"
        return (
            f"SELECT c.{ENTITY}, c.{AS_OF}, c.item,\n    {columns}\nFROM named c\n"
            f"LEFT JOIN own o ON {of_seed.format('o')} AND o.item = c.item\n"
            f"LEFT JOIN near s ON {of_seed.format('s')} AND s.item = c.item\n"
            f"LEFT JOIN total t ON {of_seed.format('t')}\n"
            f"LEFT JOIN popular p ON p.{AS_OF} = c.{AS_OF} AND p.item = c.item"
        )


_POPULAR = f"""SELECT {AS_OF}, item, people, people_last, people_before, newest, oldest,
    max(people) OVER w AS most, max(people_last) OVER w AS most_last, max(people_before) OVER w AS most_before,
    row_number() OVER (PARTITION BY {AS_OF} ORDER BY people_last DESC, people DESC, item ASC) AS place
FROM (
    SELECT {AS_OF}, item, count(*) AS people, count(*) FILTER (WHERE n_last > 0) AS people_last,
        count(*) FILTER (WHERE n_before > 0) AS people_before, max(newest) AS newest, min(oldest) AS oldest
    FROM history
    GROUP BY ALL
)
WINDOW w AS (PARTITION BY {AS_OF})"""

_TOTAL = f"""SELECT {ENTITY}, {AS_OF}, sum(n) AS n, sum(n_last) AS n_last, count(*) AS items, max(newest) AS newest,
    min(oldest) AS oldest
FROM own
GROUP BY ALL"""

_RECENT = f"""SELECT {AS_OF}, entity, item
FROM history
QUALIFY row_number() OVER (PARTITION BY {AS_OF}, entity ORDER BY newest DESC, n DESC, item ASC) <= {MAX_RECENT}"""

_PAIR = f"""SELECT a.{AS_OF}, a.item, b.item AS other, count(*) AS n
FROM (SELECT DISTINCT {AS_OF}, item FROM own WHERE place <= {MAX_COMPARED}) asked
JOIN recent a ON a.{AS_OF} = asked.{AS_OF} AND a.item = asked.item
JOIN recent b ON b.{AS_OF} = a.{AS_OF} AND b.entity = a.entity AND b.item <> a.item
GROUP BY ALL"""

_ALIKE = f"""SELECT pair.{AS_OF}, pair.item, pair.other,
    pair.n / sqrt(CAST(p.people AS DOUBLE) * q.people) AS likeness
FROM pair
JOIN popular p ON p.{AS_OF} = pair.{AS_OF} AND p.item = pair.item
JOIN popular q ON q.{AS_OF} = pair.{AS_OF} AND q.item = pair.other
QUALIFY row_number() OVER (
    PARTITION BY pair.{AS_OF}, pair.item ORDER BY likeness DESC, pair.n DESC, pair.other ASC) <= {MAX_SIMILAR}"""

_NEAR = f"""SELECT {ENTITY}, {AS_OF}, item, near, row_number() OVER (
    PARTITION BY {ENTITY}, {AS_OF} ORDER BY near DESC, item ASC) AS place
FROM (
    SELECT o.{ENTITY}, o.{AS_OF}, s.other AS item, sum(CAST(s.likeness AS DECIMAL(12, 9))) AS near
    FROM own o JOIN alike s ON s.{AS_OF} = o.{AS_OF} AND s.item = o.item
    WHERE o.place <= {MAX_COMPARED}
    GROUP BY ALL
)"""

_NAMED = f"""SELECT {ENTITY}, {AS_OF}, item FROM own WHERE place <= {MAX_OF_A_KIND}
UNION
SELECT {ENTITY}, {AS_OF}, item FROM near WHERE place <= {MAX_OF_A_KIND}
UNION
SELECT seed.{ENTITY}, seed.{AS_OF}, p.item
FROM seed JOIN popular p ON p.{AS_OF} = seed.{AS_OF} AND p.place <= {MAX_OF_A_KIND}"""

"""The gather query in Spark's SQL: the same plan of rows as `relsql.gather.sql.query` renders for DuckDB.

Result: one row per seed with the entity's key as `__k0`, `__k1`, ..., its moment where seeds have their own, and the
columns of each path that the scorer reads. A path's text is the text itself, which the scorer numbers. Messages of hubs
are a table of their own, from `message_query`, and the query joins them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relsql.gather.layout import counts_name, segments
from relsql.gather.paths import Path
from relsql.spark.dialect import codes_sql, column_of, ident, number_sql
from relsql.spark.relations import Relations, equal_sql
from relsql.spark.rows import RANK, SparkRows, key_name, onward_name, part_name
from relsql.sql_text import COMMA, Cte, indented, with_ctes


@dataclass(frozen=True, slots=True)
class SparkGather:
    """Builds the queries of one model.

    Attributes:
        rows: which rows are read.
        messages: by shared path, the relation with the results of `message_query`.
    """

    rows: SparkRows
    messages: Mapping[str, str] = field(default_factory=dict)

    def query(self) -> str:
        """The whole query."""
        rows, paths = self.rows, self.rows.plan.paths
        columns = [f"self.{key_name(i)}" for i in range(len(rows.plan.entity.primary_key))]
        columns += rows.of_moments("self")
        hubs = {rows.hub(path): f"LEFT {rows.hub_join(path)}" for path in paths if path.shared}
        joins, hub_joins = [], []
        for path in paths:
            name = ident(path.name)
            if path.shared:
                hub = rows.hub(path)
                keys = [f"{hub}.{ident(column)}" for column in path.links[-1].parent_columns]
                hub_joins += [hubs.pop(hub)] if hub in hubs else []
                hub_joins.append(f"LEFT JOIN {self.messages[path.name]} {name} ON {rows.same_keys(name, keys, 'self')}")
                columns.append(f"{name}.message AS {name}")
                continue
            columns.append(f"{name if path.links else 'self'}.rows AS {name}")
            if path.links:
                joins.append(f"LEFT JOIN {name} ON {rows.same_keys(name, rows.starts(path), 'self')}")
            columns += [f"{name}.counts AS {ident(counts_name(path.name))}"] if path.counted else []
        body = "\n".join([f"SELECT\n{indented(COMMA.join(columns))}\nFROM self", *joins, *hub_joins])
        ctes = [cte for path in paths if not path.shared for cte in self._ctes(path)]
        return _with_used([*self._first_ctes(), *ctes], body)

    def message_query(self, path: Path) -> str:
        """For each hub of a shared path: its key, the moments, and the rows and counts that its message is made of."""
        walk = self._ctes(self.rows.child(path)) if path.kind == "hub" else []
        return _with_used([*self._first_ctes(), *walk, *self._ctes(path)], f"SELECT *\nFROM {ident(path.name)}")

    def _first_ctes(self) -> list[Cte]:
        ctes = Relations(self.rows.plan, self.rows.stored).ctes()
        if self.rows.plan.paths[0].data_age:
            ctes.append(Cte("newest", self.rows.newest_sql(), "The newest event that may be seen at each moment."))
        return [*ctes, Cte("self", self._self_sql(), "The seeds, each with its entity's own row.")]

    def _ctes(self, path: Path) -> list[Cte]:
        """CTEs for a path with links; the last has the path's name, and a row for each key."""
        if not path.links:
            return []
        asked = [] if path.kind == "grandchildren" else self.rows.asked(path)
        if not path.counted:
            return [*asked, Cte(ident(path.name), self._single_sql(path), "The one row with each key.")]
        return [*asked, *self.rows.last_ctes(path), *self._listed(path)]

    def _self_sql(self) -> str:
        """The seeds with the entity's row as a list, and the values that paths start from."""
        rows, given = self.rows, self.rows.seeds.relation
        entity, path = rows.plan.entity, rows.plan.paths[0]
        source = "seed" if given else "r"
        columns = [f"{source}.{ident(name)} AS {key_name(i)}" for i, name in enumerate(entity.primary_key)]
        columns += rows.of_moments(source)
        columns += [f"r.{ident(name)} AS {ident('self.' + name)}" for name in rows.plan.start_columns()]
        there = f"r.{ident(entity.primary_key[0])} IS NOT NULL"
        row = f"array({self._row_sql(path, '1', source)})"
        columns.append(f"CASE WHEN {there} THEN {row} END AS rows" if given else f"{row} AS rows")
        # The entity's own row counts at as_of itself, without which there is nothing to ask about.
        visible = rows.visible_at(entity, "r", rows.as_of(source))
        relation, lookups = rows.relation(entity.key), self._lookup_joins(path, source)
        if given:
            on = " AND ".join([equal_sql("r", entity.primary_key, "seed", entity.primary_key), *visible])
            origin = f"FROM {given} seed\nLEFT JOIN {relation} r ON {on}{lookups}"
        else:
            known = [f"r.{ident(name)} IS NOT NULL" for name in entity.primary_key]
            origin = f"FROM {relation} r{lookups}\nWHERE {' AND '.join([*known, *visible])}"
        return f"SELECT\n{indented(COMMA.join(columns))}\n{origin}"

    def _single_sql(self, path: Path) -> str:
        """The one row with each key as a list."""
        reached = self.rows.reached(path)
        columns = [*reached.named(), *self.rows.of_moments(reached.source)]
        columns.append(f"array({self._row_sql(path, '1', reached.source)}) AS rows")
        lookups = self._lookup_joins(path, reached.source)
        return f"SELECT\n{indented(COMMA.join(columns))}\n{reached.origin}{lookups}{reached.where}"

    def _listed(self, path: Path) -> list[Cte]:
        """The last rows with each key as a list, with their counts as a struct."""
        keys = self.rows.keys(path)
        group = ", ".join(f"r.{key}" for key in keys)
        columns = [group, f"collect_list({self._row_sql(path, f'r.{RANK}', 'r')}) AS rows"]
        columns += [
            f"max(CASE WHEN r.{RANK} = 1 THEN r.{ident(name)} END) AS {onward_name(name)}"
            for name in self.rows.plan.onward_columns(path)
        ]
        origin = f"FROM {part_name(path, 'latest')} r{self._lookup_joins(path, 'r')}"
        listed = f"SELECT\n{indented(COMMA.join(columns))}\n{origin}\nGROUP BY {group}"
        counts = ", ".join(f"'{name}', c.{name}" for name in self.rows.count_names(path))
        on = " AND ".join(f"c.{key} = l.{key}" for key in keys)
        joined = f"FROM {part_name(path, 'lists')} l\nJOIN {part_name(path, 'counts')} c ON {on}"
        return [
            Cte(part_name(path, "lists"), listed, "The last rows with each key, as the network reads them."),
            Cte(ident(path.name), f"SELECT l.*, named_struct({counts}) AS counts\n{joined}", "The same, with counts."),
        ]

    def _row_sql(self, path: Path, rank: str, source: str) -> str:
        """The network's inputs from a row `r` and from the rows p0, p1, ... that it points at.

        `source` is the relation with the moments of the row's reader.
        """
        rows, numbers, codes = self.rows, [], []
        for i, segment in enumerate(segments(path, rows.plan.inputs)):
            alias = f"p{i - 1}" if segment.link else "r"
            table, value = rows.plan.table(segment.inputs.table), column_of(alias)
            present = f"{value(segment.link.parent_columns[0])} IS NOT NULL" if segment.link else "true"
            numbers.append(f"CAST({present} AS FLOAT)")
            numbers += [number_sql(table, n, value, rows.as_of(source), "newest.t") for n in segment.inputs.numbers]
            codes += codes_sql(table, segment.inputs, value, present)
        fields = [f"'rank', CAST({rank} AS INT)"]
        fields += [f"'n{i}', {number}" for i, number in enumerate(numbers)]
        fields += [f"'c{i}', {code}" for i, code in enumerate(codes)]
        return f"named_struct(\n{indented(COMMA.join(fields))}\n)"

    def _lookup_joins(self, path: Path, source: str) -> str:
        """Joins of `r` to the rows that it points at, and to the newest event if it carries its age."""
        rows, joins = self.rows, ""
        if path.data_age:
            on = " AND ".join(f"newest.{moment} = {source}.{moment}" for moment in rows.moments) or "true"
            joins += f"\nLEFT JOIN newest ON {on}"
        for i, link in enumerate(path.lookups):
            visible = rows.visible_at(rows.plan.table(link.parent), f"p{i}", rows.end(source))
            on = " AND ".join([equal_sql(f"p{i}", link.parent_columns, "r", link.child_columns), *visible])
            joins += f"\nLEFT JOIN {rows.relation(link.parent)} p{i} ON {on}"
        return joins


def _with_used(ctes: Sequence[Cte], body: str) -> str:
    """A query with those of the CTEs that it reads, directly or through others."""
    used: list[Cte] = []
    text = body
    for cte in reversed(ctes):
        if any(f"{word} {cte.name}" in text for word in ("FROM", "JOIN")):
            used.append(cte)
            text += cte.query
    return with_ctes(reversed(used), body)

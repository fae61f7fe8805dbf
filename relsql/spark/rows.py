"""Which rows are read, in Spark's SQL: the counterpart of `relsql.gather.sql.latest_rows`, of the same plan.

The form differs, because what moves between machines costs most here (`docs/decisions/0044-spark.md`):

* Rows of a path are found by what they point at, the columns `__k0`, `__k1`, ..., and joined to the seeds later, as one
  row for each key.
* The last k rows come from a window with `rank <= k`, which Spark limits in each task before it shuffles. Counts are
  computed separately, as sums of sums. So no task holds more than a few k rows of one customer with a million orders.

With one moment for all seeds, `as_of` is a literal, and every row that may be seen is ranked. Seeds that are given are
read first, and only rows that they reach are ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.schema.tables import EventRange, Table
from relsql.schema.visibility import VisibilityRule, since_sql, visible_time_sql
from relsql.spark.dialect import columns_of, ident, microseconds
from relsql.spark.relations import Relations, row_key
from relsql.sql_text import Cte, indented

AS_OF, RANK = "__as_of", "__rank"

_DAY = 86_400_000_000


def key_name(position: int) -> str:
    """The name of a part of the key by which rows are found."""
    return f"__k{position}"


def part_name(path: Path, part: str) -> str:
    """The name of one of a path's CTEs."""
    return ident(f"{path.name}__{part}")


def onward_name(column: str) -> str:
    """The name of a column with a value of the latest row, which leads on to a hub."""
    return ident(f"next.{column}")


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seeds that are asked about.

    Attributes:
        as_of: the moment of all seeds, in microseconds; None: each has its own, in the column `__as_of`.
        relation: a relation with the columns of the entity's key, each seed once; empty: every entity that may be seen.
    """

    as_of: int | None = None
    relation: str = ""


@dataclass(frozen=True, slots=True)
class _Reached:
    """Rows `r` of a path: FROM and WHERE, the keys that they are found by, and the relation that has the moments."""

    origin: str
    where: str
    keys: tuple[str, ...]
    source: str

    def named(self) -> list[str]:
        return [f"{key} AS {key_name(i)}" for i, key in enumerate(self.keys)]


@dataclass(frozen=True, slots=True)
class SparkRows:
    """Builds the CTEs for the rows of every path.

    Attributes:
        plan: the plan of rows to read.
        stored: by table, the relation with its rows, in Spark's SQL.
        seeds: what is asked.
        visible: whether rows at as_of itself count.
    """

    plan: RowPlan
    stored: Mapping[str, str]
    seeds: Seeds
    visible: VisibilityRule = "at-or-before"

    # Moments.

    @property
    def moments(self) -> tuple[str, ...]:
        """The columns that tell the moments of seeds apart."""
        return () if self.seeds.as_of is not None else (AS_OF,)

    def of_moments(self, source: str) -> list[str]:
        """The moments of a relation, for a select list."""
        return [f"{source}.{moment}" for moment in self.moments]

    def as_of(self, source: str) -> str:
        """The moment of the seeds of a relation."""
        return self.before(source, 0)

    def end(self, source: str) -> str:
        """The moment at which the data of the seeds of a relation end."""
        return self.before(source, 1 if self.visible == "before" else 0)

    def before(self, source: str, span: int) -> str:
        """The moment that is some microseconds before that of the seeds of a relation."""
        if self.seeds.as_of is not None:
            return f"{self.seeds.as_of - span}L"
        return f"{source}.{AS_OF} - {span}L" if span else f"{source}.{AS_OF}"

    def visible_at(self, table: Table, row: str, end: str) -> list[str]:
        """The condition that a row may be seen; none if all rows may."""
        return [visible_time_sql(f"{row}.{ident(table.time_column)}", end)] if table.time_column else []

    def same_keys(self, relation: str, values: Iterable[str], source: str) -> str:
        """The condition that a row of a relation has these keys, and the moment of another's."""
        same = [f"{relation}.{key_name(i)} = {value}" for i, value in enumerate(values)]
        return " AND ".join([*same, *(f"{relation}.{moment} = {source}.{moment}" for moment in self.moments)])

    def newest_sql(self) -> str:
        """A query for the newest event `t` that may be seen at each moment. Sentinels do not count."""
        parts = []
        for table in self.plan.tables():
            if table.time_column:
                time, known = f"r.{ident(table.time_column)}", table.events or EventRange()
                ends = [since_sql(time, f"{microseconds(known.after)}L")] if known.after else []
                ends += [f"{time} < {microseconds(known.before)}L"] if known.before else []
                where = f"\nWHERE {' AND '.join(ends)}" if ends else ""
                parts.append(f"SELECT {time} AS t\nFROM {self.relation(table.key)} r{where}")
        events = "\nUNION ALL\n".join(parts) or "SELECT CAST(NULL AS BIGINT) AS t"
        seen = visible_time_sql("events.t", self.end("moment"))
        if not self.moments:
            return f"SELECT max(events.t) AS t\nFROM (\n{indented(events)}\n) events\nWHERE {seen}"
        asked = f"(SELECT DISTINCT {AS_OF} FROM {self.seeds.relation}) moment"
        joined = f"FROM {asked}\nLEFT JOIN (\n{indented(events)}\n) events ON {seen}"
        return f"SELECT moment.{AS_OF}, max(events.t) AS t\n{joined}\nGROUP BY moment.{AS_OF}"

    # From the seeds to their rows.

    def relation(self, key: str) -> str:
        """The name of the CTE with the rows of a table."""
        return Relations(self.plan, self.stored).name(key)

    def starts(self, path: Path) -> list[str]:
        """The entity's values that the first link of a path starts from, as expressions over `self`."""
        link, entity = path.links[0], self.plan.entity
        names = link.child_columns if path.kind in ("parents", "siblings") else link.parent_columns
        keys = {name: f"self.{key_name(i)}" for i, name in enumerate(entity.primary_key)}
        return [keys.get(name, f"self.{ident('self.' + name)}") for name in names]

    def child(self, path: Path) -> Path:
        """The children path that a grandchildren or hub path walks through."""
        name = self.plan.child_path(path)
        return next(each for each in self.plan.paths if each.name == name)

    def hub(self, path: Path) -> str:
        """The alias of the hub that a shared path reads."""
        origin = self.plan.child_path(path) if path.kind == "hub" else "self"
        return ident(f"{origin} hub{self.plan.link_number(path.links[-2])}")

    def hub_join(self, path: Path) -> str:
        """The join to the hub that the entity, or its latest row, points at, if it may be seen."""
        link, hub = path.links[-2], self.hub(path)
        values = self.starts(path)
        if path.kind == "hub":
            values = [f"{ident(self.plan.child_path(path))}.{onward_name(name)}" for name in link.child_columns]
        on = [f"{hub}.{ident(name)} = {value}" for name, value in zip(link.parent_columns, values, strict=True)]
        on += self.visible_at(self.plan.table(link.parent), hub, self.end("self"))
        return f"JOIN {self.relation(link.parent)} {hub} ON {' AND '.join(on)}"

    def asked(self, path: Path) -> list[Cte]:
        """What rows of a path that is not walked have to point at, if seeds are given; of a hub path, their hubs."""
        if not self.seeds.relation:
            return []
        values, origin, comment = self.starts(path), "FROM self", "What rows have to point at, each once."
        if path.shared:
            hub, comment = self.hub(path), "The hubs of the seeds, each once for each moment."
            values = [f"{hub}.{ident(name)}" for name in path.links[-1].parent_columns]
            if path.kind == "hub":
                child = self.child(path)
                name = ident(child.name)
                origin += f"\nJOIN {name} ON {self.same_keys(name, self.starts(child), 'self')}"
            origin += f"\n{self.hub_join(path)}"
        named = [f"{value} AS {key_name(i)}" for i, value in enumerate(values)]
        distinct = f"SELECT DISTINCT {', '.join([*named, *self.of_moments('self')])}\n{origin}"
        return [Cte(part_name(path, "asked"), distinct, comment)]

    def reached(self, path: Path) -> _Reached:
        """The rows of a path that may be seen: all that point at something, or those that point at what is asked."""
        table, link = self.plan.table(path.table), path.links[-1]
        columns = link.parent_columns if path.kind == "parents" else link.child_columns
        relation = f"{self.relation(table.key)} r"
        if not self.seeds.relation:
            keys = tuple(f"r.{ident(name)}" for name in columns)
            conditions = [f"{key} IS NOT NULL" for key in keys] + self.visible_at(table, "r", self.end("r"))
            return _Reached(f"FROM {relation}", f"\nWHERE {' AND '.join(conditions)}", keys, "r")
        keys = tuple(f"asked.{key_name(i)}" for i in range(len(columns)))
        on = [f"r.{ident(name)} = {key}" for name, key in zip(columns, keys, strict=True)]
        on += self.visible_at(table, "r", self.end("asked"))
        joined = f"JOIN {relation} ON {' AND '.join(on)}"
        return _Reached(f"FROM {part_name(path, 'asked')} asked\n{joined}", "", keys, "asked")

    # The last rows, and how many there are.

    def last_ctes(self, path: Path) -> list[Cte]:
        """CTEs up to `latest`, the last rows with each key, and `counts`, how many there are."""
        return self._walked(path) if path.kind == "grandchildren" else self._grouped(path)

    def keys(self, path: Path) -> list[str]:
        """The columns of both that tell keys and moments apart."""
        link = path.links[0] if path.kind == "grandchildren" else path.links[-1]
        return [*(key_name(i) for i in range(len(link.parent_columns))), *self.moments]

    def count_names(self, path: Path) -> list[str]:
        """The columns of `counts` after these."""
        timed = self.plan.timed(path)
        return [f"w{i}" for i in range(1 + len(path.count_days) * timed)]

    def _grouped(self, path: Path) -> list[Cte]:
        reached = self.reached(path)
        origin, moments = reached.origin + reached.where, self.of_moments(reached.source)
        named, group = [*reached.named(), *moments], ", ".join([*reached.keys, *moments])
        counts = f"SELECT {', '.join([*named, *self._counts(path, reached.source)])}\n{origin}\nGROUP BY {group}"
        return [
            self._latest(path, named, group, origin),
            Cte(part_name(path, "counts"), counts, "How many rows there are with each key."),
        ]

    def _walked(self, path: Path) -> list[Cte]:
        """The same for rows below the latest rows of a children path; they are counted for each of these first."""
        child, link = self.child(path), path.links[1]
        latest, ctes = part_name(child, "latest"), []
        values = [f"child.{ident(name)}" for name in link.parent_columns]
        if self.seeds.relation:
            asked = [f"{value} AS {key_name(i)}" for i, value in enumerate(values)] + self.of_moments("child")
            distinct = f"SELECT DISTINCT {', '.join(asked)}\nFROM {latest} child"
            ctes.append(Cte(part_name(path, "asked"), distinct, "The rows that others can be below, each once."))
        near, counted = self._grouped(path)
        near, counted = (cte._replace(name=part_name(path, part)) for cte, part in ((near, "near"), (counted, "sums")))
        group = [f"child.{key_name(i)}" for i in range(len(path.links[0].parent_columns))] + self.of_moments("child")
        on, listed = self.same_keys("r", values, "child"), ", ".join(group)
        below, counts = (f"FROM {latest} child\nJOIN {cte.name} r ON {on}" for cte in (near, counted))
        sums = ", ".join(f"sum(r.{name}) AS {name}" for name in self.count_names(path))
        summed = f"SELECT {listed}, {sums}\n{counts}\nGROUP BY {listed}"
        return [
            *ctes,
            near,
            counted,
            self._latest(path, group, listed, below),
            Cte(part_name(path, "counts"), summed, "How many rows there are below those with each key."),
        ]

    def _latest(self, path: Path, named: Sequence[str], group: str, origin: str) -> Cte:
        table = self.plan.table(path.table)
        time = (table.time_column,) if table.time_column else ()
        # By time, then by the columns that tell rows apart, as in DuckDB.
        order = ", ".join(f"r.{ident(name)} DESC NULLS LAST" for name in dict.fromkeys((*time, *row_key(table))))
        rank = f"row_number() OVER (PARTITION BY {group} ORDER BY {order}) AS {RANK}"
        ranked = f"SELECT {', '.join([*named, columns_of('r', self._columns(path))])},\n    {rank}\n{origin}"
        limited = f"SELECT *\nFROM (\n{indented(ranked)}\n)\nWHERE {RANK} <= {path.fanout}"
        return Cte(part_name(path, "latest"), limited, "The last rows with each key; rank 1 is the latest.")

    def _columns(self, path: Path) -> tuple[str, ...]:
        """The columns that the last rows of a path are read with."""
        table = self.plan.table(path.table)
        names = [*self.plan.inputs[path.table].columns, *(c for link in path.lookups for c in link.child_columns)]
        names += [table.time_column] if table.time_column else []
        names += self.plan.onward_columns(path)
        names += row_key(table) if path.kind == "grandchildren" or not names else ()
        return tuple(dict.fromkeys(names))

    def _counts(self, path: Path, source: str) -> list[str]:
        """How many rows there are, in total and within each of the path's spans before as_of."""
        total, *spans = self.count_names(path)
        counts, time = [f"count(*) AS {total}"], ident(self.plan.table(path.table).time_column or "")
        for name, days in zip(spans, path.count_days, strict=False):
            begin = self.before(source, round(days * _DAY))
            counts.append(f"count(CASE WHEN {since_sql(f'r.{time}', begin)} THEN 1 END) AS {name}")
        return counts

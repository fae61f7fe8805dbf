"""Write the label query of a line: entities at each timestamp, the past that chooses them, the future to predict."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from relsql.database.names import DEFAULT_SCHEMA, fold
from relsql.hints import command
from relsql.schema.declared.text import columns_text
from relsql.schema.entity_keys import key_known_sql
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.schema.times.events import time_sql, utc_sql
from relsql.schema.times.row_times import as_happened
from relsql.schema.types import ZONED_TYPES
from relsql.schema.visibility import VisibilityRule, and_visible_sql, end_before_sql, visible_sql, within_sql
from relsql.sql_layout import readable
from relsql.sql_text import Cte, ident, with_ctes
from relsql.tasks.predict.links import meets_rows_twice
from relsql.tasks.predict.meaning import ENTITY, ROW, Bound, BoundAggregate, BoundColumn, BoundLine
from relsql.tasks.predict.syntax import ATOM, Constant, aggregates
from relsql.tasks.predict.tokens import line_error

_EMPTY = {"COUNT": "0", "SUM": "0", "COUNT_DISTINCT": "0", "EXISTS": "false"}
"""The values of aggregates of no rows. All others are NULL then, and the label is left out."""


def label_sql(bound: BoundLine, schema: Schema, visible: VisibilityRule) -> str:
    """The label query of a line, over tables and the relation `timestamps(timestamp)`.

    Args:
        bound: the line.
        schema: the schema that it is bound to.
        visible: whether rows at as_of itself count in WHERE.

    Raises:
        TaskError: rows have to be distinguished, but their table has no key.
    """
    return _Writer(bound, schema, visible).query()


def label_columns(entity: Table) -> tuple[str, str]:
    """The columns of timestamp and label: `timestamp` and `label`, unless the entity table has columns of that name."""
    taken = {*map(fold, entity.column_names)}
    return _unused("timestamp", taken), _unused("label", taken)


def _unused(stem: str, taken: Container[str]) -> str:
    while stem in taken:
        stem += "_"
    return stem


@dataclass(slots=True)
class _Writer:
    """The parts of one query; aggregates become CTEs when an expression first needs them."""

    bound: BoundLine
    schema: Schema
    visible: VisibilityRule
    carried: dict[str, None] = field(default_factory=dict)
    """Columns of the entity that some part reads, in the order of their first use."""
    aggregates: dict[str, str] = field(default_factory=dict)
    """Names of the CTEs of aggregates by their query, so that none is computed twice."""
    ctes: list[Cte] = field(default_factory=list)
    frames: str = ""
    """The CTE with the windows of `FORECAST`, once it is written: what follows has a value for each of them."""

    def query(self) -> str:
        bound, source = self.bound, self.name("seeds")
        self.carried.update(dict.fromkeys(bound.entity.primary_key))
        if bound.cohort:
            kept = "the entities that WHERE keeps, by what is known at the timestamp"
            source = self.kept("cohort", bound.cohort, _Part(self, source, past=True), kept)
        body = self.in_steps(source) if bound.line.steps else self.in_one(source)
        comment = f"{_one_line(bound.entity.key)} at each timestamp"
        comment += ", from their own time on" if bound.entity.time_column else ""
        return readable(with_ctes([Cte(self.name("seeds"), self.seeds(), comment), *self.ctes], body))

    def kept(self, stem: str, condition: Bound, part: _Part, comment: str) -> str:
        """The name of a CTE with the rows of a part that meet a condition."""
        met = part.sql(condition)
        self.ctes.append(Cte(self.name(stem), f"SELECT {ENTITY}.*\n{part.from_sql()}\nWHERE {met}", comment))
        return self.name(stem)

    def in_one(self, source: str) -> str:
        """The label of each row of `source`, over one window."""
        part, (_, label) = _Part(self, source, past=False), label_columns(self.bound.entity)
        value = part.sql(self.bound.outcome)
        where = f"\nWHERE {part.sql(self.bound.assuming)}" if self.bound.assuming else ""
        return f"SELECT {self.keys(ENTITY)}, {value} AS {ident(label)}\n{part.from_sql()}{where}"

    def in_steps(self, source: str) -> str:
        """The label of each row of `source`: a list with the value of each window, in their order."""
        line, (_, label) = self.bound.line, label_columns(self.bound.entity)
        if self.bound.assuming:
            kept = "the entities that ASSUMING keeps, by what happens after the timestamp"
            source = self.kept("assumed", self.bound.assuming, _Part(self, source, past=False), kept)
        keys, (step, begins, ends) = self.keys(ENTITY), self.step_columns
        length, as_of = f"INTERVAL '{next(aggregates(line.outcome)).window.horizon}'", f"{ENTITY}.{self.time}"
        windows = (
            f"SELECT {ENTITY}.*, {step},\n"
            f"    {as_of} + ({step} - 1) * {length} AS {begins}, {as_of} + {step} * {length} AS {ends}\n"
            f"FROM {source} {ENTITY}\nCROSS JOIN (SELECT unnest(range(1, {line.steps + 1})) AS {step}) steps"
        )
        frames = self.name("frames")
        self.ctes.append(Cte(frames, windows, f"the {line.steps} windows of each of them, one after another"))
        self.frames = frames
        part = _Part(self, frames, past=False)
        value = f"list({part.sql(self.bound.outcome)} ORDER BY {ENTITY}.{step} ASC)"
        return f"SELECT {keys}, {value} AS {ident(label)}\n{part.from_sql()}\nGROUP BY ALL"

    @property
    def step_columns(self) -> tuple[str, str, str]:
        """The columns of a window of `FORECAST`: its number from 1 on, its beginning and its end."""
        taken = {*map(fold, self.bound.entity.column_names)}
        step, begins, ends = (_unused(name, taken) for name in ("step", "begins", "ends"))
        return step, begins, ends

    def seeds(self) -> str:
        """The entities that exist at each timestamp, with the columns that other parts read."""
        entity, as_of = self.bound.entity, 't."timestamp"'
        columns = ", ".join(f"{ENTITY}.{ident(name)}" for name in self.carried)
        exists = visible_sql(entity, ENTITY, as_of)
        source = f"{_relation(entity, timed=True)} {ENTITY}"
        join = f"JOIN {source} ON {exists}" if exists else f"CROSS JOIN {source}"
        # Only a constraint rules out entities without a key, or two of them with the same one.
        distinct, known = "", ""
        if entity.key_origin != "constraint":
            distinct, known = "DISTINCT ", f"\nWHERE {key_known_sql(entity, ENTITY)}"
        time = as_of if as_of.endswith(f".{self.time}") else f"{as_of} AS {self.time}"
        return f"SELECT {distinct}{time}, {columns}\nFROM timestamps t\n{join}{known}"

    @property
    def time(self) -> str:
        return ident(label_columns(self.bound.entity)[0])

    @property
    def value(self) -> str:
        """The column of an aggregate's value."""
        return ident(_unused("value", {*map(fold, self.bound.entity.column_names)}))

    def keys(self, alias: str = "") -> str:
        """The columns that identify a value: timestamp and key, and the window of `FORECAST`."""
        prefix, step = f"{alias}." if alias else "", self.step_columns[:1] if self.frames else ()
        names = (self.time, *map(ident, self.bound.entity.primary_key), *step)
        return ", ".join(f"{prefix}{name}" for name in names)

    def name(self, stem: str) -> str:
        """The name of a CTE, which no table has."""
        return _unused(stem, {fold(table.name) for table in self.schema.tables.values()})

    def aggregate(self, found: BoundAggregate, source: str, *, past: bool) -> str:
        """The name of the CTE with the values of an aggregate for the rows of `source`."""
        query = _aggregate_query(self, found, source, past=past)
        if query not in self.aggregates:
            number = 1 + sum(known.startswith("past" if past else "next") for known in self.aggregates.values())
            self.aggregates[query] = self.name(f"{'past' if past else 'next'}_{number}")
            self.ctes.append(Cte(self.aggregates[query], query, _one_line(found.written.text)))
        return self.aggregates[query]


@dataclass(slots=True)
class _Part:
    """One SELECT over seeds: the expressions in it, and the aggregates that they join."""

    writer: _Writer
    source: str
    past: bool
    joined: dict[str, None] = field(default_factory=dict)

    def sql(self, bound: Bound, inside: int = 0) -> str:
        """An expression in SQL, in parentheses where it binds no more than what it stands in."""
        if isinstance(bound, Constant):
            return bound.sql
        if isinstance(bound, BoundColumn):
            return self.column(bound)
        if isinstance(bound, BoundAggregate):
            name = self.writer.aggregate(bound, self.source, past=self.past)
            self.joined[name] = None
            value = f"{name}.{self.writer.value}"
            empty = _EMPTY.get(bound.written.function)
            if bound.written.function == "LIST_DISTINCT" and self.writer.bound.line.classify:
                empty = "[]"
            return f"coalesce({value}, {empty})" if empty else value
        binds = bound.written.binds
        parts = [self.sql(part, 0 if binds == ATOM else binds) for part in bound.parts]
        text = bound.written.form.format(*parts)
        return f"({text})" if binds <= inside else text

    def column(self, found: BoundColumn) -> str:
        if found.alias == ENTITY:
            self.writer.carried[found.column.name] = None
        sql = f"{found.alias}.{ident(found.column.name)}"
        return utc_sql(sql) if found.column.type in ZONED_TYPES else sql

    def from_sql(self) -> str:
        joins = (f"\nLEFT JOIN {name} USING ({self.writer.keys()})" for name in self.joined)
        return f"FROM {self.source} {ENTITY}{''.join(joins)}"


def _aggregate_query(writer: _Writer, found: BoundAggregate, source: str, *, past: bool) -> str:
    """The value of an aggregate for each row of `source` that has rows in the window."""
    part = _Part(writer, source, past)
    # Labels are about when rows happened, and the past about when they became known.
    schema = writer.schema if past else as_happened(writer.schema)
    table = schema.tables[found.table.key]
    time = time_sql(table, ROW)
    joins = _joins(writer, found, table, _window(writer, found, time, past=past), past=past)
    value = part.column(found.value) if found.value else "*"
    conditions = [part.sql(found.condition)] if found.condition else []
    if found.written.function in ("FIRST", "LAST", "LIST_DISTINCT"):
        conditions.append(f"{value} IS NOT NULL")
    where = f"\nWHERE {' AND '.join(f'({each})' if len(conditions) > 1 else each for each in conditions)}"
    rows = f"FROM {source} {ENTITY}\n{joins}{where if conditions else ''}"
    ids = [f"{ROW}.{ident(name)}" for name in table.primary_key]
    if meets_rows_twice(found.way):
        # A row that is reached in several ways counts once.
        value, time, ids, rows = _distinct_rows(writer, found, value, time, ids, rows)
        keys = writer.keys("d")
    else:
        keys = writer.keys(ENTITY)
    return f"SELECT {keys}, {_call(found, value, time, ids)} AS {writer.value}\n{rows}\nGROUP BY ALL"


def _distinct_rows(
    writer: _Writer, found: BoundAggregate, value: str, time: str, ids: list[str], rows: str
) -> tuple[str, str, list[str], str]:
    """Value, time, key and source of an aggregate over the distinct rows of `rows`."""
    if not ids:
        key = found.table.key
        problem = f"rows of {key} are met in several ways, and {key} has no key that tells them apart"
        fix = command("init", "FILE", "--primary-key", columns_text(key, "COLUMN"))
        raise line_error(writer.bound.line.text, found.written.name.at, problem, "a table with a key", fix)
    named = {f"row_key_{i}": sql for i, sql in enumerate(ids, start=1)} | {"row_time": time}
    named |= {} if value == "*" else {"row_value": value}
    taken = {*map(fold, writer.bound.entity.column_names)}
    columns = {_unused(name, taken): sql for name, sql in named.items()}
    listed = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    names = [f"d.{name}" for name in columns]
    inner = f"SELECT DISTINCT {writer.keys(ENTITY)}, {listed}\n{rows}"
    count = len(ids)
    return "*" if value == "*" else names[-1], names[count], names[:count], f"FROM (\n{_indented(inner)}\n) d"


def _joins(writer: _Writer, found: BoundAggregate, table: Table, window: str, *, past: bool) -> str:
    """The joins from the entity to the rows in the window; for the past, rows between them have to be known too."""
    if not found.way:
        same = " AND ".join(f"{ROW}.{ident(c)} = {ENTITY}.{ident(c)}" for c in writer.bound.entity.primary_key)
        return f"JOIN {_relation(table, timed=True)} {ROW} ON {same}\n  AND {window}"
    writer.carried.update(dict.fromkeys(found.way[0].columns))
    lines, here = [], ENTITY
    for i, hop in enumerate(found.way[:-1], start=1):
        between = writer.schema.tables[hop.table]
        known = and_visible_sql(between, f"h{i}", _now(writer)) if past else ""
        lines.append(f"JOIN {_relation(between, timed=bool(known))} h{i} ON {hop.on_sql(here, f'h{i}')}{known}")
        here = f"h{i}"
    lines.append(f"JOIN {_relation(table, timed=True)} {ROW} ON {found.way[-1].on_sql(here, ROW)}\n  AND {window}")
    return "\n".join(lines)


def _now(writer: _Writer) -> str:
    """The moment at which what is known ends, inclusive."""
    as_of = f"{ENTITY}.{writer.time}"
    return end_before_sql(as_of) if writer.visible == "before" else as_of


def _window(writer: _Writer, found: BoundAggregate, time: str, *, past: bool) -> str:
    window, as_of = found.written.window, f"{ENTITY}.{writer.time}"
    if writer.frames:
        _, begins, ends = writer.step_columns
        return within_sql(time, f"{ENTITY}.{begins}", f"{ENTITY}.{ends}")

    def moment(amount: int) -> str:
        interval = f"INTERVAL '{abs(amount)} {window.unit}{'' if abs(amount) == 1 else 's'}'"
        return f"{as_of} {'+' if amount > 0 else '-'} {interval}" if amount else as_of

    # The entity's own row counts at as_of under both rules of visibility.
    end = _now(writer) if past and window.end == 0 and found.way else moment(window.end)
    return within_sql(time, None if window.start is None else moment(window.start), end)


def _call(found: BoundAggregate, value: str, time: str, ids: list[str]) -> str:
    function = found.written.function
    if function == "COUNT_DISTINCT":
        return f"count(DISTINCT {value})"
    if function == "EXISTS":
        return f"count({value}) > 0"
    if function == "LIST_DISTINCT":
        return f"list(DISTINCT {value} ORDER BY {value} ASC)"
    if function in ("FIRST", "LAST"):
        # The key decides between rows of the same time, and the value where there is no key.
        order = ", ".join(f"{each} ASC" for each in (time, *(ids or (value,))))
        return f"{function.lower()}({value} ORDER BY {order})"
    return f"{function.lower()}({value})"


def _relation(table: Table, *, timed: bool) -> str:
    """A table as it stands in FROM; its time is computed only where it is read."""
    if table.values_of or (timed and table.row_time):
        return relation_sql(table, with_rowid=False)
    return ident(table.name) if table.schema_name == DEFAULT_SCHEMA else table.sql()


def _one_line(text: str) -> str:
    """A text in a comment, which a line break would end."""
    return " ".join(text.split())


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))

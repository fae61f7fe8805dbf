"""What the names of a line mean: tables, columns and ways in a schema, and whether their types fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relsql.database.names import fold, join_name, stored_name
from relsql.database.queries.sealed import parser
from relsql.errors import TaskError, nearest
from relsql.hints import command
from relsql.schema.declared.text import columns_text
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.types import TIME_TYPES, is_number
from relsql.tasks.predict.links import Way, find_way
from relsql.tasks.predict.syntax import Aggregate, Constant, Expression, Family, Line, Name, Operation
from relsql.tasks.predict.tokens import line_error, quoted_name

_WRITTEN = (*TIME_TYPES, "TIME", "UUID", "INTERVAL")
"""Types whose values are written as texts; a text constant can be compared with them."""

_NAMED = {"number": "a number", "text": "a text", "time": "a time", "truth": "true or false", "null": "NULL"}
_NEEDED: dict[str, Family] = {
    "logic": "truth",
    "like": "text",
    "arithmetic": "number",
    "number": "number",
    "text": "text",
}


@dataclass(frozen=True, slots=True)
class BoundColumn:
    """A column of the row `alias`: the entity (`ENTITY`), the aggregated row (`ROW`), or one on the way to it."""

    alias: str
    table: Table
    column: Column


ENTITY, ROW = "e", "r"
"""Aliases of the entity and of the row that is aggregated; rows between them are h1, h2, ..."""


@dataclass(frozen=True, slots=True)
class BoundAggregate:
    """An aggregate whose table and way are known."""

    written: Aggregate
    table: Table
    way: Way
    value: BoundColumn | None
    condition: Bound | None


@dataclass(frozen=True, slots=True)
class BoundOperation:
    """An operation whose operands are known."""

    written: Operation
    parts: tuple[Bound, ...]


Bound = BoundColumn | BoundAggregate | BoundOperation | Constant


@dataclass(frozen=True, slots=True)
class BoundLine:
    """A line whose names are looked up: the entity table with its key, and its expressions."""

    line: Line
    entity: Table
    outcome: Bound
    cohort: Bound | None
    assuming: Bound | None


def bind(line: Line, schema: Schema) -> BoundLine:
    """Look up the names of a line, and check its types.

    Raises:
        TaskError: a table, column or way does not exist or is ambiguous, or types do not fit.
    """
    entity = _entity(line, schema)
    rows = _Rows(line.text, schema, entity, {ENTITY: entity})
    outcome = rows.bind(line.outcome)
    family = rows.family(outcome)
    wanted = ("truth",) if line.is_binary else ("number", "text", "truth") if line.classify else ("number",)
    if not line.top and family not in wanted:
        form = "a text or a whole number" if line.classify else "a number, or a comparison such as = 'paid'"
        form += ", or CLASSIFY after it" if not line.classify and family in ("text", "truth") else ""
        raise line_error(line.text, line.outcome.at, f"the answer is {_named(family)}", form)
    cohort, assuming = (rows.condition(part) if part else None for part in (line.cohort, line.assuming))
    return BoundLine(line, entity, outcome, cohort, assuming)


def ranked_items(bound: BoundLine, schema: Schema) -> str:
    """The table of the items that a line ranks: the one that its column links to.

    Raises:
        TaskError: the column is not a link, or is a link to several tables.
    """
    outcome = bound.outcome
    assert isinstance(outcome, BoundAggregate) and outcome.value is not None
    table, column = outcome.table, outcome.value.column.name
    links = [link for link in schema.links_from(table.key) if len(link.child_columns) == 1]
    found = {link.parent for link in links if link.child_columns == (column,)}
    if len(found) != 1:
        keys = [f"{quoted_name(table.key)}.{quoted_name(link.child_columns[0])}" for link in links]
        problem = f"{outcome.written.name} names no items, because it is a link to {len(found) or 'no'} tables"
        expected = f"a column that links to the items: {nearest('', keys)}" if keys else "a column that links to items"
        raise line_error(bound.line.text, outcome.written.name.at, problem, expected)
    return found.pop()


def bind_cell(line: Line, schema: Schema) -> tuple[Table, Column]:
    """Look up the names of a line that completes a column: the table, and the column.

    Raises:
        TaskError: one of them does not exist, or the column is of another table.
    """
    entity = _entity(line, schema)
    assert isinstance(line.outcome, Name)
    found = _Rows(line.text, schema, entity, {ENTITY: entity}).column(line.outcome)
    return entity, found.column


def _entity(line: Line, schema: Schema) -> Table:
    """The entity table, with the key that the line names."""
    first = line.entity[0]
    table = _table(line.text, schema, first)
    columns = []
    for name in line.entity:
        if _table(line.text, schema, name).key != table.key:
            raise line_error(line.text, name.at, f"{name} is of another table", f"columns of {table.key}")
        columns.append(_column(line.text, table, name).name)
    if table.primary_key and sorted(columns) != sorted(table.primary_key):
        key = ", ".join(f"{quoted_name(table.key)}.{quoted_name(column)}" for column in table.primary_key)
        named = ", ".join(map(str, line.entity))
        raise line_error(line.text, first.at, f"{named} is not the key of {table.key}", key)
    return table if table.primary_key else replace(table, primary_key=tuple(columns))


def _table(line: str, schema: Schema, name: Name) -> Table:
    found = schema.find(join_name(*name.parts))
    if found is None:
        written = ".".join(name.parts)
        raise line_error(line, name.at, f"there is no table {written}", nearest(written, schema.tables))
    _require_visible(line, found, name.at)
    return found


def _require_visible(line: str, table: Table, at: int) -> None:
    """Refuse a table of the name of the relation `timestamps`, which hides it from label queries."""
    if fold(table.key) == "timestamps":
        raise line_error(line, at, "a table named timestamps cannot be asked about", "another name, as of a view")


def _column(line: str, table: Table, name: Name) -> Column:
    found = stored_name(name.column, table.stored_names)
    if found is None:
        problem = f"table {table.key} has no column {name.column}"
        raise line_error(line, name.at, problem, nearest(name.column, table.stored_names))
    return table.column(found)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows whose columns an expression can name, by alias, and how it is bound to them."""

    line: str
    schema: Schema
    entity: Table
    by_alias: dict[str, Table]

    def bind(self, expression: Expression) -> Bound:
        if isinstance(expression, Constant):
            return self.constant(expression)
        if isinstance(expression, Name):
            return self.column(expression)
        if isinstance(expression, Aggregate):
            return self.aggregate(expression)
        bound = BoundOperation(expression, tuple(map(self.bind, expression.parts)))
        self.check(bound)
        return bound

    def condition(self, expression: Expression) -> Bound:
        bound = self.bind(expression)
        if self.family(bound) != "truth":
            problem = f"the condition is {_named(self.family(bound))}"
            raise line_error(self.line, expression.at, problem, "a comparison, as in = 1, or IS NOT NULL")
        return bound

    def constant(self, found: Constant) -> Constant:
        if found.family == "time" and not _reads_as(*reversed(found.sql.split(" ", 1))):
            raise line_error(self.line, found.at, f"{found.sql} does not exist", "a date such as DATE '2024-02-29'")
        return found

    def column(self, name: Name) -> BoundColumn:
        if not name.parts:
            alias = ROW if ROW in self.by_alias else ENTITY
            return BoundColumn(alias, self.by_alias[alias], _column(self.line, self.by_alias[alias], name))
        table = _table(self.line, self.schema, name)
        # Of an entity table that is aggregated itself, a name means the aggregated row.
        found = next((alias for alias, each in reversed(self.by_alias.items()) if each.key == table.key), None)
        if found is None:
            known = dict.fromkeys(each.key for each in reversed(self.by_alias.values()))
            raise line_error(
                self.line,
                name.at,
                f"{name} is not a column of a row that is read here",
                f"columns of {', '.join(known)}",
            )
        return BoundColumn(found, table, _column(self.line, table, name))

    def aggregate(self, found: Aggregate) -> BoundAggregate:
        table = _table(self.line, self.schema, found.name)
        at = found.name.at
        if table.time_column is None:
            problem = f"table {table.key} has no time, so its rows are in no window"
            timed = [each.key for each in self.schema.timed_tables]
            fix = command("init", "FILE", "--time-column", columns_text(table.key, "COLUMN"))
            raise line_error(self.line, at, problem, f"a table with a time: {', '.join(timed) or 'none has one'}", fix)
        way = find_way(self.line, self.schema, self.entity, table, found)
        between = {f"h{i}": self.schema.tables[hop.table] for i, hop in enumerate(way[:-1], start=1)}
        for each in between.values():
            _require_visible(self.line, each, at)
        rows = replace(self, by_alias={ENTITY: self.entity, **between, ROW: table})
        value = None
        if found.name.column != "*":
            value = BoundColumn(ROW, table, _column(self.line, table, found.name))
        elif found.function not in ("COUNT", "EXISTS"):
            raise line_error(self.line, at, f"{found.function} of whole rows is not possible", _columns_of(table))
        if value and found.function in ("SUM", "AVG") and (family := rows.family(value)) != "number":
            problem = f"{found.function} of {found.name}, which is {_named(family)}, is not possible"
            raise line_error(self.line, at, problem, "a column of numbers; COUNT counts rows of a condition")
        return BoundAggregate(found, table, way, value, rows.condition(found.condition) if found.condition else None)

    def family(self, bound: Bound) -> Family:
        if isinstance(bound, Constant):
            return bound.family
        if isinstance(bound, BoundColumn):
            return _family_of_type(bound.column.type)
        if isinstance(bound, BoundAggregate):
            if bound.written.function == "EXISTS":
                return "truth"
            keeps = bound.value is not None and bound.written.function in (
                "MIN",
                "MAX",
                "FIRST",
                "LAST",
                "LIST_DISTINCT",
            )
            return self.family(bound.value) if keeps and bound.value else "number"
        if bound.written.kind == "same":
            return next((f for f in map(self.family, bound.parts) if f != "null"), "null")
        return {"arithmetic": "number", "number": "number", "text": "text"}.get(bound.written.kind, "truth")

    def check(self, bound: BoundOperation) -> None:
        """Refuse operands whose types an operation does not take."""
        written, families = bound.written, [self.family(part) for part in bound.parts]
        if written.kind == "null":
            return
        if written.kind == "comparison" and "null" in families:
            raise self.error(written, "a comparison with NULL is never true", "IS NULL or IS NOT NULL")
        needed = _NEEDED.get(written.kind)
        if needed:
            wrong = next((family for family in families if family not in (needed, "null")), None)
            if wrong:
                raise self.error(written, f"{written.sign} of {_named(wrong)} is not possible", _named(needed))
            return
        self.check_same(written, bound.parts, families)

    def check_same(self, written: Operation, parts: Sequence[Bound], families: Sequence[Family]) -> None:
        """Refuse values of several families; a text stands for a time that it can be read as."""
        kinds = [family for family in families if family != "null"]
        columns = [part for part in parts if isinstance(part, BoundColumn)]
        texts = [part for part in parts if isinstance(part, Constant) and part.family == "text"]
        types = [column.column.type for column in columns if column.column.type in _WRITTEN]
        # Zoned times are compared as TIMESTAMP in UTC.
        written_types = ["TIMESTAMP" if type_ in TIME_TYPES else type_ for type_ in types]
        for text in texts if written_types else ():
            if not _reads_as(text.sql, written_types[0]):
                raise line_error(
                    self.line, text.at, f"{text.sql} is not a valid {written_types[0]}", "such as '2024-02-29'"
                )
        if written_types and texts:
            kinds = [kind for kind in kinds if kind != "text"]
        if len(set(kinds)) > 1:
            first, second = list(dict.fromkeys(kinds))[:2]
            problem = f"{written.sign} of {_named(first)} and {_named(second)} is not possible"
            raise self.error(written, problem, "values of one kind; a text stands in single quotes")

    def error(self, written: Operation, problem: str, expected: str) -> TaskError:
        return line_error(self.line, written.at, problem, expected)


def _family_of_type(type_: str) -> Family:
    if is_number(type_):
        return "number"
    if type_ in TIME_TYPES:
        return "time"
    if type_ == "BOOLEAN":
        return "truth"
    return "text" if type_ == "VARCHAR" or type_.startswith("ENUM") else type_


def _named(family: Family) -> str:
    return _NAMED.get(family, f"a {family}")


def _columns_of(table: Table) -> str:
    return nearest("", [f"{quoted_name(table.key)}.{quoted_name(name)}" for name in table.stored_names])


def _reads_as(text: str, type_: str) -> bool:
    """True if a text literal is a value of a type."""
    row = parser().execute(f"SELECT TRY_CAST({text} AS {type_}) IS NOT NULL").fetchone()
    return bool(row and row[0])

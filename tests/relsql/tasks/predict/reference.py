"""A small shop, and what lines over it mean, in plain Python: loops over rows, without SQL and without the compiler.

A `Piece` is a part of a line: its text beside a function that computes what the text should mean.
"""

from __future__ import annotations

import calendar
import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
from hypothesis import strategies as st

from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Now = tuple[Row, datetime.datetime]
"""An entity and a timestamp."""

START = datetime.datetime(2020, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)

COLUMNS = {
    "customers": "id INTEGER PRIMARY KEY, city VARCHAR, age INTEGER, joined TIMESTAMP",
    "stores": "id INTEGER PRIMARY KEY, kind VARCHAR, amount INTEGER, opened TIMESTAMP",
    "orders": (
        "id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), "
        "store_id INTEGER REFERENCES stores (id), kind VARCHAR, amount INTEGER, day TIMESTAMP"
    ),
    "lines": (
        "id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders (id), kind VARCHAR, amount INTEGER, sent TIMESTAMP"
    ),
}
TIMES = {"customers": "joined", "stores": "opened", "orders": "day", "lines": "sent"}


def load(con: duckdb.DuckDBPyConnection, tables: Tables) -> Schema:
    """Create the shop, and read its schema."""
    for name, columns in COLUMNS.items():
        con.execute(f"CREATE TABLE {name} ({columns})")
        if tables[name]:
            values = [list(row.values()) for row in tables[name]]
            con.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values[0]))})", values)
    schema = read_schema(con, "memory")
    return replace(schema, tables={key: replace(t, time_column=TIMES[key]) for key, t in schema.tables.items()})


@st.composite
def shops(draw: st.DrawFn) -> Tables:
    """A shop of a few rows: times at half days, some of them NULL, as other values are."""

    def maybe(values: st.SearchStrategy[Any]) -> Any:
        return draw(values) if draw(st.integers(0, 7)) else None

    def time() -> Any:
        # Many of the times are ends of windows: the timestamps at which labels are asked for.
        halves = st.one_of(st.integers(0, 130), st.sampled_from([60, 118, 120]))
        return maybe(halves.map(lambda half: START + datetime.timedelta(hours=12 * half)))

    def size(most: int) -> range:
        return range(draw(st.integers(most // 2, most)))

    kinds, amounts = st.sampled_from(["a", "b", "it's"]), st.integers(-3, 5)
    customers = [
        {
            "id": i,
            "city": maybe(kinds),
            "age": maybe(amounts),
            "joined": time() if draw(st.integers(0, 5)) == 0 else START,
        }
        for i in size(2)
    ]
    stores = [{"id": i, "kind": maybe(kinds), "amount": maybe(amounts), "opened": time()} for i in size(2)]
    orders = [
        {
            "id": i,
            "customer_id": maybe(st.sampled_from([row["id"] for row in customers])),
            "store_id": maybe(st.sampled_from([row["id"] for row in stores])),
            "kind": maybe(kinds),
            "amount": maybe(amounts),
            "day": time(),
        }
        for i in size(12)
    ]
    lines = [
        {
            "id": i,
            "order_id": maybe(st.sampled_from([row["id"] for row in orders])),
            "kind": maybe(kinds),
            "amount": maybe(amounts),
            "sent": time(),
        }
        for i in size(12)
    ]
    return {"customers": customers, "stores": stores, "orders": orders, "lines": lines}


@dataclass(frozen=True)
class Piece:
    """A part of a line, and its value for (shop, entity and timestamp, whether rows at as_of count)."""

    text: str
    value: Callable[[Tables, Now, bool], Any]


@dataclass(frozen=True)
class RowPiece:
    """A condition on a row; its value is True, False or None."""

    text: str
    value: Callable[[Row], bool | None]


def _and(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _or(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}


def compared(sign: str, left: Any, right: Any) -> bool | None:
    return None if left is None or right is None else _COMPARED[sign](left, right)


def conditions(table: str) -> st.SearchStrategy[RowPiece]:
    """Conditions on the rows of a table, which has columns `kind` and `amount`."""
    signs, numbers = st.sampled_from(sorted(_COMPARED)), st.integers(-3, 5)
    simple = st.one_of(
        st.builds(
            lambda sign, n: RowPiece(f"{table}.amount {sign} {n}", lambda row: compared(sign, row["amount"], n)),
            signs,
            numbers,
        ),
        st.builds(
            lambda low, n: RowPiece(
                f"Amount BETWEEN {low} AND {low} + {n}",
                lambda row: None if row["amount"] is None else low <= row["amount"] <= low + n,
            ),
            numbers,
            st.integers(0, 4),
        ),
        st.sampled_from(
            [
                RowPiece(f"{table}.kind = 'it''s'", lambda row: compared("=", row["kind"], "it's")),
                RowPiece("kind IN ('a', 'b')", lambda row: None if row["kind"] is None else row["kind"] in "ab"),
                RowPiece("kind LIKE 'i%'", lambda row: None if row["kind"] is None else row["kind"].startswith("i")),
                RowPiece(f"{table}.amount IS NULL", lambda row: row["amount"] is None),
                RowPiece("amount IS NOT NULL", lambda row: row["amount"] is not None),
                RowPiece("- amount * 2 < 3", lambda row: None if row["amount"] is None else -row["amount"] * 2 < 3),
            ]
        ),
    )
    return st.one_of(
        simple,
        st.builds(
            lambda a, b: RowPiece(f"{a.text} AND NOT {b.text}", lambda row: _and([a.value(row), _not(b.value(row))])),
            simple,
            simple,
        ),
        st.builds(
            lambda a, b, c: RowPiece(
                f"({a.text} OR {b.text}) AND {c.text}",
                lambda row: _and([_or([a.value(row), b.value(row)]), c.value(row)]),
            ),
            simple,
            simple,
            simple,
        ),
    )


def later(time: datetime.datetime, amount: int, unit: str) -> datetime.datetime:
    """A time plus some units; months are those of the calendar, and end where a short month does."""
    if unit != "months":
        return time + datetime.timedelta(**{unit: amount})
    year, month = divmod(time.year * 12 + time.month - 1 + amount, 12)
    day = min(time.day, calendar.monthrange(year, month + 1)[1])
    return time.replace(year=year, month=month + 1, day=day)


def _linked(tables: Tables, table: str, entity: Row, known: Callable[[Any], bool]) -> list[Row]:
    """The rows of a table that belong to a customer; `known` says whether a row between them may be passed."""
    if table == "customers":
        return [entity]
    mine = [order for order in tables["orders"] if order["customer_id"] == entity["id"]]
    if table == "orders":
        return mine
    between = [order for order in mine if known(order["day"])]
    if table == "lines":
        return [row for row in tables["lines"] if any(row["order_id"] == order["id"] for order in between)]
    return [row for row in tables["stores"] if any(order["store_id"] == row["id"] for order in between)]


def _aggregated(function: str, rows: list[Row], column: str, time: str) -> Any:
    rows = sorted(rows, key=lambda row: (row[time], row["id"]))
    if column == "*":
        return len(rows) if function == "COUNT" else bool(rows)
    values = [row[column] for row in rows if row[column] is not None]
    if function in ("COUNT", "EXISTS"):
        return len(values) if function == "COUNT" else bool(values)
    if function == "COUNT_DISTINCT":
        return len(set(values))
    if function == "SUM":
        return sum(values)
    if not values:
        return None
    chosen: dict[str, Callable[[list[Any]], Any]] = {
        "AVG": lambda v: math.fsum(v) / len(v),
        "MIN": min,
        "MAX": max,
        "FIRST": lambda v: v[0],
        "LAST": lambda v: v[-1],
    }
    return chosen[function](values)


WHOLE = [("COUNT", "*")]
NUMBERS = [*WHOLE, *((f, "amount") for f in ("COUNT", "SUM", "AVG", "MIN", "MAX", "FIRST", "LAST", "COUNT_DISTINCT"))]


@st.composite
def aggregates(draw: st.DrawFn, *, past: bool) -> Piece:
    """A number over the rows of one table within a window."""
    table = draw(st.sampled_from(["orders", "lines", "stores", "customers"]))
    function, column = draw(st.sampled_from(WHOLE if table == "customers" else NUMBERS))
    condition = draw(conditions(table)) if table != "customers" and not draw(st.integers(0, 2)) else None
    unit = draw(st.sampled_from(["days", "hours", "weeks", "months"]))
    most = {"days": 60, "hours": 400, "weeks": 9, "months": 3}[unit]
    near, far = draw(st.one_of(st.just(0), st.integers(0, most // 3))), draw(st.integers(most // 2, most))
    far = max(far, near + 1)
    start, end = (-far, -near) if past else (near, far)
    open_ = past and draw(st.integers(0, 3)) == 0
    where = f" WHERE {condition.text}" if condition else ""
    text = f"{function}({table}.{column}{where}, {'-INF' if open_ else start}, {end}, {unit})"

    def value(tables: Tables, now: Now, at_as_of: bool) -> Any:
        entity, as_of = now
        latest = as_of if at_as_of else as_of - MICROSECOND

        def known(time: Any) -> bool:
            return not past or (time is not None and time <= latest)

        last = latest if past and end == 0 and table != "customers" else later(as_of, end, unit)
        rows = []
        for row in _linked(tables, table, entity, known):
            time = row[TIMES[table]]
            inside = time is not None and time <= last and (open_ or time > later(as_of, start, unit))
            if inside and (condition is None or condition.value(row) is True):
                rows.append(row)
        return _aggregated(function, rows, column, TIMES[table])

    return Piece(text, value)


def truths(*, past: bool) -> st.SearchStrategy[Piece]:
    """Conditions over aggregates."""
    number = aggregates(past=past)
    one = st.builds(
        lambda a, sign, n: Piece(f"{a.text} {sign} {n}", lambda *at: compared(sign, a.value(*at), n)),
        number,
        st.sampled_from(sorted(_COMPARED)),
        st.integers(-1, 4),
    )
    two = st.builds(
        lambda a, b: Piece(f"{a.text} < {b.text}", lambda *at: compared("<", a.value(*at), b.value(*at))),
        number,
        number,
    )
    simple = st.one_of(one, one, two)
    return st.one_of(
        simple,
        simple,
        st.builds(
            lambda a, b: Piece(f"{a.text} OR NOT {b.text}", lambda *at: _or([a.value(*at), _not(b.value(*at))])),
            simple,
            simple,
        ),
        st.builds(lambda a: Piece(f"{a.text} IS NOT NULL", lambda *at: a.value(*at) is not None), number),
    )


def _combined(sign: str, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    if sign == "/":
        return None if b == 0 else a / b
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def numbers() -> st.SearchStrategy[Piece]:
    """Numbers over aggregates of the future."""
    number = aggregates(past=False)
    return st.one_of(
        number,
        st.builds(
            lambda a, sign, b: Piece(
                f"{a.text} {sign} {b.text}", lambda *at: _combined(sign, a.value(*at), b.value(*at))
            ),
            number,
            st.sampled_from(["+", "-", "*", "/"]),
            number,
        ),
        st.builds(
            lambda a: Piece(f"coalesce({a.text}, -7)", lambda *at: -7 if (v := a.value(*at)) is None else v), number
        ),
    )


def cohorts() -> st.SearchStrategy[Piece]:
    """Conditions on an entity, of its columns and its past."""
    static = [
        Piece("customers.city = 'a'", lambda _, now, __: compared("=", now[0]["city"], "a")),
        Piece("age >= -2", lambda _, now, __: compared(">=", now[0]["age"], -2)),
        Piece("customers.city IS NULL", lambda _, now, __: now[0]["city"] is None),
    ]
    past = truths(past=True)
    return st.one_of(
        past,
        st.sampled_from(static),
        st.builds(
            lambda a, b: Piece(f"{a.text} OR {b.text}", lambda *at: _or([a.value(*at), b.value(*at)])),
            past,
            st.sampled_from(static),
        ),
    )


@dataclass(frozen=True)
class Question:
    """A line and its labels."""

    text: str
    labels: Callable[[Tables, Sequence[datetime.datetime], bool], dict[tuple[int, datetime.datetime], float]]


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """A line about customers."""
    # Most lines ask about many: a line without labels compares nothing.
    outcome = draw(truths(past=False) if draw(st.integers(0, 3)) == 0 else numbers())
    cohort = draw(cohorts()) if draw(st.booleans()) else None
    assuming = draw(truths(past=False)) if draw(st.integers(0, 4)) == 0 else None
    text = f"PREDICT {outcome.text} FOR EACH customers.id"
    text += f" WHERE {cohort.text}" if cohort else ""
    text += f" ASSUMING {assuming.text}" if assuming else ""

    def labels(
        tables: Tables, timestamps: Sequence[datetime.datetime], at_as_of: bool
    ) -> dict[tuple[int, datetime.datetime], float]:
        found = {}
        for as_of in timestamps:
            for entity in tables["customers"]:
                if entity["joined"] is None or entity["joined"] > as_of:
                    continue
                at = (tables, (entity, as_of), at_as_of)
                if all(part is None or part.value(*at) is True for part in (cohort, assuming)):
                    label = outcome.value(*at)
                    if label is not None:
                        found[entity["id"], as_of] = float(label)
        return found

    return Question(text, labels)

"""The tree of a line, as it is written: nothing in it has been looked up in a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from relsql.tasks.predict.tokens import quoted_name

Family = str
"""What values are: `number`, `text`, `time`, `truth`, `null`, or the name of another DuckDB type."""

Kind = Literal["comparison", "logic", "like", "null", "arithmetic", "number", "text", "same"]
"""What an operation does; `number`, `text` and `same` are functions of numbers, of texts, of values of one family."""

LOGICAL: tuple[Kind, ...] = ("comparison", "logic", "like", "null")

ATOM = 99
"""How strongly a name, a constant or a call binds; operators bind less."""

UNITS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "week": 7 * 86400.0,
    "month": 30.4 * 86400.0,
    "year": 365.25 * 86400.0,
}
"""The units of a window and about how many seconds they last; months and years are those of the calendar."""

AGGREGATES = ("COUNT", "SUM", "AVG", "MIN", "MAX", "FIRST", "LAST", "COUNT_DISTINCT", "EXISTS", "LIST_DISTINCT")

MAX_TOP = 1_000
"""The largest k of `RANK TOP k`."""

MAX_STEPS = 100
"""The largest n of `FORECAST n TIMEFRAMES`."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name of one or more parts, `customers.city` or `staging.orders.id`; `column` is `*` for all columns.

    A name without a table has no `parts`.
    """

    at: int
    parts: tuple[str, ...]
    column: str

    def __str__(self) -> str:
        column = self.column if self.column == "*" else quoted_name(self.column)
        return ".".join([*map(quoted_name, self.parts), column])


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, a date, a timestamp, TRUE, FALSE or NULL; `sql` is its literal."""

    at: int
    sql: str
    family: Family


@dataclass(frozen=True, slots=True)
class Window:
    """The time (as_of + start, as_of + end]; a start of None is the beginning of time."""

    at: int
    start: int | None
    end: int
    unit: str

    @property
    def seconds(self) -> float:
        """About how long after as_of it ends."""
        return self.end * UNITS[self.unit]

    @property
    def horizon(self) -> str:
        """Its end as a DuckDB interval."""
        return f"{self.end} {self.unit}{'' if self.end == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate of the rows of a table within a window; `text` is what the line says."""

    at: int
    text: str
    function: str
    name: Name
    via: tuple[Name, ...]
    condition: Expression | None
    window: Window


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator or a function over other expressions; `form` has a `{}` for each of them.

    Attributes:
        at: the position of the operator.
        form: how SQL writes it, `{} + {}`; with numbers where one of them occurs twice.
        parts: the operands.
        kind: what it does.
        binds: how strongly it binds; an operand that does not bind more is put in parentheses.
    """

    at: int
    form: str
    parts: tuple[Expression, ...]
    kind: Kind
    binds: int = ATOM

    @property
    def sign(self) -> str:
        """The operator as messages name it."""
        form = self.form.replace("{0}", " ").partition("CASE")[0]
        return " ".join(form.replace("{}", " ").replace("(", " ").replace(")", " ").replace(",", " ").split())


Expression = Name | Constant | Aggregate | Operation


@dataclass(frozen=True, slots=True)
class Line:
    """A question: what to predict, for which rows, and among which of them.

    Attributes:
        text: as it is written.
        outcome: what to predict.
        entity: the key of the rows.
        cohort: the condition of WHERE.
        assuming: the condition of ASSUMING.
        classify: the answer is a class, `CLASSIFY`.
        top: the number of items in the answer, `RANK TOP k`; 0 if the answer is not a list of items.
        steps: the number of windows, one after another, with a number each, `FORECAST n TIMEFRAMES`; 0 for one window.
    """

    text: str
    outcome: Expression
    entity: tuple[Name, ...]
    cohort: Expression | None = None
    assuming: Expression | None = None
    classify: bool = False
    top: int = 0
    steps: int = 0

    @property
    def is_binary(self) -> bool:
        """True if the answer is yes or no."""
        outer = self.outcome
        if isinstance(outer, Operation):
            return outer.kind in LOGICAL
        return isinstance(outer, Aggregate) and outer.function == "EXISTS"

    @property
    def task_type(self) -> str:
        """The type of the task that the line asks, if the answer is not a column of the row itself."""
        if self.top:
            return "recommendation"
        if self.classify:
            lists = isinstance(self.outcome, Aggregate) and self.outcome.function == "LIST_DISTINCT"
            return f"multi{'label' if lists else 'class'}_classification"
        return "binary_classification" if self.is_binary else "regression"

    @property
    def asks_cell(self) -> bool:
        """True if the answer is a column of the row itself, which the line completes."""
        return isinstance(self.outcome, Name)

    @property
    def horizon(self) -> str:
        """The latest end of a window after as_of, as a DuckDB interval; empty if there is none."""
        if self.asks_cell:
            return ""
        if self.steps:
            first = next(aggregates(self.outcome)).window
            return replace(first, end=self.steps * first.end).horizon
        ahead = [found.window for part in (self.outcome, self.assuming) for found in aggregates(part)]
        return max(ahead, key=lambda window: window.seconds).horizon


def aggregates(expression: Expression | None) -> Iterator[Aggregate]:
    """The aggregates in an expression, in the order of the line."""
    if isinstance(expression, Aggregate):
        yield expression
    elif isinstance(expression, Operation):
        for part in expression.parts:
            yield from aggregates(part)

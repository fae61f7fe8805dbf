"""Read a line: a parser that goes through its tokens once, and names what could stand where it has to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from relsql.errors import nearest
from relsql.sql_text import literal
from relsql.tasks.predict.step_windows import LONGEST, check_steps
from relsql.tasks.predict.syntax import (
    AGGREGATES,
    ATOM,
    MAX_STEPS,
    MAX_TOP,
    UNITS,
    Aggregate,
    Constant,
    Expression,
    Kind,
    Line,
    Name,
    Operation,
    Window,
    aggregates,
)
from relsql.tasks.predict.tokens import RESERVED, Token, line_error, tokens_of

WORKS = (
    f"a condition (yes or no), a number, or a class (CLASSIFY) over {', '.join(AGGREGATES[:-1])}, "
    "as in PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id; "
    "a list of items, as in PREDICT LIST_DISTINCT(orders.product_id, 0, 30, days) RANK TOP 10; "
    "a number for each of n windows, as in PREDICT SUM(orders.amount, 0, 30, days) FORECAST 6 TIMEFRAMES; "
    "or a column of the row itself, as in PREDICT orders.amount FOR EACH orders.order_id"
)
"""What a line can ask today."""

_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN = range(1, 8)

_COMPARISONS = ("=", "!=", "<>", "<", "<=", ">", ">=")
_FUNCTIONS: dict[str, tuple[Kind, int]] = {
    **dict.fromkeys(("ABS", "CEIL", "EXP", "FLOOR", "LN", "LOG10", "ROUND", "SQRT"), ("number", 1)),
    **dict.fromkeys(("LOWER", "UPPER", "TRIM"), ("text", 1)),
    **dict.fromkeys(("COALESCE", "GREATEST", "LEAST"), ("same", 2)),
}
"""Functions of a row or of aggregates: the kind of their arguments, and the minimum number of them."""

_LIST = "LIST_DISTINCT"


def parse_line(text: str) -> Line:
    """Read a line.

    Raises:
        TaskError: it does not parse, asks for something unsupported, or has a window that no label can have.
    """
    try:
        return _Parser(text).line()
    except RecursionError:
        raise line_error(text, 0, "the line is nested too deeply", "a few dozen parentheses at most") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.position = text, tokens_of(text), 0

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    @property
    def following(self) -> Token:
        return self.tokens[min(self.position + 1, len(self.tokens) - 1)]

    def next(self) -> Token:
        token = self.token
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def takes(self, *keywords: str) -> Token | None:
        """The first of the next tokens if they are these words or signs, which are then consumed."""
        found = [token.keyword for token in self.tokens[self.position : self.position + len(keywords)]]
        if found != [*keywords]:
            return None
        first = self.token
        self.position += len(keywords)
        return first

    def wants(self, *keywords: str, expected: str = "") -> Token:
        found = self.takes(*keywords)
        if found is None:
            self.refuse(expected or " ".join(keywords))
        return found

    def refuse(self, expected: str) -> NoReturn:
        found = f"'{self.token.text}' cannot stand here" if self.token.kind != "end" else "the line ends too early"
        raise self.error(self.token.at, found, expected)

    def error(self, at: int, problem: str, expected: str) -> Exception:
        return line_error(self.text, at, problem, expected)

    def line(self) -> Line:
        self.wants("PREDICT", expected="PREDICT, the first word of a line")
        outcome = self.expression()
        classify, top = self.form(outcome)
        steps = self.steps(outcome, classify or top > 0)
        form = "" if classify or top or steps else ", CLASSIFY, FORECAST, or an operator such as = or AND"
        self.wants("FOR", "EACH", expected=f"FOR EACH{form}")
        entity = [self.name("the key of a table, as in customers.customer_id", with_table=True)]
        while self.takes(","):
            entity.append(self.name("another column of the key", with_table=True))
        cohort = self.expression() if self.takes("WHERE") else None
        assuming = self.expression() if self.takes("ASSUMING") else None
        self.takes(";")
        if self.token.kind != "end":
            open_ = "" if assuming else "an operator, ASSUMING, " if cohort else "WHERE, ASSUMING, "
            self.refuse(f"{open_}or the end of the line")
        self.check_windows(outcome, cohort, assuming)
        self.check_lists(outcome, cohort, assuming)
        if steps:
            check_steps(self.text, steps, outcome, assuming)
        return Line(self.text, outcome, tuple(entity), cohort, assuming, classify, top, steps)

    def form(self, outcome: Expression) -> tuple[bool, int]:
        """`CLASSIFY` or `RANK TOP k`: whether the answer is a class, and how many items it is."""
        is_list = isinstance(outcome, Aggregate) and outcome.function == _LIST
        if ranked := self.takes("RANK", "TOP"):
            if not is_list:
                expected = "RANK TOP after LIST_DISTINCT(table.column, START, END, UNIT) alone"
                raise self.error(ranked.at, "what is not a list cannot be ranked", expected)
            at, top = self.token.at, self.amount("RANK TOP k") or 0
            if not 1 <= top <= MAX_TOP:
                raise self.error(at, f"RANK TOP {top} is not possible", f"1 to {MAX_TOP:,} items")
            return False, top
        found = self.takes("CLASSIFY")
        if is_list and not found:
            self.refuse("RANK TOP k, how many items of the list to recommend, or CLASSIFY, which texts it will hold")
        if found and Line("", outcome, ()).is_binary:
            expected = "no CLASSIFY after a condition, or a text or a whole number before it"
            raise self.error(found.at, "a condition is answered by yes or no, which are not classes", expected)
        return found is not None, 0

    def steps(self, outcome: Expression, has_form: bool) -> int:
        """`FORECAST n TIMEFRAMES`: the number of windows, 0 without it."""
        found = self.takes("FORECAST")
        if found is None:
            return 0
        if has_form or isinstance(outcome, Name) or Line("", outcome, ()).is_binary:
            problem = "only a number can be forecast in several windows"
            raise self.error(found.at, problem, "FORECAST after SUM, COUNT, AVG, .. or arithmetic of them")
        at, count = self.token.at, self.amount("FORECAST n TIMEFRAMES") or 0
        if not 2 <= count <= MAX_STEPS:
            one = "; one window needs no FORECAST" if count == 1 else ""
            raise self.error(at, f"FORECAST {count} TIMEFRAMES is not possible", f"2 to {MAX_STEPS} windows{one}")
        if not (self.takes("TIMEFRAMES") or self.takes("TIMEFRAME")):
            self.refuse("TIMEFRAMES, after their number")
        if self.token.keyword in ("CLASSIFY", "RANK"):
            self.refuse("FOR EACH: only a number can be forecast in several windows")
        return count

    def check_lists(self, outcome: Expression, *others: Expression | None) -> None:
        """Refuse lists within expressions."""
        inner = outcome.parts if isinstance(outcome, Operation) else ()
        for found in (each for part in (*inner, *others) for each in aggregates(part)):
            if found.function == _LIST:
                expected = "PREDICT LIST_DISTINCT(..) RANK TOP k, or CLASSIFY"
                raise self.error(found.at, "a list can only be the answer", expected)

    def check_windows(self, outcome: Expression, cohort: Expression | None, assuming: Expression | None) -> None:
        if isinstance(outcome, Name):
            if part := cohort or assuming:
                clause = "WHERE" if cohort else "ASSUMING"
                problem = f"{clause} with a plain column, {outcome}, is not supported yet"
                raise self.error(part.at, problem, "the end of the line: a column is completed in every row")
            return
        if not any(aggregates(outcome)):
            raise self.error(outcome.at, "an answer without a window is not supported yet", WORKS)
        for part in (outcome, assuming):
            for found in aggregates(part):
                window = found.window
                if window.start is None or window.start < 0:
                    clause = "PREDICT" if part is outcome else "ASSUMING"
                    raise self.error(
                        window.at,
                        f"a window of {clause} begins before 0, so it would look at what is known already",
                        "a start at or after 0; the past belongs in WHERE, after FOR EACH",
                    )
        for found in aggregates(cohort):
            if found.window.end > 0:
                raise self.error(
                    found.window.at,
                    "a window of WHERE ends after 0, so it would look at what is not known yet",
                    "an end at or before 0; what to assume of the future belongs in ASSUMING, after WHERE",
                )

    def expression(self) -> Expression:
        return self.chain("OR", _OR, lambda: self.chain("AND", _AND, self.negation))

    def chain(self, word: str, binds: int, operand: Callable[[], Expression]) -> Expression:
        parts, at = [operand()], self.token.at
        while self.takes(word):
            parts.append(operand())
        if len(parts) == 1:
            return parts[0]
        return Operation(at, f" {word} ".join(["{}"] * len(parts)), tuple(parts), "logic", binds)

    def negation(self) -> Expression:
        found = self.takes("NOT")
        return Operation(found.at, "NOT {}", (self.negation(),), "logic", _NOT) if found else self.comparison()

    def comparison(self) -> Expression:
        left = self.arithmetic()
        at, keyword = self.token.at, self.token.keyword
        if keyword in _COMPARISONS:
            self.next()
            return Operation(at, f"{{}} {keyword} {{}}", (left, self.arithmetic()), "comparison", _COMPARISON)
        if self.takes("IS"):
            word = "IS NOT NULL" if self.takes("NOT") else "IS NULL"
            self.wants("NULL")
            return Operation(at, f"{{}} {word}", (left,), "null", _COMPARISON)
        negated = "NOT " if self.takes("NOT") else ""
        keyword = self.token.keyword
        if self.takes("BETWEEN"):
            low = self.arithmetic()
            self.wants("AND", expected="AND, between the two ends of BETWEEN")
            ends = (left, low, self.arithmetic())
            return Operation(at, f"{{}} {negated}BETWEEN {{}} AND {{}}", ends, "comparison", _COMPARISON)
        if self.takes("IN"):
            values = self.listed()
            form = f"{{}} {negated}IN ({', '.join(['{}'] * len(values))})"
            return Operation(at, form, (left, *values), "comparison", _COMPARISON)
        if self.takes("LIKE") or self.takes("ILIKE"):
            parts = (left, self.arithmetic())
            return Operation(at, f"{{}} {negated}{keyword} {{}}", parts, "like", _COMPARISON)
        if negated:
            self.refuse("BETWEEN, IN or LIKE after NOT")
        return left

    def arithmetic(self) -> Expression:
        left = self.product()
        while self.token.keyword in ("+", "-"):
            sign = self.next()
            left = Operation(sign.at, f"{{}} {sign.text} {{}}", (left, self.product()), "arithmetic", _SUM)
        return left

    def product(self) -> Expression:
        left = self.signed()
        while self.token.keyword in ("*", "/", "%"):
            sign = self.next()
            # Without CASE, a division by zero would give infinity, which cannot be a label. DuckDB's nullif is a macro.
            form = "{} * {}" if sign.text == "*" else f"{{0}} {sign.text} CASE WHEN {{1}} <> 0 THEN {{1}} END"
            left = Operation(sign.at, form, (left, self.signed()), "arithmetic", _PRODUCT)
        return left

    def signed(self) -> Expression:
        found = self.takes("-")
        return Operation(found.at, "-{}", (self.signed(),), "arithmetic", _SIGN) if found else self.primary()

    def primary(self) -> Expression:
        token = self.token
        if self.takes("("):
            inner = self.expression()
            self.wants(")", expected=") or an operator")
            return inner
        if token.kind == "number":
            return Constant(self.next().at, token.text, "number")
        if token.kind == "text":
            return Constant(self.next().at, literal(token.value), "text")
        if token.keyword in ("TRUE", "FALSE", "NULL"):
            return Constant(self.next().at, token.keyword, "null" if token.keyword == "NULL" else "truth")
        following = self.following
        if token.keyword in ("DATE", "TIMESTAMP") and following.kind == "text":
            self.position += 2
            return Constant(token.at, f"{token.keyword} {literal(following.value)}", "time")
        if token.kind == "word" and following.keyword == "(":
            return self.call()
        return self.name(
            "a number, a text in single quotes, a column, an aggregate such as COUNT(orders.*, 0, 30, days)"
        )

    def call(self) -> Expression:
        token = self.next()
        function = token.keyword
        if function in AGGREGATES:
            return self.aggregate(token)
        if function not in _FUNCTIONS:
            expected = nearest(token.text, (*AGGREGATES, *_FUNCTIONS))
            raise self.error(token.at, f"there is no function {token.text}", expected)
        kind, least = _FUNCTIONS[function]
        parts = self.listed()
        if len(parts) < least or (len(parts) > 1 and least == 1):
            expected = "one value" if least == 1 else "at least two values"
            raise self.error(token.at, f"{function} has {len(parts)} values", expected)
        form = f"{function.lower()}({', '.join(['{}'] * len(parts))})"
        return Operation(token.at, form, tuple(parts), kind, ATOM)

    def listed(self) -> list[Expression]:
        self.wants("(", expected="a list of values in parentheses")
        values = [self.arithmetic()]
        while self.takes(","):
            values.append(self.arithmetic())
        self.wants(")", expected="a comma or )")
        return values

    def aggregate(self, function: Token) -> Aggregate:
        self.wants("(")
        if self.token.keyword in AGGREGATES and self.following.keyword == "(":
            raise self.error(self.token.at, "an aggregate of an aggregate is not possible", "table.column, or table.*")
        name = self.name("table.column, or table.* for its rows", with_table=True, with_star=True)
        via = []
        if self.takes("VIA"):
            via.append(self.name("the column of a foreign key, as in results.driverId", with_table=True))
            while self.token.keyword == "," and self.following.kind in ("word", "name"):
                self.next()
                via.append(self.name("the column of another foreign key", with_table=True))
        condition = self.row_condition() if self.takes("WHERE") else None
        window = self.window()
        end = self.wants(")").end
        text = " ".join(self.text[function.at : end].split())
        return Aggregate(function.at, text, function.keyword, name, tuple(via), condition, window)

    def row_condition(self) -> Expression:
        condition = self.expression()
        for found in aggregates(condition):
            raise self.error(
                found.at, "the condition on a row has an aggregate in it", "columns of the row and constants"
            )
        return condition

    def window(self) -> Window:
        form = "a window, START, END, UNIT, as in 0, 30, days"
        self.wants(",", expected=f"a comma and {form}")
        at, start = self.token.at, self.amount(form, open_=True)
        self.wants(",", expected=f"a comma in {form}")
        end_at, end = self.token.at, self.amount(form)
        self.wants(",", expected=f"a comma in {form}")
        unit = self.unit()
        assert end is not None
        if start is not None and end <= start:
            problem = f"the window ends at {end}, and it starts at {start}"
            raise self.error(end_at, problem, f"an end after the start: {start}, {start + 1}, {unit}s")
        if abs(end) * UNITS[unit] > LONGEST or abs(start or 0) * UNITS[unit] > LONGEST:
            raise self.error(at, "the window is longer than 100 years", "at most 100 years")
        return Window(at, start, end, unit)

    def amount(self, form: str, *, open_: bool = False) -> int | None:
        """A whole number, or None for -INF."""
        negative = self.takes("-") is not None
        token = self.token
        if open_ and negative and token.keyword == "INF":
            self.next()
            return None
        if token.kind != "number" or not token.text.isdecimal() or len(token.text) > 12:
            self.refuse(f"a whole number{' or -INF' if open_ else ''} in {form}")
        self.next()
        return -int(token.text) if negative else int(token.text)

    def unit(self) -> str:
        token = self.token
        unit = token.text.lower().removesuffix("s")
        if token.kind != "word" or unit not in UNITS:
            raise self.error(
                token.at, f"there is no unit '{token.text}'", nearest(token.text, [f"{name}s" for name in UNITS])
            )
        self.next()
        return unit

    def name(self, expected: str, *, with_table: bool = False, with_star: bool = False) -> Name:
        first = self.token
        if first.kind not in ("word", "name") or first.keyword in RESERVED:
            quoted = f'; a name is written "{first.text}"' if first.kind == "word" else ""
            self.refuse(expected + quoted)
        parts = [self.next().value]
        while self.takes("."):
            token = self.token
            if with_star and token.keyword == "*":
                self.next()
                return Name(first.at, tuple(parts), "*")
            if token.kind not in ("word", "name"):
                self.refuse("the name of a column" + (", or *" if with_star else ""))
            parts.append(self.next().value)
        if with_table and len(parts) == 1:
            raise self.error(first.at, f"'{first.text}' names no column", expected)
        if len(parts) > 3:
            raise self.error(first.at, f"the name has {len(parts)} parts", "table.column or schema.table.column")
        return Name(first.at, tuple(parts[:-1]), parts[-1])

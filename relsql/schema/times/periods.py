"""Texts that name a period, such as `Fall 2019`, `Q3 2019`, `Mar 2019` or `2018/19`: read as the end of the period.

What belongs to a term or a quarter is certainly known when it is over.
"""

from __future__ import annotations

from collections.abc import Iterator

from relsql.sql_text import literal

PERIOD_END = "text, the end of the period that it names"

_YEAR = "(19|20)[0-9]{2}"
_SEASONS = {"spring": 6, "summer": 9, "fall": 12, "autumn": 12, "winter": 15}
"""Months from the beginning of a year to the end of a season. A winter may begin in the year that it is named after."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def period_readings(column: str) -> Iterator[tuple[str, str, str]]:
    """The forms of periods, each as the condition that a text `v` has the form, the end of the period, and its length.

    The condition and the end are SQL; the end is an expression over the row, and `column` is the column in it. If
    several forms fit equally well, the first one counts.
    """
    seasons, months = "|".join(_SEASONS), "|".join(_MONTHS)
    word = f"lower(regexp_extract({column}, '[A-Za-z]{{3}}'))"
    term = "( (term|semester|session|quarter))?"
    yield (
        _either(f"({seasons}){term}"),
        _end_sql(column, _case_sql(word, {k[:3]: v for k, v in _SEASONS.items()})),
        "6 MONTHS",
    )
    named = {name: i for i, name in enumerate(_MONTHS, start=1)}
    yield _either(f"({months})[a-z]*[.]?"), _end_sql(column, _case_sql(word, named)), "1 MONTH"
    quarter = f"CAST(regexp_extract({column}, '[Qq]([1-4])', 1) AS INTEGER)"
    yield _either("q[1-4]"), _end_sql(column, f"3 * {quarter}"), "3 MONTHS"
    # 2014/15 is a season, 2014/11 a month.
    two = f"{_YEAR}[/–-]([0-9]{{2}}|{_YEAR})"
    follows = "CAST(right(v, 2) AS INTEGER) = (CAST(left(v, 4) AS INTEGER) + 1) % 100"
    yield f"CASE WHEN {_matches(two)} THEN {follows} ELSE false END", _end_sql(column, "24"), "2 YEARS"
    for form, group in ((f"{_YEAR}[/.](0[1-9]|1[0-2])", 2), (f"(0?[1-9]|1[0-2])[/.-]{_YEAR}", 1)):
        number = f"CAST(regexp_extract({column}, {literal(form)}, {group}) AS INTEGER)"
        yield _matches(form), _end_sql(column, number), "1 MONTH"
    week = f"try_strptime(upper({column}) || '-7', '%G-W%V-%u') + INTERVAL 1 DAY"
    yield _matches(f"{_YEAR}-w[0-5][0-9]"), week, "7 DAYS"


def _matches(pattern: str) -> str:
    """The condition that a whole text `v` matches a pattern of lower-case letters."""
    return f"regexp_full_match(lower(v), {literal(pattern)})"


def _either(part: str) -> str:
    """The condition that a text is a part before or after a year."""
    return _matches(f"{part}[ ,/_-]*{_YEAR}|{_YEAR}[ ,/_-]*{part}")


def _case_sql(word: str, months: dict[str, int]) -> str:
    cases = " ".join(f"WHEN {literal(name)} THEN {month}" for name, month in months.items())
    return f"CASE {word} {cases} END"


def _end_sql(column: str, months: str) -> str:
    year = f"CAST(regexp_extract({column}, '{_YEAR}') AS BIGINT)"
    return f"make_timestamp({year}, 1, 1, 0, 0, 0.0) + to_months({months})"

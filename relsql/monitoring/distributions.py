"""The values of a column at two times, then and now, counted in bins that the values then determine. Queries only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.monitoring.psi import psi, psi_by_chance
from relsql.sql_text import Cte, literal, with_ctes

_DECILES = "[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]"
_SHOWN = 3
"""How many unseen values are named."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A column then and now.

    Attributes:
        then, now: rows by bin; missing values have a bin of their own.
        missing_then, missing_now: rows without a value.
        unseen: rows now with a value that no row had then; 0 for quantities.
        unseen_values: the commonest of these values.
        single: rows then whose value no other row had. Their share is the share of unseen values to expect without
            any change (Good 1953).
    """

    then: tuple[int, ...]
    now: tuple[int, ...]
    missing_then: int
    missing_now: int
    unseen: int = 0
    unseen_values: tuple[str, ...] = ()
    single: int = 0

    @property
    def rows_then(self) -> int:
        """Number of rows then."""
        return sum(self.then)

    @property
    def rows_now(self) -> int:
        """Number of rows now."""
        return sum(self.now)

    @property
    def psi(self) -> float | None:
        """Its PSI."""
        return psi(self.then, self.now)

    @property
    def psi_by_chance(self) -> float | None:
        """The PSI that chance explains for these numbers of rows."""
        return psi_by_chance(self.then, self.now)


def quantity(con: duckdb.DuckDBPyConnection, rows: str) -> Distribution:
    """Count numbers between the deciles then, below the lowest and above the highest of them.

    The lowest value has a bin of its own, because deciles cannot separate the values of a flag that is rarely false.

    `rows` is a query for `value` (a number, NULL if missing) and `fresh` (true for rows of now).
    """
    values = Cte("seen", f"SELECT CAST(value AS DOUBLE) AS value, fresh FROM ({rows})", "Values then and now")
    body = f"SELECT quantile_disc(value, {_DECILES}) FROM seen WHERE NOT fresh"
    [(deciles,)] = con.execute(sealed(with_ctes([values], body))).fetchall()
    bounds = [f"value >= {literal(deciles[0])}", f"value > {literal(deciles[-1])}"] if deciles else []
    bounds += [f"value > {literal(bound)}" for bound in sorted({*deciles} - {deciles[-1]})] if deciles else []
    bin_sql = " + ".join(f"CAST({bound} AS INTEGER)" for bound in bounds) or "0"
    body = f"""SELECT CASE WHEN value IS NULL THEN -1 ELSE {bin_sql} END AS bin,
        count(*) FILTER (NOT fresh), count(*) FILTER (fresh)
        FROM seen GROUP BY bin ORDER BY bin ASC"""
    found = con.execute(sealed(with_ctes([values], body))).fetchall()
    missing = [counts for bin_, *counts in found if bin_ == -1] or [[0, 0]]
    then, now = zip(*(counts for _, *counts in found), strict=True) if found else ((), ())
    return Distribution(then, now, *missing[0])


def categories(con: duckdb.DuckDBPyConnection, rows: str, known: Collection[str] | None = None) -> Distribution:
    """Count values, each in a bin of its own.

    Args:
        con: connection to the data.
        rows: a query for `value` (VARCHAR, NULL if missing) and `fresh` (true for rows of now).
        known: the values that have a bin; the others of then share one. None: all of then have one.
    """
    query = f"""SELECT value, count(*) FILTER (NOT fresh) AS before, count(*) FILTER (fresh) AS after
                FROM ({rows}) GROUP BY value ORDER BY after DESC, value ASC"""
    found = con.execute(sealed(query)).fetchall()
    bins: dict[tuple[str, str], list[int]] = {}
    for value, before, after in found:
        kind = "missing" if value is None else "known" if before else "unseen"
        name = value if kind == "known" and (known is None or value in known) else ""
        counts = bins.setdefault((kind, name), [0, 0])
        counts[0] += before
        counts[1] += after
    then, now = zip(*bins.values(), strict=True) if bins else ((), ())
    missing = bins.get(("missing", ""), [0, 0])
    return Distribution(
        then,
        now,
        missing[0],
        missing[1],
        bins.get(("unseen", ""), [0, 0])[1],
        tuple(value for value, before, _ in found if value is not None and not before)[:_SHOWN],
        sum(1 for value, before, _ in found if value is not None and before == 1),
    )

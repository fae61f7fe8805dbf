"""Find the column that says when a row appears, and distinguish it from birth dates, deadlines and bookkeeping dates.

The best of a table's dates is chosen by names and counts. In a table that others point at, the choice is then compared
with the first event of each of its rows. A customer's first order soon follows the registration, at least for some
customers, while even the youngest driver's first race comes many years after birth. And events before a date show that
the row already existed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relsql.schema.discovery.names import table_words, word_set, words
from relsql.schema.discovery.profile import Profile, Profiler
from relsql.schema.tables import Link, Table
from relsql.schema.types import TIME_TYPES
from relsql.sql import ident

DAY = 86_400.0
MIN_ENTITIES = 8
"""With fewer rows that have events, the time from a date to the first event is no evidence."""

_BIRTH = word_set("dob born birth birthday birthdate death died deceased dod")
_LATER = word_set(
    "updated update modified modification changed change edited loaded load ingested synced refreshed extracted etl "
    "dbt last latest deleted archived closed ended end finish finished to until due planned scheduled expected "
    "estimated eta deadline target expiry expire expired expiration promised required next renewal shipped delivered "
    "returned paid approved processed completed cancelled canceled resolved"
)
_EVENT = word_set(
    "date time timestamp ts datetime occurred event happened start started begin began from since posted published "
    "recorded observed registered signup joined hired opened placed"
)
_CREATED = word_set("created creation inserted")


@dataclass(frozen=True, slots=True)
class TimeProposal:
    """A time column; `column` is None where a table has dates but none of them says when a row appears."""

    table: str
    column: str | None
    evidence: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    column: str
    score: float
    evidence: str
    later: bool


@dataclass(frozen=True, slots=True)
class _Lag:
    """The delay from a date to the first event of its row, over `rows` rows; times in seconds.

    `early` is the 5 % quantile of the delay, `before` the share of rows with events clearly before the date, and `span`
    the time from the first to the last event.
    """

    rows: int
    early: float
    before: float
    span: float


def infer_times(data: Profiler, decided: set[str]) -> list[TimeProposal]:
    """Propose a time column for each table that has dates, is not in `decided` and has no time column yet."""
    rejected: dict[str, list[str]] = {}
    candidates: dict[str, list[_Candidate]] = {}
    for table in data.schema.tables.values():
        if table.key not in decided and not table.time_column:
            candidates[table.key], rejected[table.key] = _candidates(data, table)
    # Links may form a cycle, so the best candidate of a table is used until the table is decided.
    chosen = {key: found[0].column for key, found in candidates.items() if found}
    chosen |= {table.key: table.time_column for table in data.schema.tables.values() if table.time_column}
    proposals = []
    for table in _children_first(data):
        if table.key in candidates:
            proposal = _choose(data, table, candidates[table.key], rejected[table.key], chosen)
            chosen.pop(table.key, None)
            if proposal and proposal.column:
                chosen[table.key] = proposal.column
            proposals += [proposal] if proposal else []
    return proposals


def _candidates(data: Profiler, table: Table) -> tuple[list[_Candidate], list[str]]:
    """The candidate columns of a table, best first, and why other dates are rejected."""
    dates = [c.name for c in table.columns if c.type in TIME_TYPES]
    profiles = {name: data.profiles[table.key][name] for name in dates}
    most = max((profile.distinct for profile in profiles.values()), default=1) or 1
    found, rejected = [], []
    for name, profile in profiles.items():
        reason = _rejection_reason(table, name, profile)
        if reason:
            rejected.append(f"'{name}' {reason}")
            continue
        fill = profile.values / profile.rows if profile.rows else 1.0
        score = _name_score(table, name) + 0.4 * fill + 0.2 * profile.distinct / most
        evidence = f"a time for {100 * fill:.4g} % of {profile.rows:,} rows, from {profile.low} to {profile.high}"
        evidence = evidence if profile.rows else "the table is empty, so only its name counts"
        found.append(_Candidate(name, score, evidence, bool(_LATER & set(words(name)))))
    return sorted(found, key=lambda candidate: -candidate.score), rejected


def _rejection_reason(table: Table, column: str, profile: Profile) -> str | None:
    parts = set(words(column)) - set(table_words(table.name))
    if parts & _BIRTH or "birth" in "".join(sorted(parts)):
        return "looks like a birth or death date"
    if profile.rows and profile.values <= 0.5 * profile.rows:
        return f"is NULL in {profile.rows - profile.values:,} of {profile.rows:,} rows"
    if profile.rows >= 10 and profile.low == profile.high:
        return f"is {profile.low} in all rows"
    if profile.high and (profile.high.startswith("9999") or "infinity" in profile.high):
        return f"reaches to {profile.high}, which means that there is no end"
    return None


def _name_score(table: Table, column: str) -> float:
    parts = set(words(column))
    score = 0.2 if parts & _EVENT else 0.1 if parts & _CREATED else 0.0
    score += 0.2 if parts & set(table_words(table.name)) else 0.0
    return score - (0.5 if parts & _LATER and not parts & {"from", "start"} else 0.0)


def _children_first(data: Profiler) -> Iterator[Table]:
    """All tables, each after the tables that point at it, as far as the links form no cycle."""
    done: set[str] = set()

    def visit(key: str) -> Iterator[Table]:
        if key not in done:
            done.add(key)
            for link in data.schema.links_to(key):
                yield from visit(link.child)
            yield data.schema.tables[key]

    for key in data.schema.tables:
        yield from visit(key)


def _choose(
    data: Profiler, table: Table, candidates: list[_Candidate], rejected: list[str], chosen: dict[str, str]
) -> TimeProposal | None:
    for candidate in candidates:
        lag = _lag(data, table, candidate.column, chosen)
        reason = _disagreement(lag) if lag else None
        if reason:
            rejected.append(f"'{candidate.column}': {reason}")
            continue
        rivals = [f"'{other.column}'" for other in candidates if other is not candidate]
        evidence = candidate.evidence + (f"; preferred to {', '.join(rivals)}" if rivals else "")
        evidence += f"; agrees with the first events of {lag.rows:,} rows" if lag else ""
        confidence = _confidence(candidate, candidates, bool(lag)) * (1.0 if data.rows(table) else 0.5)
        return TimeProposal(table.key, candidate.column, evidence, round(confidence, 2))
    return TimeProposal(table.key, None, "; ".join(rejected), 0.8) if rejected else None


def _confidence(candidate: _Candidate, candidates: list[_Candidate], confirmed: bool) -> float:
    close = any(other is not candidate and other.score > candidate.score - 0.1 for other in candidates)
    confidence = 0.4 if candidate.later else 0.6 if close else 0.85
    return confidence + (0.1 if confirmed else 0.0)


def _disagreement(lag: _Lag) -> str | None:
    """Why a date is not the time at which rows appear, judged by their first events; None if it may be."""
    if lag.early > max(30 * DAY, 0.1 * lag.span):
        return f"even the quickest 5 % of {lag.rows:,} rows have their first event {_duration(lag.early)} later"
    if lag.before > 0.2:
        return f"{100 * lag.before:.0f} % of {lag.rows:,} rows have events before it"
    return None


def _duration(seconds: float) -> str:
    days = seconds / DAY
    return f"{days / 365.25:.1f} years" if days > 730 else f"{days:.0f} days"


def _lag(data: Profiler, table: Table, column: str, chosen: dict[str, str]) -> _Lag | None:
    """Compare `column` with the first event of each row in the tables that point at `table`, if there are any."""
    children = [link for link in data.schema.links_to(table.key) if link.child in chosen and link.child != table.key]
    if not children:
        return None
    firsts = " UNION ALL ".join(_first_events(data, link, chosen[link.child]) for link in children)
    width = len(children[0].parent_columns)
    keys = children[0].parent_columns
    if any(link.parent_columns != keys for link in children):
        return None
    matches = " AND ".join(f"p.{ident(key)} = e.k{i}" for i, key in enumerate(keys))
    names = ", ".join(f"k{i}" for i in range(width))
    query = f"""
        WITH events AS ({firsts}),
        entities AS (SELECT {names}, min(first) AS first FROM events GROUP BY ALL),
        span AS (SELECT max(last) - min(first) AS span FROM events),
        lags AS (
            SELECT e.first - epoch(p.{ident(column)}::TIMESTAMP) AS lag
            FROM entities e JOIN {table.sql(data.catalog)} p ON {matches} WHERE p.{ident(column)} IS NOT NULL
        )
        SELECT count(*), quantile_cont(lag, 0.05),
               avg(CASE WHEN lag < -greatest({2 * DAY}, 0.01 * span) THEN 1 ELSE 0 END), any_value(span)
        FROM lags CROSS JOIN span
    """
    rows, early, before, span = data.one(query)
    return _Lag(rows, early, before, span) if rows >= MIN_ENTITIES else None


def _first_events(data: Profiler, link: Link, time_column: str) -> str:
    child = data.schema.table(link.child)
    keys = ", ".join(f"{ident(name)} AS k{i}" for i, name in enumerate(link.child_columns))
    time = f"epoch({ident(time_column)}::TIMESTAMP)"
    return f"""SELECT {keys}, min({time}) AS first, max({time}) AS last FROM {child.sql(data.catalog)}
               WHERE {ident(time_column)} IS NOT NULL GROUP BY {", ".join(map(ident, link.child_columns))}"""

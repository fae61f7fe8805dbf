"""Find the column that says when a row appears, and distinguish it from birth dates, deadlines and bookkeeping dates.

The best of a table's dates is chosen by names and counts. Text and numbers that read as times count as dates, see
`relsql.schema.times.readings`. In a table that others point at, the choice is then compared with the first event of
each of its rows, see `relsql.schema.discovery.times.first_events`.
A table without a date may have the time of its header, see `relsql.schema.discovery.times.headers`, or of the period in
its name, see `relsql.schema.discovery.times.period_tables`. If no table has a date, days may be numbered, see
`relsql.schema.discovery.times.counters`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from relsql.database.queries.sealed import sealed
from relsql.errors import SchemaError
from relsql.schema.discovery.names import LATER_WORDS, table_words, word_set, words
from relsql.schema.discovery.profile import Profile, Profiler
from relsql.schema.discovery.proposals import TimeProposal
from relsql.schema.discovery.times.clocks import Clock, find_clocks, time_of_day
from relsql.schema.discovery.times.counters import counter_proposals
from relsql.schema.discovery.times.date_parts import find_date_parts
from relsql.schema.discovery.times.epoch_numbers import is_only_time
from relsql.schema.discovery.times.first_events import MIN_ENTITIES, disagreement, first_event_lag
from relsql.schema.discovery.times.headers import comes_with_header, header_proposals
from relsql.schema.discovery.times.period_tables import period_proposals
from relsql.schema.tables import Column, Link, Table
from relsql.schema.times.readings import Reading, find_reading
from relsql.schema.times.row_times import DeclaredTime, RowTimes
from relsql.schema.times.sentinels import event_bounds, find_sentinels
from relsql.schema.types import TIME_TYPES
from relsql.sql_text import ident

WEAK = 0.5
"""If the name of a date only suggests something later, its confidence is below this."""

SAFE = 0.8
"""The confidence of such a date if it is the only time of rows that nothing points at. Without a time, all of them
would be visible at every as_of; with a time that is too late, they only become visible later."""

CLOSE = 0.1
"""Candidates whose scores differ by less are equally likely."""

MIN_FIRST = 0.95
"""Minimum share of rows in which this time comes first, for it to count as the start of the event."""

HISTORY = 0.5
"""If a time typically precedes the others by more than this share of their range, it is older than its row, as is the
first credit line of somebody who asks for a loan."""

FEW = 0.02
"""If at most this share of the dates means that there is no end, these dates are taken for mistakes."""

MIDNIGHT = " 00:00:00"
"""The end of the text of a midnight timestamp; a range of days is printed without it."""

_BIRTH = word_set("dob born birth birthday birthdate death died deceased dod")
_EVENT = word_set(
    "date time timestamp ts datetime occurred event happened start started begin began from since posted published "
    "recorded observed registered signup joined hired opened placed issued issue"
)
_BEFORE = word_set("earliest oldest previous prior prev")
_CREATED = word_set("created creation inserted")
_RECORDED = _CREATED | word_set("recorded observed registered posted published reported")


_Dated = tuple[Column, str, Profile, Reading | None]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A possible time of a table: `time` as it would be declared, and the table with that time.

    It is `doubtful` if its values may be read in another way, unless they are numbers that are hardly anything else. It
    is `vague` if it is the end of a period.
    """

    column: str
    time: str
    table: Table
    score: float
    evidence: str
    later: bool
    doubtful: bool = False
    number: bool = False
    vague: bool = False

    @property
    def computed(self) -> bool:
        """True if `time` is an expression, not a column."""
        return self.time != self.column


def infer_times(data: Profiler, decided: set[str], unsure: tuple[Link, ...] = ()) -> list[TimeProposal]:
    """Propose a time for each table that has dates or a header, is not in `decided` and has no time yet.

    Links in `unsure` are not used to find headers.
    """
    rejected: dict[str, list[str]] = {}
    candidates: dict[str, list[_Candidate]] = {}
    for table in data.schema.tables.values():
        if table.key not in decided and not table.time_column:
            candidates[table.key], rejected[table.key] = _candidates(data, table)
    # Links may form a cycle, so the best candidate of a table is used until the table is decided.
    chosen = {key: found[0].table for key, found in candidates.items() if found}
    chosen |= {table.key: table for table in data.schema.tables.values() if table.time_column}
    proposals = []
    for table in _children_first(data):
        if table.key in candidates:
            proposal = _choose(data, table, candidates[table.key], rejected[table.key], chosen)
            chosen.pop(table.key, None)
            if proposal and proposal.column:
                chosen[table.key] = next(c.table for c in candidates[table.key] if c.time == proposal.column)
            proposals += [proposal] if proposal else []
    own = {proposal.table: proposal for proposal in proposals}
    left = [data.schema.tables[key] for key in candidates if key not in chosen]
    for proposal in [*period_proposals(left), *(counter_proposals(data, left) if not chosen else ())]:
        timed = with_time(data, data.schema.tables[proposal.table], proposal.column or "")
        if timed:
            own[proposal.table], chosen[proposal.table] = proposal, timed
    return _with_headers(data, own, chosen, decided, unsure)


def _with_headers(
    data: Profiler,
    own: dict[str, TimeProposal],
    chosen: dict[str, Table],
    decided: set[str],
    unsure: tuple[Link, ...],
) -> list[TimeProposal]:
    """The tables' own times, and the times of headers where they are better.

    A header's time is better than a date that only has the name of something later, such as the delivery of an order's
    line, if the rows appear together with their header. A payment does not appear with its user.
    """
    while True:
        sure = {key: proposal.confidence for key, proposal in own.items() if proposal.column}
        strong = {key: table for key, table in chosen.items() if sure.get(key, 1.0) >= WEAK}
        headers = header_proposals(data, strong, decided, unsure, sure)
        wrong = [
            proposal.table
            for proposal, link in headers
            if proposal.table in chosen and not comes_with_header(data, chosen[proposal.table], link, strong)
        ]
        if not wrong:
            break
        for key in wrong:
            evidence = f"{own[key].evidence}; its rows do not appear with those that they point at"
            own[key] = replace(own[key], evidence=evidence, confidence=SAFE)
    timed = {proposal.table for proposal, _ in headers}
    alone = [_safe(data, proposal) for key, proposal in own.items() if key not in timed]
    return alone + [proposal for proposal, _ in headers]


def _safe(data: Profiler, proposal: TimeProposal) -> TimeProposal:
    """The proposal, with a higher confidence if it is the only time of rows that nothing points at."""
    weak = proposal.column is not None and proposal.confidence < WEAK
    if not weak or data.schema.links_to(proposal.table) or not data.rows(data.schema.tables[proposal.table]):
        return proposal
    return replace(proposal, evidence=f"{proposal.evidence}; without it all rows count at once", confidence=SAFE)


def with_time(data: Profiler, table: Table, time: str) -> Table | None:
    """The table with a time as it would be declared; None if that does not fit."""
    try:
        return RowTimes(data.con, data.catalog, data.schema, {table.key: DeclaredTime(time)}).table(table.key)
    except SchemaError:
        return None


def _candidates(data: Profiler, table: Table) -> tuple[list[_Candidate], list[str]]:
    """The candidates of a table, best first, and why other dates are rejected."""
    clocks = find_clocks(data, table)
    dated = [*_dates(data, table, clocks), *_read_dates(data, table, clocks)]
    most = max((profile.distinct for _, _, profile, _ in dated), default=1) or 1
    found, rejected = [], []
    for column, time, profile, reading in dated:
        reason = _rejection_reason(data, table, column.name, time, profile)
        timed = with_time(data, table, time)
        if reason or timed is None:
            rejected.append(f"'{column.name}' {reason or 'cannot be read'}")
            continue
        fill = profile.values / profile.rows if profile.rows else 1.0
        score = _name_score(table, column.name) + 0.4 * fill + 0.2 * profile.distinct / most
        evidence = (
            _filled(data, timed, profile, fill) if profile.rows else "the table is empty, so only its name counts"
        )
        evidence = f"read as {reading.meaning}; {evidence}" if reading else evidence
        later = bool(_later_words(table, column.name))
        doubtful = bool(reading and reading.ambiguous)
        vague = bool(reading and reading.is_vague)
        number = bool(reading) and is_only_time(profile, [other for *_, other in dated])
        if number:
            evidence += (
                "; such numbers, nearly all distinct, can hardly be anything else, and the table has no other time"
            )
        elif reading and doubtful:
            evidence += f"; {reading.ambiguous} would fit as well"
        found.append(_Candidate(column.name, time, timed, score, evidence, later, doubtful, number, vague))
    return _starts_first(data, table, sorted(found, key=lambda candidate: -candidate.score)), rejected


def _filled(data: Profiler, timed: Table, profile: Profile, fill: float) -> str:
    """How many rows have a time, and the range of those that count as events."""
    sentinels = find_sentinels(data.con, data.catalog, timed)
    first, last = profile.low, profile.high
    if sentinels:
        first, last = event_bounds(data.con, data.catalog, timed, sentinels)
    if all(str(time).endswith(MIDNIGHT) for time in (first, last)):
        first, last = (str(time).removesuffix(MIDNIGHT) for time in (first, last))
    text = f"a time for {100 * fill:.4g} % of {profile.rows:,} rows, from {first} to {last}"
    return f"{text} and far from these {sentinels}" if sentinels else text


def _starts_first(data: Profiler, table: Table, candidates: list[_Candidate]) -> list[_Candidate]:
    """Among equally likely times, prefer the earliest in nearly all rows, such as the admission of a hospital stay.

    If a name says that the row was recorded at that time, the order of the times does not matter.
    """
    likely = [each for each in candidates if each.score > candidates[0].score - CLOSE and not each.later]
    while len(likely) > 1 and not any(_RECORDED & set(words(each.column)) for each in likely):
        first = _first(data, table, likely)
        if first is None or not _is_history(data, table, first, [each for each in likely if each is not first]):
            first = first or likely[0]
            return [first, *(each for each in candidates if each is not first)]
        likely.remove(first)
        candidates = [*likely, *(each for each in candidates if each not in likely)]
    return candidates


def _sql(candidate: _Candidate) -> str:
    return f"TRY({candidate.time if candidate.computed else ident(candidate.time)})::TIMESTAMP"


def _first(data: Profiler, table: Table, likely: list[_Candidate]) -> _Candidate | None:
    """The time that is the earliest in nearly all rows; None if no time is."""
    times = [_sql(each) for each in likely]
    shares = ", ".join(f"avg(CASE WHEN {time} <= least({', '.join(times)}) THEN 1.0 ELSE 0.0 END)" for time in times)
    [found] = data.con.execute(sealed(f"SELECT {shares} FROM {table.sql(data.catalog)}")).fetchall()
    return next((each for each, share in zip(likely, found, strict=True) if share and share >= MIN_FIRST), None)


def _is_history(data: Profiler, table: Table, first: _Candidate, others: list[_Candidate]) -> bool:
    """True if a time lies so long before the next one that it is older than its row."""
    following = f"least({', '.join(f'epoch({_sql(each)})' for each in others)})"
    query = f"""SELECT median({following} - epoch({_sql(first)})),
                       quantile_cont({following}, 0.98) - quantile_cont({following}, 0.02)
                FROM {table.sql(data.catalog)}"""
    [(lag, span)] = data.con.execute(sealed(query)).fetchall()
    return lag is not None and lag > HISTORY * span > 0


def _dates(data: Profiler, table: Table, clocks: list[Clock]) -> Iterator[_Dated]:
    """The columns of a table that are times, each with a time of day from another column, if there is one."""
    days = [column for column in table.columns if column.type in TIME_TYPES]
    for column in days:
        time, profile = column.name, data.profiles[table.key][column.name]
        clock = time_of_day(column, clocks, alone=len(days) == 1) if column.type == "DATE" else None
        if clock:
            time = f"{ident(column.name)} + {clock}"
        yield column, time, profile, None


def _read_dates(data: Profiler, table: Table, clocks: list[Clock]) -> Iterator[_Dated]:
    """The columns of a table whose values read as times."""
    # A year may be part of a key of several columns, but a key of one column is not a time.
    keys = [table.primary_key, *(link.child_columns for link in data.schema.links_from(table.key))]
    alone = {columns[0] for columns in keys if len(columns) == 1}
    parted = list(find_date_parts(data, table))
    parts = {column.name for each in parted for column in each.columns}
    read = [(each.columns[0], each.reading) for each in parted]
    for column in table.columns:
        if column.computed or column.type in TIME_TYPES or column.name in {*alone, *parts}:
            continue
        found = find_reading(data.con, data.catalog, table, column, frozenset(words(column.name)))
        read += [(column, found)] if found else []
    for column, reading in read:
        time, clock = reading.expression, time_of_day(column, clocks, alone=True)
        if clock and not reading.is_vague and _is_midnight(data, table, time):
            time = f"CAST({time} AS DATE) + {clock}"
        yield column, time, _profile(data, table, time), reading


def _is_midnight(data: Profiler, table: Table, time: str) -> bool:
    query = f"SELECT coalesce(bool_and(CAST({time} AS TIMESTAMP) = CAST({time} AS DATE)), false)"
    return bool(data.one(f"{query} FROM {table.sql(data.catalog)}")[0])


def _profile(data: Profiler, table: Table, time: str) -> Profile:
    """The profile of a reading, like that of a column."""
    query = f"""SELECT count(*), count(t), approx_count_distinct(t), 0.0, 0.0, min(t)::VARCHAR, max(t)::VARCHAR
                FROM (SELECT TRY({time})::TIMESTAMP AS t FROM {table.sql(data.catalog)})"""
    [row] = data.con.execute(sealed(query)).fetchall()
    return Profile(*row)


def _rejection_reason(data: Profiler, table: Table, column: str, time: str, profile: Profile) -> str | None:
    parts = set(words(column)) - set(table_words(table.name))
    if parts & _BIRTH or "birth" in "".join(sorted(parts)):
        return "looks like a birth or death date"
    if profile.rows and profile.values <= 0.5 * profile.rows:
        return f"is NULL in {profile.rows - profile.values:,} of {profile.rows:,} rows"
    if profile.rows >= 10 and profile.low == profile.high:
        return f"is {profile.low} in all rows"
    if profile.high and _means_no_end(profile.high) and set(words(column)) & LATER_WORDS:
        share = _share_without_end(data, table, ident(time) if time == column else time)
        return f"reaches to {profile.high}, which means that there is no end" if share > FEW else None
    return None


def _share_without_end(data: Profiler, table: Table, time: str) -> float:
    query = (
        f"SELECT coalesce(avg(CASE WHEN TRY({time})::TIMESTAMP >= TIMESTAMP '9999-01-01' THEN 1.0 ELSE 0.0 END), 0.0)"
    )
    return float(data.one(f"{query} FROM {table.sql(data.catalog)}")[0])


def _means_no_end(high: str) -> bool:
    return high.startswith("9999") or "infinity" in high


def _name_score(table: Table, column: str) -> float:
    parts = set(words(column))
    score = 0.2 if parts & _EVENT else 0.1 if parts & _CREATED else 0.0
    score += 0.2 if parts & set(table_words(table.name)) else 0.0
    score -= 0.5 if parts & _BEFORE else 0.0
    return score - (0.5 if _later_words(table, column) and not parts & {"from", "start"} else 0.0)


def _later_words(table: Table, column: str) -> set[str]:
    """The words of something later in a column's name, such as `receipt`, unless it is a table of receipts."""
    parts = {*words(column), *(part.removesuffix("date") for part in words(column))}
    return (parts & LATER_WORDS) - set(table_words(table.name))


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
    data: Profiler, table: Table, candidates: list[_Candidate], rejected: list[str], chosen: Mapping[str, Table]
) -> TimeProposal | None:
    for candidate in candidates:
        # The end of a season lies after its games, even if there are only three seasons.
        lag = first_event_lag(data, candidate.table, chosen, 1 if candidate.vague else MIN_ENTITIES)
        reason = disagreement(lag, named=bool(_CREATED & set(words(candidate.column)))) if lag else None
        if reason:
            rejected.append(f"'{candidate.column}': {reason}")
            continue
        rivals = [f"'{other.column}'" for other in candidates if other is not candidate]
        evidence = candidate.evidence + (f"; preferred to {', '.join(rivals)}" if rivals else "")
        evidence += f"; agrees with the first events of {lag.rows:,} rows" if lag else ""
        confidence = _confidence(candidate, candidates, bool(lag)) * (1.0 if data.rows(table) else 0.5)
        return TimeProposal(table.key, candidate.time, evidence, round(confidence, 2))
    return TimeProposal(table.key, None, "; ".join(rejected), 0.8) if rejected else None


def _confidence(candidate: _Candidate, candidates: list[_Candidate], confirmed: bool) -> float:
    close = any(other is not candidate and other.score > candidate.score - CLOSE for other in candidates)
    if candidate.doubtful:
        return SAFE if candidate.number else 0.6
    # If two events are equally likely, either is better than no time, with which every row would be visible always.
    confidence = 0.4 if candidate.later else 0.8 if close else 0.85
    return confidence + (0.1 if confirmed else 0.0)

"""Outcomes of using a damaged file."""

from __future__ import annotations

import math
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from relsql.cli.inspection import inspect, render_text
from relsql.errors import RelsqlError
from tests.damage.mutations import Case, card_cases, table_cases

CATALOG = "damaged"
TOLERANCE = 1e-6
STATUSES = {"ok", "no_history", "stale", "unknown_entity", "error"}
SCORES = (
    "SELECT customer_id, r.score, r.status, r.evidence FROM (SELECT customer_id, {} AS r FROM customers) ORDER BY ALL"
)

Rows = list[tuple[Any, ...]]


class WrongScoreError(AssertionError):
    """The scores differ from those of the undamaged file, and there is no error."""


@dataclass(slots=True)
class Report:
    """Counts of outcomes, and the cases that failed."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Corpus:
    """An undamaged file and its scores."""

    path: Path
    attached: Rows
    published: Rows
    job: Rows


def prepare(source: Path, folder: Path) -> Corpus:
    """Create a file with all kinds of rows from one with a trained model `churn`: a second version, plain SQL, a job.

    The file of an earlier call is reused.
    """
    import msgspec

    from relsql.database.connections import transaction
    from relsql.publishing.publish import publish
    from relsql.registry.models import active_card, read_artifacts, save_model
    from relsql.registry.promote import promote
    from relsql.registry.publications import published
    from relsql.registry.score_jobs import read_job
    from relsql.scoring.score_table import score_into
    from udfs.attach import attach

    path = Path(shutil.copy(source, folder / f"{CATALOG}.duckdb"))
    (folder / "job").mkdir()
    with duckdb.connect(str(path)) as con:
        if published(con, CATALOG, "churn") is None or read_job(con, CATALOG, "risk") is None:
            first = active_card(con, CATALOG, "churn")
            second = msgspec.structs.replace(first, version=2, stale_after_days=1.0)
            with transaction(con):
                save_model(con, CATALOG, second, read_artifacts(con, CATALOG, first), [], np.zeros((0, 1), np.float32))
            promote(con, "churn", 1)
            publish(con, "churn")
            score_into(con, "churn", "risk", changed_only=True)
        attach(con)
        attached = _scores(con, "predict_churn_full(customer_id)")
        job = con.execute("FROM risk ORDER BY ALL").fetchall()
    with duckdb.connect(str(path)) as con:
        plain = _scores(con, "predict_churn_full(customer_id)")
    return Corpus(path, attached, plain, job)


def all_cases(corpus: Corpus) -> list[Case]:
    """Every case, in a fixed order."""
    with duckdb.connect(str(corpus.path), read_only=True) as con:
        return [*table_cases(con), *card_cases(con)]


def run_cases(corpus: Corpus, cases: Iterable[Case]) -> Report:
    """Damage the file in each way, one after the other, and record the outcome."""
    report = Report()
    for case in cases:
        outcome, problem = _outcome(corpus, case)
        report.counts[outcome] += 1
        if problem:
            report.failures.append(f"{case.name}: {outcome}: {problem}")
    return report


def _outcome(corpus: Corpus, case: Case) -> tuple[str, str | None]:
    """The outcome of a case in one word, and the problem if it is not acceptable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _check(corpus, case), None
    except WrongScoreError as error:
        return "another score", str(error)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {str(error)[:300]}"


def _check(corpus: Corpus, case: Case) -> str:
    if case.table in ("score_jobs", "score_fingerprints"):
        return _check_job(corpus, case)
    with _damaged(corpus, case) as con:
        for read in (_inspected, _listed):
            _refused(read, con)
        if case.table in ("publications",) or case.table.startswith(("weights_", "texts_")):
            return _check_published(corpus, con)
        return _check_attached(corpus, con, forged=case.forged)


@contextmanager
def _damaged(corpus: Corpus, case: Case) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose open transaction has damaged the file."""
    from udfs import attach

    attach._SCORERS.clear()
    with duckdb.connect(str(corpus.path)) as con:
        con.execute("BEGIN")
        case.apply(con)
        try:
            yield con
        finally:
            con.execute("ROLLBACK")


def _check_attached(corpus: Corpus, con: duckdb.DuckDBPyConnection, *, forged: bool) -> str:
    from udfs.attach import attach

    found: Rows = []

    def score(con: duckdb.DuckDBPyConnection) -> None:
        macros = [name for name in attach(con) if name.endswith("_full")]
        if not macros:
            [(stored,)] = con.execute("SELECT count(*) FROM relsql.models").fetchall()
            if stored:
                raise WrongScoreError(f"{stored} stored versions, and no function")
            raise RelsqlError("no model is stored")
        found.extend(_scores(con, f"{macros[0]}(customer_id)"))

    if _refused(score, con):
        return "refused"
    if not forged:
        _require_same(found, corpus.attached)
        return "same score"
    for _, value, status, _ in found:
        if status not in STATUSES or (value is not None and not 0 <= value <= 1):
            raise WrongScoreError(f"{value} {status}")
    return "valid score"


def _check_published(corpus: Corpus, con: duckdb.DuckDBPyConnection) -> str:
    """Plain SQL cannot check itself, so the self-test has to notice every change to its scores."""
    from relsql.registry.models import active_card
    from relsql.registry.publications import check_publication, require_published

    def check(con: duckdb.DuckDBPyConnection) -> None:
        require_published(con, CATALOG, "churn")
        check_publication(con, CATALOG, active_card(con, CATALOG, "churn"))

    if _refused(check, con):
        return "refused"
    _require_same(_scores(con, "predict_churn_full(customer_id)"), corpus.published)
    return "same score"


def _check_job(corpus: Corpus, case: Case) -> str:
    """A job continues from the stored state in its own transactions, so it gets a copy of the file."""
    from relsql.scoring.score_table import score_into

    path = Path(shutil.copy(corpus.path, corpus.path.with_name("job") / f"{CATALOG}.duckdb"))
    with duckdb.connect(str(path)) as con:
        case.apply(con)
        if _refused(lambda con: score_into(con, "churn", "risk", changed_only=True), con):
            return "refused"
        found = con.execute("FROM risk ORDER BY ALL").fetchall()
    _require_same([(row[0], row[1], *row[2:]) for row in found], corpus.job)
    return "same score"


def _refused(action: Callable[[duckdb.DuckDBPyConnection], object], con: duckdb.DuckDBPyConnection) -> bool:
    """True if an action ends with one of our errors, on one line, also where DuckDB passes it on."""
    try:
        action(con)
    except RelsqlError as error:
        if "\n" in str(error):
            raise ValueError(f"several lines: {error}") from error
        return True
    except duckdb.InvalidInputException as error:
        if "relsql.errors" in str(error) or "ArtifactError" in str(error):
            return True
        raise
    return False


def _inspected(con: duckdb.DuckDBPyConnection) -> None:
    render_text(inspect(con, CATALOG))


def _listed(con: duckdb.DuckDBPyConnection) -> None:
    from relsql.cli.commands.versions import _cells
    from relsql.registry.models import find_damage, read_models

    models = read_models(con, CATALOG)
    for model in models:
        _cells(model)
    find_damage(con, CATALOG, models)


def _scores(con: duckdb.DuckDBPyConnection, call: str) -> Rows:
    return con.execute(SCORES.format(call)).fetchall()


def _require_same(found: Rows, expected: Rows) -> None:
    if len(found) != len(expected):
        raise WrongScoreError(f"{len(found)} rows instead of {len(expected)}")
    for one, other in zip(found, expected, strict=True):
        near = one[1] == other[1] or math.isclose(one[1] or math.nan, other[1] or math.nan, abs_tol=TOLERANCE)
        if not near or (one[0], *one[2:]) != (other[0], *other[2:]):
            raise WrongScoreError(f"{one} instead of {other}")

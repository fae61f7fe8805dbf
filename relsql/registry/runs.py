"""Phases of a training run: progress while it runs, and a record in `relsql.runs` whether it succeeds or fails."""

from __future__ import annotations

import datetime
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import msgspec

from relsql.database.connections import transaction
from relsql.database.interrupts import interrupted
from relsql.database.relsql_tables import ensure_table, has_relsql_table, rows_sql
from relsql.errors import RelsqlError
from relsql.schema.finding import Finding
from relsql.typing import PhaseProgress

PHASES = ("data", "check", "labels", "gather", "tokenizer", "encoder", "embed", "network", "export", "store")


@dataclass(frozen=True, slots=True)
class Phase:
    """One finished (or failed) phase."""

    name: str
    started: datetime.datetime
    seconds: float
    metrics: dict[str, float]
    error: str | None = None


@dataclass(slots=True)
class Run:
    """Phases of one training run, in memory until they are written."""

    model: str
    task: str
    progress: PhaseProgress | None = None
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    version: int | None = None
    phases: list[Phase] = field(default_factory=list)
    details: dict[str, dict[str, object]] = field(default_factory=dict)
    """By phase, what its record holds in addition to the metrics."""

    @contextmanager
    def phase(self, name: str) -> Iterator[dict[str, float]]:
        """Time a block as a phase; the block fills the dict that it gets with the phase's metrics."""
        assert name in PHASES, name
        metrics: dict[str, float] = {}
        started, clock = _now(), time.perf_counter()
        error_text: str | None = None
        try:
            self.report(name, 0.0, metrics)
            yield metrics
            self.report(name, 1.0, metrics)
        except BaseException as error:
            text = str(error) if isinstance(error, RelsqlError) else f"{type(error).__name__}: {error}"
            error_text = "interrupted" if interrupted(error) else text
            raise
        finally:
            self.phases.append(Phase(name, started, time.perf_counter() - clock, metrics, error_text))

    def report(self, name: str, fraction: float, metrics: dict[str, float]) -> None:
        """Report the progress of a phase to the caller."""
        if self.progress:
            self.progress(name, fraction, metrics)

    def seconds_by_phase(self) -> dict[str, float]:
        """Seconds of the phases so far."""
        return {phase.name: phase.seconds for phase in self.phases}

    def save(self, con: duckdb.DuckDBPyConnection, catalog: str) -> None:
        """Write all phases to `relsql.runs`. The caller owns the transaction."""
        table = ensure_table(con, catalog, "runs")
        for phase in self.phases:
            values = [self.run_id, self.model, self.version, self.task, phase.name, phase.started, phase.seconds]
            values += [json.dumps(phase.metrics | self.details.get(phase.name, {})), phase.error]
            con.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def save_failure(self, con: duckdb.DuckDBPyConnection, catalog: str) -> None:
        """Write the phases of a run that failed, if the database can still be written; never raises."""
        try:
            with transaction(con):
                self.save(con, catalog)
        except (duckdb.Error, RelsqlError):
            pass  # The error that ended the run matters more than its record.


def recorded_findings(con: duckdb.DuckDBPyConnection, catalog: str, model: str, version: int) -> tuple[Finding, ...]:
    """Doubts that training reported about a model version; empty if an earlier build made it."""
    if not has_relsql_table(con, catalog, "runs"):
        return ()
    query = f"""SELECT metrics FROM {rows_sql(con, catalog, "runs")}
                WHERE model = ? AND version = ? AND phase = 'gather' ORDER BY started DESC LIMIT 1"""
    for (text,) in con.execute(query, [model, version]).fetchall():
        try:
            return msgspec.json.decode(text or "{}", type=_Recorded).findings
        except (msgspec.MsgspecError, UnicodeError):
            return ()  # A damaged record; the model itself has digests.
    return ()


class _Recorded(msgspec.Struct):
    """What the record of a run's phase `gather` holds besides its metrics."""

    findings: tuple[Finding, ...] = ()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)

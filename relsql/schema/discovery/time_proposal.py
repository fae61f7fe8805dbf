"""The proposed time of a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeProposal:
    """A time; `column` is in a form of `relsql.schema.times.row_times`.

    `column` is None where a table has dates but none of them says when a row appears.
    """

    table: str
    column: str | None
    evidence: str
    confidence: float

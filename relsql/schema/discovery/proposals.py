"""Proposals for a database, with evidence and confidence, and the candidates that were refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from relsql.schema.discovery.shared_values import SharedValues
from relsql.schema.tables import Link

SURE = 0.8
"""Proposals with a lower confidence are stored only after the user has confirmed them."""


@dataclass(frozen=True, slots=True)
class KeyProposal:
    """A primary key; `confidence` is in (0, 1]."""

    table: str
    columns: tuple[str, ...]
    evidence: str
    confidence: float


@dataclass(frozen=True, slots=True)
class LinkProposal:
    """A link; its origin is `inferred`."""

    link: Link
    evidence: str
    confidence: float


@dataclass(frozen=True, slots=True)
class TimeProposal:
    """A time; `column` is in a form of `relsql.schema.times.row_times`.

    `column` is None where a table has dates but none of them says when a row appears.
    """

    table: str
    column: str | None
    evidence: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key, a link or a time that was considered and is not proposed.

    `columns` is empty for a time. `parent` is empty except for links whose parent is known. `fix` is a statement that
    would make the key, link or time possible, or empty.
    """

    kind: Literal["key", "link", "time"]
    table: str
    columns: tuple[str, ...]
    reason: str
    parent: str = ""
    fix: str = ""

    @classmethod
    def of_link(cls, link: Link, reason: str) -> Refusal:
        """A link that is not proposed."""
        parent = f"{link.parent}({', '.join(link.parent_columns)})"
        return cls("link", link.child, link.child_columns, reason, parent)

    def __str__(self) -> str:
        columns = f"{self.table}({', '.join(self.columns)})" if self.columns else self.table
        return f"{columns} -> {self.parent}" if self.parent else columns


@dataclass(frozen=True, slots=True)
class SchemaProposal:
    """Everything proposed for one database; remove what is wrong with `dataclasses.replace` before applying it.

    `entities` are hints, which `apply_proposal` does not store.
    """

    keys: tuple[KeyProposal, ...] = ()
    links: tuple[LinkProposal, ...] = ()
    times: tuple[TimeProposal, ...] = ()
    refused: tuple[Refusal, ...] = ()
    entities: tuple[SharedValues, ...] = ()

    def __len__(self) -> int:
        """The number of declarations that `apply_proposal` stores."""
        return len(self.keys) + len(self.links) + sum(time.column is not None for time in self.times)

    @property
    def every_refusal(self) -> tuple[Refusal, ...]:
        """All that was refused, with the tables whose dates are not the time at which rows appear."""
        untimed = (Refusal("time", each.table, (), each.evidence) for each in self.times if each.column is None)
        return (*self.refused, *untimed)

    def split(self) -> tuple[SchemaProposal, SchemaProposal]:
        """The proposals of confidence `SURE` or more, and those of less."""
        return self._where(lambda confidence: confidence >= SURE), self._where(lambda confidence: confidence < SURE)

    def _where(self, holds: Callable[[float], bool]) -> SchemaProposal:
        return replace(
            self,
            keys=tuple(key for key in self.keys if holds(key.confidence)),
            links=tuple(link for link in self.links if holds(link.confidence)),
            times=tuple(time for time in self.times if holds(time.confidence)),
        )

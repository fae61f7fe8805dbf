"""A finding: something about data, schema or labels that the user should know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the schema that the user should know; an `error` makes training impossible."""

    severity: Literal["error", "warning", "info"]
    object: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.object}: {self.message}"


def column_object(table: str, column: str) -> str:
    """The object of a finding about one column."""
    return f"{table}({column})"

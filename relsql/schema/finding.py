"""A finding: something about data, schema or labels that the user should know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

_END_OF_FACT = re.compile(r"[:;] ")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the schema that the user should know; an `error` makes training impossible.

    `inspected` is true if `relsql inspect` also reports it, because it is about the schema as a whole and not about one
    task.
    """

    severity: Literal["error", "warning", "info"]
    object: str
    message: str
    inspected: bool = field(default=False, compare=False)

    @property
    def short(self) -> str:
        """The fact alone: the message up to its first colon or semicolon, without reasons and remedies."""
        return f"{self.severity}: {self.object}: {_END_OF_FACT.split(self.message, maxsplit=1)[0]}"

    def __str__(self) -> str:
        return f"{self.severity}: {self.object}: {self.message}"


def column_object(table: str, column: str) -> str:
    """The object of a finding about one column."""
    return f"{table}({column})"

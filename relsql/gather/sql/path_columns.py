"""What is computed from the latest rows of each path: the interface of the gathered columns and of SQL networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from relsql.gather.paths import Path
from relsql.gather.sql.ranking import Ctes


def of_hubs(path: Path) -> str:
    """Name of the CTE with the gathered columns of each hub of a shared path."""
    return f"{path.name}__rows"


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest rows of each group along a path, as CTEs of the query.

    Attributes:
        rows: CTE of the rows: the group's columns, the moments, a struct `r` of the row's columns, and `rank`; empty
            if what is computed from the rows is given, see `LatestRows.given`.
        group: the columns that identify a group: a seed's number, or the columns of a hub and its moments.
        ranked: where a window ranks the rows of seeds, a CTE like `rows` with all visible rows; else empty.
        counted: for a shared path, and where rows are cut, the CTE with the group's columns and `counts`; else empty.
        ordered: where groups leave something out, the CTE of all rows as if nothing were left out; else empty.
        hub: for a shared path, the CTE with each seed's hub, and its columns that hold the hub's key; `group` starts
            with the same key.
    """

    rows: str
    group: tuple[str, ...]
    ranked: str = ""
    counted: str = ""
    ordered: str = ""
    hub: tuple[str, list[str]] | None = None


class PathColumns(Protocol):
    """What to compute from the rows of each path: columns for each seed, built by common table expressions."""

    def names(self, path: Path) -> list[str]:
        """Names of a path's columns."""

    def ctes_of(self, path: Path, latest: Latest) -> Ctes:
        """CTEs for a path; the last one has the path's name and holds its columns for every seed."""

    def single_ctes(self, path: Path, latest: str) -> Ctes:
        """The CTE `latest` with the one row of each seed, for a path that is not counted; empty if it is not needed."""

    def common_ctes(self, found: Mapping[str, Latest]) -> Ctes:
        """CTEs over the latest rows of several paths, `found` by path name; may be empty."""

    def needs_latest(self, path: Path) -> bool:
        """True if these columns need the last k rows of a seed in a separate CTE."""

    def needs_left(self, path: Path) -> bool:
        """True if these columns need the last k rows of each group that leaves something out, not only `ordered`."""

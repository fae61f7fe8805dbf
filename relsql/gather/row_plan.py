"""The plan of rows: what a model reads for a seed, independent of SQL.

A seed is an entity and a moment, as_of. From the entity, paths lead over links to rows; on each path the last visible
rows are read. A renderer turns the plan into a query: `relsql.gather.sql.latest_rows` for DuckDB. A renderer for
another engine would read the same plan (`docs/decisions/0021-rooms.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.schema.relations import emptied_sql
from relsql.schema.tables import Link, Schema, Table
from relsql.tasks.kinds.asked import FOR_ANY_MOMENT, Asked


@dataclass(frozen=True, slots=True)
class RowPlan:
    """The tables, paths and columns that a model reads.

    Attributes:
        schema: tables and links.
        paths: from the entity to rows; `paths[0]` is the entity itself.
        inputs: by table, the columns that the network reads.
        asked: what a seed is, and which columns of its own row are read as if they were empty.
        keyed: rows are read with the columns that tell them apart.
    """

    schema: Schema
    paths: tuple[Path, ...]
    inputs: Mapping[str, NodeInputs]
    asked: Asked = FOR_ANY_MOMENT
    keyed: bool = False

    @property
    def entity(self) -> Table:
        """The entity table."""
        return self.schema.table(self.paths[0].table)

    def table(self, key: str) -> Table:
        """A table by its key."""
        return self.schema.table(key)

    def tables(self) -> list[Table]:
        """All tables from which rows are read."""
        return [self.schema.table(key) for key in self.inputs]

    def relations(self, table: Table, relation: str) -> tuple[str, ...]:
        """The relations from which the row texts of a table are made.

        These are the given relation and, if columns of the text of the entity's own row are hidden, the same relation
        with these columns empty.
        """
        hidden = table.key == self.entity.key and {*self.inputs[table.key].text_columns} & {*self.asked.hidden}
        return (relation, emptied_sql(table, relation, self.asked.hidden)) if hidden else (relation,)

    def timed(self, path: Path) -> bool:
        """True if the rows of a path have a time."""
        return self.table(path.table).time_column is not None

    def has_text(self, path: Path) -> bool:
        """True if the path's rows, or rows that they point at, have text."""
        return any(self.inputs[key].text_columns for key in (path.table, *(link.parent for link in path.lookups)))

    def evidence_paths(self) -> tuple[Path, ...]:
        """The linked paths whose rows are a score's evidence: those whose rows have a time, or all if none has.

        A row without a time, such as a product's category, is a fact that holds at every moment. It does not say that
        anything has happened yet.
        """
        linked = self.paths[1:]
        return tuple(path for path in linked if self.timed(path)) or linked

    def has_text_keys(self) -> bool:
        """True if any primary key or foreign key contains text."""
        keys = {(key, column) for key, table in self.schema.tables.items() for column in table.primary_key}
        for link in self.schema.links:
            keys |= {(link.child, column) for column in link.child_columns}
            keys |= {(link.parent, column) for column in link.parent_columns}
        return any("VARCHAR" in self.table(key).column(column).type for key, column in keys)

    def start_columns(self) -> list[str]:
        """The entity's columns that paths start from, without its key."""
        found = {column for path in self.paths[1:] for column in _start_columns(path)}
        return sorted(found - set(self.entity.primary_key))

    def listed_columns(self, path: Path) -> tuple[str, ...]:
        """The columns to read of a path's rows; at least one."""
        table = self.table(path.table)
        names = [*self.inputs[path.table].columns, *(c for link in path.lookups for c in link.child_columns)]
        names += [table.time_column] if table.time_column else []
        names += row_key(table) if self.keyed else ()
        return tuple(dict.fromkeys(names or row_key(table)))

    def onward_columns(self, path: Path) -> tuple[str, ...]:
        """Columns of a children path's rows that lead on to grandchildren and hubs."""
        names: list[str] = []
        for other in self.paths:
            if path.kind == "children" and len(other.links) > 1 and other.links[0] == path.links[0]:
                names += other.links[1].child_columns if other.kind == "hub" else other.links[1].parent_columns
        return tuple(dict.fromkeys(names))

    def child_path(self, path: Path) -> str:
        """Name of the children path that a grandchildren or hub path walks through."""
        return next(p.name for p in self.paths if p.kind == "children" and p.links == path.links[:1])

    def paths_of_hub(self, path: Path) -> Iterator[Path]:
        """The paths that read rows of the same hub as a shared path, including the path itself."""
        return (other for other in self.paths if other.links[:-1] == path.links[:-1])

    def link_number(self, link: Link) -> int:
        """Position of a link in the schema; used in the names of CTEs."""
        return self.schema.links.index(link)


def keyless_view(table: Table) -> bool:
    """True if nothing tells two equal rows apart."""
    return table.is_view and not table.primary_key


def row_key(table: Table) -> tuple[str, ...]:
    """Columns that identify a row: the primary key; without one, the position in storage; in a view, all columns."""
    return table.primary_key or (table.stored_names if table.is_view else ("rowid",))


def _start_columns(path: Path) -> tuple[str, ...]:
    """Columns of the entity that a path starts from."""
    link = path.links[0]
    return link.child_columns if path.kind in ("parents", "siblings") else link.parent_columns

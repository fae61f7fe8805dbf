"""A schema on a page: its picture, its links and its columns."""

from __future__ import annotations

from dataclasses import replace

from relsql import html
from relsql.reports.page import Section
from relsql.schema.picture import Picture, schema_svg
from relsql.schema.tables import Schema, Table

MOST_TABLES = 24
"""With more tables, only those that the model reads are drawn."""

_CAPTION = "Tables and links. Lines go from a foreign key to the row that it points at, with a dot at that end."


def read_figure(picture: Picture) -> str:
    """The picture of a schema with what a model reads of it; the tables that it does not read may be left out."""
    read = picture.read or frozenset()
    others = len(picture.schema.tables.keys() - read)
    if len(picture.schema.tables) > MOST_TABLES:
        return _figure(
            replace(picture, schema=_only(picture.schema, read)), f"{_CAPTION} {others} others are not read."
        )
    return _figure(picture, f"{_CAPTION} Those with dashed borders are not read." if others else _CAPTION)


def schema_sections(picture: Picture) -> list[Section]:
    """The sections of a page about a schema."""
    tables = picture.schema.tables.values()
    return [
        Section("Tables and links", _figure(picture, _CAPTION)),
        Section("Columns", html.element("div", *map(_columns, tables), class_="grid")),
    ]


def _figure(picture: Picture, caption: str) -> str:
    drawn = html.element("div", schema_svg(picture), class_="drawn", tabindex=0)
    rows = [
        (link.child, ", ".join(link.child_columns), link.parent, ", ".join(link.parent_columns), link.origin)
        for link in picture.schema.links
    ]
    links = html.table("Links", ("from", "columns", "to", "key", "known by"), rows)
    return html.element("figure", drawn, html.element("figcaption", html.text(caption))) + (links if rows else "")


def _columns(table: Table) -> str:
    def use(name: str) -> str:
        return ", ".join(["key"] * (name in table.primary_key) + ["time"] * (name == table.time_column))

    rows = [(column.name, column.type, use(column.name)) for column in table.columns]
    return html.table(f"Columns of {table.key}", ("column", "type", "use"), rows)


def _only(schema: Schema, keys: frozenset[str]) -> Schema:
    kept = {key: table for key, table in schema.tables.items() if key in keys}
    return Schema(kept, tuple(link for link in schema.links if link.child in kept and link.parent in kept))

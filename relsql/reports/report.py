"""Write a report: one self-contained HTML file about a model or a schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from relsql.database.names import current_catalog
from relsql.hints import command, counted
from relsql.reports.page import Section, page, require_writable_page, write_page
from relsql.reports.tables import schema_sections
from relsql.schema.picture import Picture
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.version import __version__

if TYPE_CHECKING:
    from relsql.reports.material import ReportOptions


def report(
    con: duckdb.DuckDBPyConnection,
    model: str,
    path: str | Path,
    *,
    options: ReportOptions | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a report about a model: its question, data, metrics and a baseline, charts, explained scores, card.

    Args:
        con: a connection whose current database holds the model.
        model: its name, or a version of it, `dnf@2`.
        path: the HTML file to write.
        options: what to show.
        overwrite: replace an earlier report.

    Returns:
        The path.

    Raises:
        DatabaseError: the file exists and must not be replaced, or cannot be written. ModelError: unknown model.
        TaskError: the split has no labels, or the label query cannot be used. MissingExtraError: matplotlib or
            scikit-learn is not installed.
    """
    # Matplotlib and scikit-learn are needed for models only.
    from relsql.reports.charts import STYLE
    from relsql.reports.material import ReportOptions, gather_material
    from relsql.reports.sections import sections

    path, options = Path(path), options or ReportOptions()
    again = command("report", "FILE", model, "--output", path, "--overwrite")
    require_writable_page(path, again, overwrite=overwrite)
    material = gather_material(con, model, options)
    card = material.person_card
    lead = f"Version {card.version}, trained {card.created:%Y-%m-%d}, described by relsql {__version__}."
    parts = [Section(title, body) for title, body in sections(material)]
    write_page(path, page(f"Model {card.model}", lead, parts, style=STYLE), again, overwrite=overwrite)
    return path


def schema_report(
    con: duckdb.DuckDBPyConnection, path: str | Path, *, catalog: str | None = None, overwrite: bool = False
) -> Path:
    """Write a page with the tables and links of a database. It needs no optional package.

    Args:
        con: a connection to the database.
        path: the HTML file to write.
        catalog: the database; default: the current one.
        overwrite: replace an earlier report.

    Raises:
        DatabaseError: the file exists and must not be replaced, or cannot be written.
    """
    path, catalog = Path(path), catalog or current_catalog(con)
    again = command("report", "FILE", "--schema", "--output", path, "--overwrite")
    require_writable_page(path, again, overwrite=overwrite)
    schema = read_schema(con, catalog)
    rows = {}
    for key, table in schema.tables.items():
        [(rows[key],)] = con.execute(f"SELECT system.main.count_star() FROM {relation_sql(table, catalog)}").fetchall()
    lead = f"{counted(len(schema.tables), 'table')}, {counted(len(schema.links), 'link')}."
    content = page(f"Schema of {catalog}", lead, schema_sections(Picture(schema, rows=rows)))
    write_page(path, content, again, overwrite=overwrite)
    return path

"""Labels on a database that ends with their windows: rows after as_of + horizon must not change a label.

A label is about what happened in its window, even if it became known later. So the time of the event counts here, not
the time at which a row became known.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.cursors import task_cursor
from relsql.evaluation.leaks.answers import Arrays, Difference, compare
from relsql.evaluation.leaks.subject import Moment, Subject
from relsql.schema.tables import Schema
from relsql.schema.times.row_times import as_happened
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import label_entities, labels_at
from relsql.tasks.split_choice import tables_read

_END_OF_TIME = datetime.datetime.max
"""The end of data that are not cut. Rows without a time are left out on both sides, as they have no moment."""


def labels_of(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    subject: Subject,
    moments: Sequence[datetime.datetime],
    limits: LabelLimits,
) -> pa.Table:
    """The labels at all moments, with all rows present."""
    return _labels(con, catalog, subject, as_happened(subject.database), moments, _END_OF_TIME, limits)


def label_differences(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    subject: Subject,
    moments: Sequence[Moment],
    labels: pa.Table,
    limits: LabelLimits,
) -> dict[str, Difference]:
    """Which labels change when the rows after their window are deleted, by table.

    The later rows of all tables are deleted at once. Only if a label changes, each table is tried by itself; a label
    that changes only through several tables together counts for `*`.
    """
    with task_cursor(con, catalog) as cursor:
        read = tables_read(cursor, subject.database, subject.task)
    present, happened = _by_entity(labels), as_happened(subject.database)

    def difference(schema: Schema) -> Difference:
        found: dict[object, Arrays] = {}
        for each in moments:
            cut = _labels(con, catalog, subject, schema, [each.as_of], each.window_end, limits)
            found |= _by_entity(cut)
        return compare(present, found)

    together = difference(happened)
    if not together.changed:
        return dict.fromkeys((table.key for table in read.timed_tables), together)
    single = {table.key: difference(_timed_only(happened, table.key)) for table in happened.timed_tables}
    named = {table.key for table in read.timed_tables}
    changed = {key: found for key, found in single.items() if found.changed or key in named}
    return changed if any(found.changed for found in changed.values()) else {"*": together, **changed}


def _labels(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    subject: Subject,
    schema: Schema,
    moments: Sequence[datetime.datetime],
    end: datetime.datetime,
    limits: LabelLimits,
) -> pa.Table:
    return labels_at(con, catalog, schema, subject.task, moments, end=end, entities_until=None, limits=limits)


def _timed_only(schema: Schema, key: str) -> Schema:
    """The schema in which only one table has a time, so that only its rows are cut."""
    tables = {
        table.key: table if table.key == key else replace(table, time_column=None, row_time=None)
        for table in schema.tables.values()
    }
    return replace(schema, tables=tables)


def _by_entity(labels: pa.Table) -> dict[object, Arrays]:
    keys = zip(labels.column("as_of").to_pylist(), label_entities(labels), strict=True)
    return {key: (_comparable(label),) for key, label in zip(keys, labels.column("label").to_pylist(), strict=True)}


def _comparable(label: object) -> npt.NDArray[np.generic]:
    """A label as an array: a number, or the bytes of the text of a class or of a list."""
    if isinstance(label, (str, list)):
        return np.frombuffer(str(label).encode(), dtype=np.uint8)
    return np.array([label], np.float64)

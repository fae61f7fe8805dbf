"""Draw the labels that training uses from those of a split: a bounded number, chosen inside the database.

The latest labels are most like the future that is predicted. One timestamp alone would teach a model its own season,
so the labels come from several. Where a timestamp has more labels than its part, entities are drawn by a hash: without
regard to their keys, and the same ones in every run.
"""

from __future__ import annotations

import duckdb

from relsql.database.cursors import one_row

MAX_TRAIN_LABELS = 60_000
"""Training labels. More of them hardly improve a model, and each needs the rows of its seed in memory."""

MAX_VALIDATION_LABELS = 30_000
"""Validation labels. The standard error of a ROC-AUC is then about .003, below the differences that matter."""

FEWEST_TIMESTAMPS = 8
"""As long as there are labels at that many timestamps, no timestamp has a larger part than 1/8 of them."""


def drawn_labels_sql(cursor: duckdb.DuckDBPyConnection, labels: str, at_most: int) -> str:
    """A query for the labels that are drawn from a relation (entity, as_of, label).

    Labels that are NULL are left out. If there are at most `at_most`, all others are returned; otherwise about
    `at_most`, because entities are drawn one by one.

    Args:
        cursor: the connection that has the relation.
        labels: the name of the relation.
        at_most: number of labels to draw.
    """
    known = f"SELECT * FROM {labels} WHERE label IS NOT NULL"
    counts = f"SELECT as_of, count(*) AS n FROM ({known}) GROUP BY as_of"
    total, timestamps = one_row(cursor, f"SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM ({counts})")
    if total <= at_most:
        return known
    part = -(-at_most // min(timestamps, FEWEST_TIMESTAMPS))
    while one_row(cursor, f"SELECT sum(least(n, {part})) < {at_most} FROM ({counts})")[0]:
        part *= 2
    return f"""
        WITH counted AS ({counts}),
        -- The part of each timestamp, and how many labels the later ones have taken already.
        parts AS (
            SELECT as_of, n, least(n, {part}) AS part,
                sum(least(n, {part})) OVER (ORDER BY as_of DESC NULLS LAST) - least(n, {part}) AS taken
            FROM counted
        ),
        -- The last timestamp that has room left takes what is left.
        shares AS (
            SELECT as_of, least(part, {at_most} - taken)::DOUBLE / n AS share FROM parts WHERE taken < {at_most}
        )
        SELECT l.* FROM ({known}) l JOIN shares ON l.as_of IS NOT DISTINCT FROM shares.as_of
        WHERE hash(l.entity, l.as_of) % 1_000_000 < 1e6 * shares.share"""

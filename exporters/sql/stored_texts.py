"""The contribution of texts to rows, in plain SQL: looked up in the table that `exporters.sql.texts` fills."""

from __future__ import annotations

from relsql.schema.tables import Table
from relsql.sql_text import Cte, literal


def with_stored_texts(stored: str, table: Table, read: str, texts: str) -> tuple[Cte, str]:
    """The CTE `texts` of text states, and the rows of `read` joined with it; `pending` is 1 for a row without.

    Args:
        stored: the relation with the contributions of texts, in SQL, see `exporters.sql.network.SqlNetwork`.
        table: the table of the rows.
        read: the CTE of the rows, with a column text_hash.
        texts: the name of the new CTE. Texts that are not stored are left out of it.
    """
    query = (
        f"SELECT text_hash, texts.text_state\n"
        f"FROM (SELECT DISTINCT text_hash FROM {read})\n"
        f"JOIN {stored} texts USING (text_hash)\n"
        f"WHERE texts.place = {literal(table.key)}"
    )
    return Cte(texts, query, "The stored part of the state, which comes from texts."), (
        f"(\n    SELECT x.*, t.text_state, CAST(t.text_state IS NULL AS INTEGER) AS pending\n"
        f"    FROM {read} x\n    LEFT JOIN {texts} t USING (text_hash)\n)"
    )

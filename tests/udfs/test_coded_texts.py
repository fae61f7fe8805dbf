"""A row whose category codes determine its text has the same score as with the text itself."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

import relsql
from relsql.gather.arrays.blocks import Block
from relsql.gather.layout import BlockLayout, Segment
from relsql.gather.node_inputs import MAX_CODED_TEXTS, CategoryInput, NodeInputs
from relsql.gather.sql.query import TEXT_OF_CODES
from relsql.registry.models import active_card
from relsql.schema.tables import Column, Schema, Table
from relsql.text.row_text_sql import row_text, row_text_sql
from relsql.text.text_table import TextTable
from udfs import macros
from udfs.coded_texts import CodedTexts

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
TABLE = Table('o"dd <t>', (Column("a <b>", "VARCHAR"), Column("c'", "VARCHAR"), Column("n", "DOUBLE")))
INPUTS = NodeInputs(
    TABLE.name,
    (),
    (
        CategoryInput("c'", ("x", "<y>")),
        CategoryInput("not text", ("p",)),
        CategoryInput("a <b>", ("u", "v", "w" * 200)),
    ),
    ("a <b>", "c'"),
)


@hypothesis.given(VALUES, VALUES)
def test_the_text_of_values_is_that_of_sql(first: str, second: str) -> None:
    with duckdb.connect() as con:
        con.execute("""CREATE TABLE t AS SELECT ? AS "a <b>", ? AS "c'" """, [first, second])
        expression = row_text_sql(TABLE, ("a <b>", "c'"), "t")
        [(found,)] = con.execute(f"SELECT {expression} FROM t").fetchall()
    assert row_text(TABLE, ("a <b>", "c'"), (first, second)) == found


def test_codes_determine_a_text_that_consists_of_categories() -> None:
    assert INPUTS.text_codes == (2, 0)
    assert NodeInputs("t", (), INPUTS.categories, ("a <b>", "free text")).text_codes == ()
    assert NodeInputs("t", (), (), ()).text_codes == ()
    many = tuple(CategoryInput(name, tuple(map(str, range(64)))) for name in "abc")
    assert len(NodeInputs("t", (), many, ("a", "b")).text_codes) == 2
    assert MAX_CODED_TEXTS < 64**3
    assert NodeInputs("t", (), many, ("a", "b", "c")).text_codes == ()


def test_texts_of_codes() -> None:
    texts = TextTable(2)
    layout = BlockLayout("p", 4, (Segment(INPUTS), Segment(NodeInputs("free", (), (), ("words",)))))
    coded = CodedTexts(Schema({TABLE.key: TABLE, "free": Table("free", ())}), [INPUTS], texts)
    known = int(texts.ids(duckdb.sql("SELECT 'a text'").to_arrow_table().column(0))[0].as_py())
    categories = np.array([[1, 0, 1], [2, 1, 3], [0, 1, 2], [1, 1, 1]])
    given = np.array([[TEXT_OF_CODES, 0], [TEXT_OF_CODES, known], [known, 0], [TEXT_OF_CODES, 0]])
    numbers = np.ones((4, 2), dtype=np.float32)
    block = Block(numbers, categories, given, np.arange(4), np.array([4]), np.zeros((1, 0), dtype=np.float32))
    found = coded.resolve(block, layout).texts
    assert (given[[0, 1, 3], 0] == TEXT_OF_CODES).all()
    assert found[:, 1].tolist() == [0, known, 0, 0]
    assert found[2, 0] == known
    assert found[3, 0] == found[0, 0]
    assert [texts.texts[i - 1] for i in found[:2, 0]] == [
        row_text(TABLE, ("a <b>", "c'"), ("u", "x")),
        row_text(TABLE, ("a <b>", "c'"), ("w" * 200, "<y>")),
    ]
    assert coded.resolve(coded.resolve(block, layout), layout).texts is not given


def test_scores_do_not_depend_on_how_the_text_is_found(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = "SELECT customer_id, predict_churn(customer_id) FROM customers ORDER BY ALL"
    batch = "FROM predict_churn_batch() ORDER BY ALL"
    with relsql.connect(shop) as con:
        card = active_card(con, "shop", "churn")
        assert [key for key, inputs in card.inputs.items() if inputs.text_codes]
        con.execute("""UPDATE orders SET note = 'never seen' WHERE order_id % 7 = 0;
                       UPDATE orders SET note = NULL WHERE order_id % 5 = 0""")
        told = con.execute(scores).fetchall(), con.execute(batch).fetchall()
        monkeypatch.setattr(NodeInputs, "text_codes", ())
        assert f"THEN {TEXT_OF_CODES}" not in macros.batch_sql(card, "shop")
        relsql.attach(con)
        for query, expected in zip((scores, batch), told, strict=True):
            for found, row in zip(con.execute(query).fetchall(), expected, strict=True):
                # onnxruntime's last bit depends on where a seed stands among those that are scored together.
                assert found == (row[0], pytest.approx(row[1], abs=1e-6), *row[2:])

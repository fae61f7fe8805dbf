"""Which texts are statements about models, and what they say."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relsql.errors import TaskError
from relsql.sql_text import ident, literal
from relsql.statements.parse import is_ours, parse_statement
from relsql.statements.syntax import CreateModel, DescribeModel, DropModel, Predict, ShowModels, Statement, Value

LINE = "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id"


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("SHOW MODELS", ShowModels()),
        ("show\nmodels ;", ShowModels()),
        ("DESCRIBE MODEL churn", DescribeModel("churn")),
        ('describe model "churn" @ best;', DescribeModel("churn@best")),
        ("DROP MODEL churn@2", DropModel("churn@2")),
        ("DROP MODEL IF EXISTS churn", DropModel("churn", if_exists=True)),
        (LINE, Predict(LINE)),
        (f"-- who leaves?\n{LINE};", Predict(LINE)),
        (f"{LINE} WITH (seed = 1)", Predict(LINE, {"seed": 1})),
        (f"CREATE MODEL churn AS {LINE};", CreateModel("churn", LINE)),
        (f"CREATE OR REPLACE MODEL churn AS {LINE}", CreateModel("churn", LINE, replace=True)),
        (f"CREATE MODEL IF NOT EXISTS churn AS {LINE}", CreateModel("churn", LINE, if_missing=True)),
    ],
)
def test_statements(text: str, statement: Statement) -> None:
    assert is_ours(text) and parse_statement(text) == statement


@pytest.mark.parametrize(
    "text",
    [
        "SHOW TABLES",
        'SHOW "models"',
        "DESCRIBE models",
        "DROP TABLE model",
        "CREATE TABLE model (predict INTEGER)",
        "CREATE OR REPLACE TABLE models AS SELECT 1",
        "SELECT predict_churn(1)",
        "WITH predict AS (SELECT 1) FROM predict",
        "FROM t SELECT {a: [1, 2]}",
        "'unclosed",
        "",
    ],
)
def test_other_statements_are_left_to_duckdb(text: str) -> None:
    assert not is_ours(text) and parse_statement(text) is None


@pytest.mark.parametrize(
    "text", ["SHOW MODELS x", "DESCRIBE MODEL x", "DROP MODEL x", LINE, f"CREATE MODEL x AS {LINE}"]
)
def test_duckdb_has_no_statement_that_begins_like_ours(text: str) -> None:
    with duckdb.connect() as con, pytest.raises(duckdb.ParserException):
        con.execute(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SHOW MODELS now", "1 word too many, from 'now', at character 13"),
        ("DROP MODEL", "the name of a model is missing, at character 11 .*DROP MODEL .IF EXISTS. name"),
        ("DROP MODEL churn@", "the version is missing.*churn@best"),
        ("CREATE MODEL churn", "AS is missing.*Expected: CREATE .OR REPLACE. MODEL"),
        ("CREATE MODEL churn AS SELECT 1", "PREDICT is missing, at character 23"),
        (f"CREATE OR REPLACE MODEL IF NOT EXISTS churn AS {LINE}", "exclude each other"),
        ("CREATE MODEL churn AS PREDICT COUNT(orders.*, 0, 30, days)", "the line ends too early.*FOR EACH"),
        (f"CREATE MODEL churn AS {LINE} WITH (seed 1)", "= is missing"),
        (f"CREATE MODEL churn AS {LINE} WITH (seed = )", "'.' is not a value.*a text in single quotes"),
        (f"CREATE MODEL churn AS {LINE} WITH (seed = -'1')", "is not a value"),
        (f"CREATE MODEL churn AS {LINE} WITH (seed = {'9' * 400})", "is not a value"),
        (f"CREATE MODEL churn AS {LINE} WITH ()", "the name of an option is missing"),
        (f"CREATE MODEL churn AS {LINE} WITH (seed = 1, SEED = 2)", "option seed is given twice"),
        (f"CREATE MODEL churn AS {LINE} WITH (seed = 1) LIMIT 3", "2 words too many, from 'LIMIT'"),
    ],
)
def test_errors_point_at_the_place_and_say_what_can_stand_there(text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        parse_statement(text)
    assert "Fix: " in str(caught.value)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8"), max_size=9),
        max_size=4,
    ),
)
def test_what_is_written_is_read(name: str, options: dict[str, Value]) -> None:
    listed = ", ".join(f"{ident(option)} = {_written(value)}" for option, value in options.items())
    text = f"CREATE MODEL {ident(name)} AS {LINE}" + (f" WITH ({listed})" if options else "")
    assert parse_statement(text) == CreateModel(name, LINE, options)


def _written(value: Value) -> str:
    return str(value).upper() if isinstance(value, bool) else "NULL" if value is None else literal(value)

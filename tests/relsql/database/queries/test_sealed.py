"""What generated SQL means does not depend on the user's macros, views and settings."""

from __future__ import annotations

import datetime
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from exporters.sql.model import SqlModel
from exporters.sql.weights import logarithmic_columns, weights_table
from exporters.torch_modules import load_modules
from relsql.database.names import current_catalog
from relsql.database.queries.sealed import function_names, parser, sealed, sealed_expression
from relsql.database.queries.syntax_tree import NotOneSelectError, parse, write
from relsql.gather.arrays.labelled_seeds import gather_seeds
from relsql.gather.layout import layouts_of
from relsql.gather.node_inputs import fit_node_inputs
from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.gather.sql.row_texts import row_text_queries
from relsql.gather.sql.seeds import all_seeds_sql
from relsql.publishing.publish import publish
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card, read_artifacts
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Table
from relsql.scoring.refresh import refresh
from relsql.scoring.score_table import score_into
from relsql.sql_text import ident
from tests.shop import CUSTOMERS
from udfs.attach import attach
from udfs.macros import batch_sql, fingerprint_sql, scalar_sql

MOMENT = "TIMESTAMP '2022-10-01'"
FIXTURES = Path(__file__).parents[3] / "fixtures" / "sealed"

# The text of sealed queries.


def test_every_function_and_operator_is_named_in_full() -> None:
    query = """SELECT list({a: a + 1}) FILTER (WHERE b LIKE 'x%'), count(*), [1][1], -max(a),
                      first(a ORDER BY b) FROM t, range(3) GROUP BY c ORDER BY 1"""
    found = sealed(query)
    assert function_names(found) >= {"list", "struct_pack", "+", "~~", "count_star", "list_value", "-", "max", "range"}
    for name in function_names(found):
        assert f'"system".main.{name}(' in found or f'"system".main."{name}"(' in found, name


def test_windows_and_lambdas_are_named_in_full() -> None:
    query = """SELECT row_number() OVER (PARTITION BY a ORDER BY b DESC), sum(a) OVER (ORDER BY b),
                      list_transform(c, lambda v: abs(v) + 1) FROM (SELECT 1 AS a, 2 AS b, [3] AS c)"""
    found = sealed(query)
    assert found.count('"system".main.') == len(["row_number", "sum", "list_transform", "abs", "+", "list_value"])
    assert duckdb.execute(found).fetchall() == [(1, 1, [4])]


def test_every_order_has_a_direction() -> None:
    query = (
        "SELECT list(a ORDER BY b), rank() OVER (ORDER BY b DESC NULLS FIRST, a DESC) FROM t GROUP BY ALL ORDER BY 1"
    )
    found = sealed(query)
    assert found.count("ASC NULLS LAST") == 2
    assert "b DESC NULLS FIRST, a DESC NULLS LAST" in found


def test_expressions_are_sealed_as_bodies_of_macros() -> None:
    assert sealed_expression("a || b") == '"system".main."||"(a, b)'


@pytest.mark.parametrize("text", ["INSERT INTO t VALUES (1)", "SELECT 1; SELECT 2 FROM", "SELEC 1"])
def test_only_a_query_can_be_sealed(text: str) -> None:
    with pytest.raises(NotOneSelectError):
        sealed(text)


# Scores under macros and settings of a user.


@contextmanager
def opened(path: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a copy of the published shop."""
    copy = Path(shutil.copy(path, tmp_path / "copy.duckdb"))
    with duckdb.connect(str(copy)) as con:
        yield con
    copy.unlink()


def generated_queries(con: duckdb.DuckDBPyConnection) -> list[str]:
    """All queries that score, or that scores are trained on."""
    catalog = current_catalog(con)
    card = active_card(con, catalog, "churn")
    weights = weights_table(*load_modules(card, read_artifacts(con, catalog, card)), card.classes)
    model = SqlModel(card, "relsql", logarithmic_columns(weights))
    gather = replace(card.gather(catalog), message_functions={}).for_seeds("moments")
    return [
        batch_sql(card, catalog, moment=MOMENT),
        f"SELECT {scalar_sql(card, catalog)}",
        fingerprint_sql(card, catalog, moment=MOMENT, where="true"),
        gather.query(all_seeds_sql(card.entity, gather.rows, MOMENT)),
        model.batch_sql(),
        f"SELECT {model.call_sql()}",
        *(query for _, query in model.views()),
        *row_text_queries(catalog, card.rows),
    ]


def all_scores(con: duckdb.DuckDBPyConnection) -> list[object]:
    """Scores one by one, by many calls and by a batch, rounding included."""
    calls = f"SELECT customer_id, predict_churn_full(customer_id, as_of := {MOMENT}) FROM customers"
    batch = f"FROM predict_churn_batch(as_of := {MOMENT})"
    single = con.execute("SELECT predict_churn(17)").fetchall()
    return [single, sorted(con.execute(calls).fetchall(), key=str), sorted(con.execute(batch).fetchall(), key=str)]


def gathered(con: duckdb.DuckDBPyConnection, card: ModelCard, days: int) -> list[bytes]:
    """The rows that training reads for some customers on each of several days."""
    seeds = [(i, datetime.datetime(2022, 1, 1 + day)) for i in range(0, CUSTOMERS, 7) for day in range(days)]
    labels = pa.table(
        {
            "entity": pa.array([entity for entity, _ in seeds], pa.int64()),
            "as_of": pa.array([as_of for _, as_of in seeds], pa.timestamp("us")),
            "label": pa.array([0] * len(seeds)),
        }
    )
    gather = replace(card.gather("copy"), message_functions={}, coded_texts=False)
    blocks = gather_seeds(con, gather, layouts_of(card.paths, card.inputs), labels).blocks
    return [np.concatenate([b.numbers.ravel(), b.slot, b.counts, b.totals.ravel()]).tobytes() for b in blocks]


@dataclass(frozen=True)
class Results:
    """Scores of the published SQL and of the attached functions, and the rows that training reads."""

    in_sql: list[object]
    attached: list[object]
    rows: list[list[bytes]]


@pytest.fixture(scope="module")
def undisturbed(published_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What a session without macros and settings of a user finds."""
    with opened(published_shop, tmp_path_factory.mktemp("undisturbed")) as con:
        in_sql, card = all_scores(con), active_card(con, "copy", "churn")
        attach(con)
        return Results(in_sql, all_scores(con), [gathered(con, card, 1), gathered(con, card, 9)])


def hostile_macros(con: duckdb.DuckDBPyConnection) -> list[str]:
    """For each function that generated SQL calls, macros of the same name that take any number of arguments up to six.

    Two names are left out: DuckDB calls them to read parts of lists and structs, so a macro of that name is an error in
    the queries of the tests too. They have a test of their own.
    """
    names = set[str]().union(*map(function_names, generated_queries(con))) - {"array_extract", "struct_extract"}
    forms = [", ".join("abcdef"[:count]) for count in range(7)]
    return [f"CREATE MACRO {ident(name)} {', '.join(f'({form}) AS NULL' for form in forms)}" for name in sorted(names)]


def test_macros_of_a_user_do_not_change_scores(published_shop: Path, tmp_path: Path) -> None:
    with opened(published_shop, tmp_path) as con:
        in_sql, card = all_scores(con), active_card(con, "copy", "churn")
        attach(con)
        attached, rows = all_scores(con), [gathered(con, card, 1), gathered(con, card, 9)]
        schema = read_schema(con)
        macros = hostile_macros(con)
        assert len(macros) > 30
        for statement in macros:
            con.execute(statement)
        assert con.execute("SELECT 3 - x, replace('a', 'b', 'c') FROM (SELECT 1 AS x)").fetchall() == [(None, None)]
        assert all_scores(con) == attached
        assert [gathered(con, card, 1), gathered(con, card, 9)] == rows
        # Functions that read and write the registry also work with these macros.
        assert read_schema(con) == schema
        attach(con)
        refresh(con, "churn")
        publish(con, "churn")
        score_into(con, "churn", "risk", as_of=datetime.datetime(2022, 10, 1), changed_only=True)
        assert sorted(con.execute("FROM risk").fetchall(), key=str) == attached[2]
    with opened(published_shop, tmp_path) as con:
        for statement in macros:
            con.execute(statement)
        assert all_scores(con) == in_sql


def test_macros_of_the_functions_behind_accesses_do_not_change_scores(published_shop: Path, tmp_path: Path) -> None:
    """`l[1]`, `l[1:2]`, `r.field` and `(a, b)` call functions by their bare names."""
    with opened(published_shop, tmp_path) as con:
        in_sql = all_scores(con)
        attach(con)
        attached = all_scores(con)
    for attaches, expected in ((True, attached), (False, in_sql)):
        with opened(published_shop, tmp_path) as con:
            for name in ("array_extract", "array_slice", "struct_extract", "row"):
                con.execute(f"CREATE MACRO {ident(name)}(a) AS NULL, (a, b) AS NULL, (a, b, c) AS NULL")
            with pytest.raises(duckdb.Error):
                con.execute("SELECT ([1])[1]").fetchall()
            if attaches:
                attach(con)
            assert all_scores(con) == expected


SETTINGS = {
    "orders and zones": (
        *("default_order = 'DESC'", "default_null_order = 'nulls_first'", "TimeZone = 'America/New_York'"),
        *("preserve_insertion_order = false", "threads = 4", "default_collation = 'NOCASE'"),
    ),
    "numbers and names": (
        *("integer_division = true", "ieee_floating_point_ops = false", "old_implicit_casting = true"),
        *("preserve_identifier_case = false", "scalar_subquery_error_on_multiple_rows = false"),
        *("search_path = 'copy.main,copy.relsql'", "lambda_syntax = 'DISABLE_SINGLE_ARROW'", "threads = 1"),
    ),
    "Arrow and Python": (
        *("arrow_large_buffer_size = true", "arrow_output_list_view = true", "arrow_lossless_conversion = true"),
        *("produce_arrow_string_view = true", "python_enable_replacements = false", "errors_as_json = true"),
    ),
    "no optimizer": ("enable_optimizer = false",),
}
"""Settings that are made together, since each session takes seconds."""


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_settings_of_a_session_do_not_change_scores(
    published_shop: Path, undisturbed: Results, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    with opened(published_shop, tmp_path) as con:
        card = active_card(con, "copy", "churn")
        for setting in settings:
            con.execute(f"SET {setting}")
        assert all_scores(con) == undisturbed.in_sql
        attach(con)
        assert all_scores(con) == undisturbed.attached
        assert [gathered(con, card, 1), gathered(con, card, 9)] == undisturbed.rows


def test_a_collation_that_mixes_up_text_keys_is_an_error(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""
        CREATE TABLE people (name VARCHAR PRIMARY KEY);
        CREATE TABLE visits (id INTEGER PRIMARY KEY, name VARCHAR REFERENCES people (name), day TIMESTAMP);
        INSERT INTO people VALUES ('a'), ('A');
        INSERT INTO visits VALUES (1, 'a', '2022-01-01'), (2, 'A', '2022-01-02'), (3, 'A', '2022-01-03');
        """)
    catalog = current_catalog(con)
    schema = read_schema(con)
    until = datetime.datetime(2022, 6, 1)
    paths = plan_paths(con, catalog, schema, "people")
    inputs = {key: fit_node_inputs(con, catalog, schema, key, until=until) for key in schema.tables}
    gather = Gather(LatestRows(RowPlan(schema, paths, inputs), catalog), "hash")
    query = sealed(gather.query(all_seeds_sql(schema.table("people"), gather.rows, MOMENT), "_entity, len(visits)"))
    assert sorted(con.execute(query).fetchall()) == [("A", 2), ("a", 1)]
    con.execute("SET default_collation = 'NOCASE'")
    with pytest.raises(duckdb.Error, match="SET default_collation = ''"):
        con.execute(query).fetchall()


# ARRAY columns.


def test_arrays_are_read_as_text_and_not_captured_by_macro_arguments() -> None:
    table = Table("t", (Column("id", "INTEGER[3]"), Column("b", "STRUCT(x FLOAT[2])"), Column("c", "INTEGER[]")))
    assert relation_sql(table, "d", arrays_as_text=True) != table.sql("d") == relation_sql(table, "d")
    assert relation_sql(replace(table, columns=table.columns[2:]), "d", arrays_as_text=True) == table.sql("d")
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t AS SELECT [1, 2, 3]::INTEGER[3] AS id, {x: [1, 2]::FLOAT[2]} AS b, [1] AS c")
        relation = relation_sql(table, arrays_as_text=True)
        con.execute(f"CREATE MACRO m(id) AS (SELECT {{id: t.id, b: t.b, c: t.c}} FROM {relation} t)")
        [(row,)] = con.execute("SELECT m(7)").fetchall()
    assert row == {"id": "[1, 2, 3]", "b": "{'x': [1.0, 2.0]}", "c": [1]}


def test_threads_that_parse_at_the_same_time_do_not_disturb_each_other() -> None:
    together = threading.Barrier(8)

    def work(number: int) -> list[str]:
        together.wait()
        return [write(parser(), parse(parser(), f"SELECT {number} + {i}")) for i in range(300)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert found == [[f"SELECT ({number} + {i})" for i in range(300)] for number in range(8)]

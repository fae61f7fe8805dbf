"""A published model in DuckDB's command line: without Python and extensions, in an older release of DuckDB."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

import relsql
from relsql.publishing.database_copy import copy_database
from tests.shop import CUSTOMERS

DUCKDB = Path(sys.executable).with_name("duckdb")
RISKS = "SELECT customer_id, predict_churn(customer_id) AS risk FROM customers ORDER BY customer_id"


@pytest.fixture(scope="module")
def file(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with its model published, readable by DuckDB 1.5."""
    path = tmp_path_factory.mktemp("plain") / "shop.duckdb"
    copy_database(shop_with_model, path, "v1.5.0")
    with relsql.connect(path) as con:
        relsql.publish(con, "churn")
    return path


@pytest.fixture(scope="module")
def expected(file: Path) -> dict[int, float]:
    """Scores by onnxruntime."""
    with relsql.connect(file, read_only=True) as con:
        return dict(con.execute(RISKS).fetchall())


def duckdb(*arguments: str | Path, script: str = "") -> str:
    """Run the command line and return its output; fail if it fails."""
    done = subprocess.run([DUCKDB, *arguments], input=script, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def scores(output: str) -> dict[int, float]:
    """Scores printed as CSV with a header."""
    return {int(row["customer_id"]): float(row["risk"]) for row in csv.DictReader(io.StringIO(output))}


def test_scores_are_those_of_onnx(file: Path, expected: dict[int, float]) -> None:
    found = scores(duckdb("-readonly", "-csv", file, "-c", RISKS))
    assert len(found) == CUSTOMERS and found == pytest.approx(expected, abs=1e-5)


def test_batch_into_a_file_through_a_script(file: Path, expected: dict[int, float], tmp_path: Path) -> None:
    script, target = tmp_path / "score.sql", tmp_path / "scores.csv"
    query = "SELECT customer_id, score AS risk FROM predict_churn_batch()"
    script.write_text(f"COPY ({query}) TO '{target}' (HEADER);\n")
    duckdb("-readonly", file, script=f".read {script}\n")
    assert scores(target.read_text()) == pytest.approx(expected, abs=1e-5)


def test_prepared_statements_views_and_earlier_moments(file: Path, expected: dict[int, float], tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(file.read_bytes())
    output = duckdb(
        "-csv",
        copy,
        script=f"""
            CREATE VIEW risks AS {RISKS};
            PREPARE risk AS SELECT $1::BIGINT AS customer_id, predict_churn($1) AS risk;
            FROM risks WHERE customer_id = 7;
            EXECUTE risk(8);
            SELECT customer_id, predict_churn(customer_id, as_of := DATE '2022-03-01') AS risk
            FROM customers WHERE customer_id = 9;
        """,
    )
    seventh, eighth, ninth = (float(line.split(",")[1]) for line in output.split()[1::2])
    assert (seventh, eighth) == pytest.approx((expected[7], expected[8]), abs=1e-5)
    with relsql.connect(file, read_only=True) as con:
        [(earlier,)] = con.execute("SELECT predict_churn(9, as_of := DATE '2022-03-01')").fetchall()
    assert ninth == pytest.approx(earlier, abs=1e-5) and ninth != pytest.approx(expected[9], abs=1e-9)


def test_what_if_in_a_transaction(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(file.read_bytes())
    call = "SELECT predict_churn(7);"
    output = duckdb(
        "-csv",
        "-noheader",
        copy,
        script=f"""{call}
            BEGIN; INSERT INTO orders VALUES (90001, 7, 5000, 'gift', TIMESTAMP '2022-12-19'); {call}
            ROLLBACK; {call}""",
    )
    before, during, after = map(float, output.split())
    assert before == after and abs(during - before) > 1e-6


def test_attached_beside_a_database_with_tables_of_the_same_names(file: Path, expected: dict[int, float]) -> None:
    output = duckdb(
        "-csv",
        script=f"""
            CREATE TABLE orders AS SELECT 1 AS order_id; CREATE TABLE customers AS SELECT 7 AS customer_id;
            ATTACH '{file}' AS prod (READ_ONLY); USE prod; {RISKS};""",
    )
    assert scores(output) == pytest.approx(expected, abs=1e-5)


def test_the_catalog_explains_the_functions(file: Path) -> None:
    query = "SELECT comment FROM duckdb_functions() WHERE function_name = 'predict_churn'"
    assert "relsql model churn version 1" in duckdb("-readonly", "-csv", file, "-c", query)

"""Calls of a pinned version: `predict_churn_v1` does not depend on the version of `predict_churn`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

import relsql
from relsql.cli import cli
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.errors import ModelError
from relsql.registry.models import active_card, next_version, read_artifacts, save_model
from relsql.registry.row_embeddings import stored_sql
from tests.shop import seal_models

Connection = duckdb.DuckDBPyConnection
ALL = "SELECT predict_churn{}(customer_id) FROM customers ORDER BY customer_id"


def add_version(con: Connection, name: str = "churn") -> int:
    """A version like `churn` except for a head with other scores; much cheaper than training one."""
    import onnx
    from onnx import numpy_helper

    catalog = current_catalog(con)
    card = active_card(con, catalog, "churn")
    artifacts = read_artifacts(con, catalog, card)
    head = onnx.load_model_from_string(artifacts["head.onnx"])
    for tensor in head.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim:
            tensor.CopyFrom(numpy_helper.from_array(values * np.float32(0.5) + np.float32(0.1), tensor.name))
    artifacts["head.onnx"] = head.SerializeToString()
    digests = {key: hashlib.sha256(content).hexdigest() for key, content in artifacts.items()}
    version = next_version(con, catalog, name)
    other = msgspec.structs.replace(card, name=name, version=version, sha256=digests)
    rows = con.execute(f"SELECT text, embedding FROM ({stored_sql(con, catalog, card)})").fetchall()
    with transaction(con):
        save_model(
            con, catalog, other, artifacts, [text for text, _ in rows], np.array([e for _, e in rows], np.float32)
        )
    return version


@pytest.fixture
def con(shop: Path) -> Iterator[Connection]:
    """The shop with two versions of `churn`, the second one active."""
    with duckdb.connect(str(shop)) as con:
        add_version(con)
        yield con


def values(con: Connection, query: str) -> list[float]:
    return [value for (value,) in con.execute(query).fetchall()]


def test_a_pinned_call_is_what_the_version_gave_when_it_was_active(con: Connection) -> None:
    found = {}
    for version in (2, 1):
        relsql.promote(con, "churn", version)
        relsql.attach(con)
        found[version] = values(con, ALL.format(""))
    assert np.abs(np.subtract(found[1], found[2])).max() > 0.01
    names = relsql.attach(con, models=["churn@1", "churn@2"])
    assert names == tuple(
        name.format(version)
        for version in (1, 2)
        for name in (
            "predict_churn_v{}_full",
            "predict_churn_v{}",
            "predict_churn_v{}_batch",
            "embed_churn_v{}",
            "explain_churn_v{}",
            "explain_churn_v{}_batch",
            "relsql_encode_churn_v{}",
        )
    )
    for version, expected in found.items():
        np.testing.assert_allclose(values(con, ALL.format(f"_v{version}")), expected, atol=1e-6)
        full = con.execute(f"SELECT predict_churn_v{version}_full(7)").fetchall()[0][0]
        assert full["version"] == version and full["score"] == pytest.approx(expected[7], abs=1e-6)
        batch = con.execute(
            f"SELECT score, version FROM predict_churn_v{version}_batch() ORDER BY customer_id"
        ).fetchall()
        np.testing.assert_allclose([score for score, _ in batch], expected, atol=1e-6)
        assert {number for _, number in batch} == {version}
    np.testing.assert_allclose(values(con, ALL.format("")), found[1], atol=1e-6)


def test_references_by_active_previous_and_best(con: Connection) -> None:
    con.execute("""UPDATE relsql.models SET metrics = '{"val_roc_auc": 0.9}' WHERE version = 1""")
    seal_models(con)
    assert "predict_churn_v1" in relsql.attach(con, models=["churn@best"])
    assert "predict_churn_v1" in relsql.attach(con, models=["churn@previous"])
    relsql.promote(con, "churn", "previous")
    assert "predict_churn_v2" in relsql.attach(con, models=["churn@previous"])
    with pytest.raises(ModelError, match="'churn' has no version 3. Expected: one of: 1, 2"):
        relsql.attach(con, models=["churn", "churn@3"])


def test_attaching_without_models_pins_nothing(con: Connection) -> None:
    assert not any("_v" in name for name in relsql.attach(con))
    with pytest.raises(duckdb.CatalogException, match="predict_churn_v1"):
        con.execute("SELECT predict_churn_v1(1)")


def test_row_texts_stay_those_of_the_active_version(con: Connection) -> None:
    relsql.attach(con)
    con.execute("CREATE OR REPLACE TEMP MACRO row_text_orders(relsql_row) AS 'kept'")
    relsql.attach(con, models=["churn@1"])
    assert values(con, "SELECT DISTINCT row_text_orders(r) FROM orders r") == ["kept"]


@pytest.mark.parametrize("name", ["churn_v1", "Churn_V1", "churn_v1_batch"])
def test_a_model_of_that_name_is_never_replaced(con: Connection, name: str) -> None:
    add_version(con, name)
    relsql.attach(con)
    with pytest.raises(
        ModelError, match=f"'churn@1' would be called by predict_churn_v1, but there is a model '{name}'"
    ):
        relsql.attach(con, models=["churn@1"])
    assert "predict_churn_v2" in relsql.attach(con, models=["churn@2"])
    assert f"predict_{name}_v1" in relsql.attach(con, models=[f"{name}@1"])


def test_detach_removes_pinned_functions(con: Connection) -> None:
    relsql.attach(con, models=["churn@1"])
    relsql.detach(con)
    query = "SELECT function_name FROM duckdb_functions() WHERE database_name = 'temp' AND function_name LIKE '%churn%'"
    assert con.execute(query).fetchall() == []


# Every function and command that takes a model


def test_refresh_fills_the_version_that_is_named(con: Connection) -> None:
    assert relsql.refresh(con, "churn").new == 0
    done = relsql.refresh(con, "churn@1")
    assert (done.model, done.version) == ("churn", 1) and done.new == done.texts > 0
    relsql.promote(con, "churn", 1)
    assert relsql.refresh(con, "churn").new == relsql.refresh(con, "churn@previous").new == 0


def test_score_jobs_of_a_pinned_version_continue_with_it(con: Connection) -> None:
    job = relsql.score_into(con, "churn@1", "risk")
    assert (job.model, job.version) == ("churn", 1)
    relsql.attach(con, models=["churn@1"])
    difference = "SELECT max(abs(score - predict_churn_v1(customer_id))), max(version) FROM risk"
    [(largest, version)] = con.execute(difference).fetchall()
    assert largest < 1e-6 and version == 1
    assert relsql.score_into(con, "churn", "risk", changed_only=True).version == 2


def invoke(*args: object) -> Result:
    result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="relsql")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_commands_take_a_version(con: Connection, shop: Path) -> None:
    con.close()
    scored = list(csv.DictReader(io.StringIO(invoke("score", shop, "churn@1").stdout)))
    assert {row["version"] for row in scored} == {"1"}
    found = invoke("sql", shop, ALL.format("_v1"), "--model", "churn@1", "--format", "csv").stdout.split()[1:]
    np.testing.assert_allclose([float(row["score"]) for row in scored], [float(line) for line in found], atol=1e-6)
    assert "did you mean 'predict_churn'" in invoke("sql", shop, ALL.format("_v1")).stderr
    first, second = (json.loads(invoke("evaluate", shop, f"churn@{v}", "--json").stdout) for v in (1, 2))
    assert (first["model"], first["version"], second["version"]) == ("churn", 1, 2)
    assert first["metrics"]["mean_score"] != pytest.approx(second["metrics"]["mean_score"], abs=1e-3)
    frozen = json.loads(invoke("evaluate", shop, "churn@1", "--regime", "frozen", "--json").stdout)
    assert frozen["version"] == 1
    assert invoke("refresh", shop, "churn@1").stdout.startswith("churn\t1\trows=")
    wrong = invoke("score", shop, "churn@7")
    assert wrong.exit_code == 1 and "relsql: error: model 'churn' has no version 7" in wrong.stderr

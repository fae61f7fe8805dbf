"""Untrusted files: inspecting one runs none of its code, and the output of its model is checked."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import onnx
import onnx.helper as oh
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli
from relsql.database.connections import foreign_database
from relsql.errors import ArtifactError
from relsql.publishing.publish import publish
from relsql.publishing.selftest import selftest
from relsql.registry.cards.card import ModelCard
from relsql.text.row_text import MARKERS
from relsql.text.tokenizer import SPECIAL_TOKENS, RowTokenizer
from udfs import attach, components
from udfs.scorer import Scorer

HOSTILE_MACROS = (
    "count",
    "min",
    "max",
    "sum",
    "list",
    "coalesce",
    "concat_ws",
    "lower",
    "starts_with",
    "md5",
    "sha256",
)


@pytest.fixture
def hostile(shop: Path) -> Path:
    """A shop whose macros and views fail, or would be seen in the output, when they are evaluated."""
    with duckdb.connect(str(shop)) as con:
        for name in HOSTILE_MACROS:
            try:
                con.execute(f"CREATE MACRO {name}(a, b := 1, c := 2) AS error('macro {name} was run')")
            except duckdb.Error:
                continue  # DuckDB parses some of these as operators.
        con.execute("CREATE VIEW stolen AS SELECT content FROM read_text('/etc/hostname')")
        con.execute("CREATE VIEW failing AS SELECT error('a view was run') AS x")
        con.execute("CREATE SCHEMA duckdb_tables; CREATE MACRO duckdb_columns() AS TABLE SELECT error('a table macro')")
    return shop


@pytest.mark.parametrize("command", [["inspect"], ["inspect", "--json"], ["models"], ["models", "--json"]])
def test_looking_at_a_foreign_file_runs_nothing_of_it(hostile: Path, command: list[str]) -> None:
    before = hostile.read_bytes()
    done = CliRunner().invoke(cli, [command[0], str(hostile), *command[1:]])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "was run" not in done.output
    assert "churn" in done.output
    assert hostile.read_bytes() == before


def test_macros_of_the_file_run_if_it_is_the_current_database(hostile: Path) -> None:
    """Check that the test above would notice it."""
    with duckdb.connect(str(hostile), read_only=True) as con, pytest.raises(duckdb.Error, match="macro min was run"):
        con.execute("SELECT min(amount) FROM orders").fetchall()


def test_a_foreign_file_cannot_reach_other_files(hostile: Path) -> None:
    with foreign_database(hostile) as (con, catalog):
        assert con.execute(f'SELECT count(*) FROM "{catalog}".main.orders').fetchall()
        with pytest.raises(duckdb.Error):
            con.execute(f'FROM "{catalog}".main.stolen').fetchall()
        with pytest.raises(duckdb.Error):
            con.execute("SET enable_external_access = true")


def test_a_file_called_like_an_own_database_of_duckdb_is_inspected(shop: Path) -> None:
    for name in ("memory", "temp", "system", "odd name", "1'2"):
        path = shop.rename(shop.with_name(f"{name}.duckdb"))
        assert CliRunner().invoke(cli, ["inspect", str(path)]).exit_code == 0
        path.rename(shop)


def returning(value: float, width: int) -> bytes:
    """A head whose every score is one number."""
    nodes = [
        oh.make_node("Mul", ["as_of_days", "zero"], ["nothing"]),
        oh.make_node("Add", ["nothing", "number"], ["score"]),
    ]
    weights = [
        oh.make_tensor("zero", onnx.TensorProto.FLOAT, [1], [0.0]),
        oh.make_tensor("number", onnx.TensorProto.FLOAT, [1], [value]),
    ]
    return head_of(nodes, weights, width)


def head_of(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], width: int) -> bytes:
    """A component with the inputs and the output of a head that reads states of a width."""
    inputs = [
        oh.make_tensor_value_info("state", onnx.TensorProto.FLOAT, ["seeds", width]),
        oh.make_tensor_value_info("as_of_days", onnx.TensorProto.FLOAT, ["seeds"]),
    ]
    outputs = [oh.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["seeds"])]
    graph = oh.make_graph(nodes, "g", inputs, outputs, initializer=weights)
    found = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)
    return bytes(found.SerializeToString())


@pytest.mark.parametrize("value", [17.0, -0.001, 1.001, np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_a_probability_is_null_with_status_error(
    shop: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Scorer.__init__

    def with_other_head(self: Scorer, card: ModelCard, artifacts: dict[str, bytes], **options: object) -> None:
        original(self, card, artifacts | {"head.onnx": returning(value, card.state_width)}, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Scorer, "__init__", with_other_head)
    monkeypatch.setattr(attach, "_SCORERS", {})
    with relsql.connect(shop) as con:
        query = "SELECT DISTINCT r.score, r.status FROM (SELECT predict_churn_full(customer_id) AS r FROM customers)"
        assert con.execute(query).fetchall() == [(None, "error")]
        assert con.execute("SELECT predict_churn_full(-1).status").fetchall() == [("unknown_entity",)]


def computing_for_long(width: int) -> bytes:
    """A head of allowed operators that multiplies large matrices ten thousand times."""
    nodes = [
        oh.make_node("ReduceSum", ["as_of_days"], ["sum"], keepdims=0),
        oh.make_node("Expand", ["sum", "shape"], ["x0"]),
        *(oh.make_node("MatMul", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(10_000)),
        oh.make_node("ReduceSum", ["x10000"], ["number"], keepdims=0),
        oh.make_node("Add", ["as_of_days", "number"], ["score"]),
    ]
    return head_of(nodes, [oh.make_tensor("shape", onnx.TensorProto.INT64, [2], [400, 400])], width)


def test_a_component_that_computes_for_long_is_stopped_within_a_call(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Scorer.__init__

    def with_other_head(self: Scorer, card: ModelCard, artifacts: dict[str, bytes], **options: object) -> None:
        original(self, card, artifacts | {"head.onnx": computing_for_long(card.state_width)}, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Scorer, "__init__", with_other_head)
    monkeypatch.setattr(attach, "_SCORERS", {})
    with relsql.connect(shop) as con:
        monkeypatch.setattr(components, "MAX_RUN_SECONDS", 0.5)
        with pytest.raises(duckdb.Error, match="a component of the model has not ended after 0.5 seconds"):
            con.execute("SELECT predict_churn(17)").fetchall()


def test_plain_sql_returns_only_probabilities_as_scores(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        publish(con, "churn")
        [(weights,)] = con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, 'weights_')"
        ).fetchall()
        con.execute(
            f"UPDATE relsql.{weights} SET head = struct_update(head, out := list_transform(head.out, lambda x: 'nan'))"
        )
    with duckdb.connect(str(shop)) as con:
        query = "SELECT DISTINCT r.score, r.status FROM (SELECT predict_churn_full(customer_id) AS r FROM customers)"
        assert con.execute(query).fetchall() == [(None, "error")]
        with pytest.raises(relsql.errors.RelsqlError):
            selftest(con, "churn")


class TestTokenizer:
    def tokenizer(self, **changes: object) -> str:
        alphabet = [chr(c) for c in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(0x100, 0x144))]
        tokens = [*SPECIAL_TOKENS, *MARKERS]
        stored = {
            "added_tokens": [{"id": i, "content": token} for i, token in enumerate(tokens)],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "model": {
                "type": "BPE",
                "vocab": {token: i for i, token in enumerate([*tokens, *alphabet])},
                "merges": [],
            },
        }
        return json.dumps(stored | changes)

    def test_a_plain_one_is_read(self) -> None:
        assert RowTokenizer(self.tokenizer()).token_ids(["ab"], 9)[0][0] == 0

    def test_a_pattern_in_the_file_is_not_used(self) -> None:
        """The pattern that splits texts is fixed, so that a file cannot bring one that takes exponential time."""
        evil = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
        with pytest.raises(ArtifactError, match=r"tokenizer.json cannot be read"):
            RowTokenizer(self.tokenizer(pre_tokenizer=evil))

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"added_tokens": [{"id": i, "content": f"t{i:05}"} for i in range(2_000)]}, "lacks|added tokens"),
            ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "no token"),
            ({"model": {"type": "BPE", "vocab": {"!": -5}, "merges": []}}, "no token|out of range"),
        ],
        ids=["many added", "no vocabulary", "negative"],
    )
    def test_hostile_ones_are_refused(self, changes: dict[str, object], problem: str) -> None:
        with pytest.raises(ArtifactError, match=problem):
            RowTokenizer(self.tokenizer(**changes))

    @pytest.mark.parametrize("number", [-1, 10**15])
    def test_ids_that_are_not_positions_are_refused(self, number: int) -> None:
        stored = json.loads(self.tokenizer())
        stored["model"]["vocab"]["!"] = number
        with pytest.raises(ArtifactError, match="token ids that are out of range"):
            RowTokenizer(json.dumps(stored))

    def test_nested_ones_are_refused(self) -> None:
        with pytest.raises(ArtifactError, match="nested too deeply"):
            RowTokenizer('{"x": ' + "[" * 200_000 + "]" * 200_000 + "}")

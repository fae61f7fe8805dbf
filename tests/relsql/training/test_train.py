"""Training runs: what they write, what an interruption leaves, and that they are reproducible."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import relsql
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError, ModelError, SchemaError, TaskError
from relsql.evaluation.evaluate import evaluate, task_metrics
from relsql.evaluation.plain_baselines import entity_means
from relsql.evaluation.predictions import predict_split
from relsql.nn.lexicon import MAX_DIRECTIONS
from relsql.registry.cards.reading import read_card_text
from relsql.registry.models import find_model, read_card, read_models
from relsql.registry.runs import PHASES
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.regime import REGIMES
from relsql.tasks.splits import Split
from relsql.training.options import TrainOptions
from relsql.training.train import train
from tests.shop import QUICK, TASK, contents, create_shop, train_quickly


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("untrained") / "shop.duckdb"
    create_shop(path)
    return path


def test_a_run_is_recorded_phase_by_phase(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        rows = con.execute("SELECT phase, seconds, error, version FROM relsql.runs").fetchall()
        model = find_model(con, current_catalog(con), "churn")
        card = read_card(con, current_catalog(con), "churn", 1)
    assert sorted(row[0] for row in rows) == sorted(PHASES[:-1])
    assert all(row[1] >= 0 and row[2] is None and row[3] == 1 for row in rows)
    assert model.status == "active"
    assert 0 <= model.metrics["val_roc_auc"] <= 1
    apart = {f"path {path.name}.onnx" for path in card.paths if path.grouped}
    components = {"encoder.onnx", "graph.onnx", "head.onnx", "explained.onnx", "tokenizer.json"}
    assert set(card.sha256) == components | apart and apart
    assert max(card.parity.values()) <= 1e-5
    assert card.task == replace(TASK)
    assert read_card_text(card.to_json()) == card


@pytest.mark.parametrize("phase", PHASES)
def test_interruption_leaves_the_file_as_it_was(untrained: Path, tmp_path: Path, phase: str) -> None:
    path = tmp_path / "shop.duckdb"
    path.write_bytes(untrained.read_bytes())

    def interrupt(current: str, fraction: float, metrics: dict[str, float]) -> None:
        if current == phase:
            raise KeyboardInterrupt

    with duckdb.connect(str(path)) as con:
        before = contents(con, without="runs")
        with pytest.raises(KeyboardInterrupt):
            train(con, "customer-churn", name="churn", options=QUICK, progress=interrupt)
        assert contents(con, without="runs") == before
        assert con.execute("SELECT phase FROM relsql.runs WHERE error = 'interrupted'").fetchall() == [(phase,)]
        assert read_models(con, current_catalog(con)) == ()
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchall() == [(0,)]


def test_same_seed_gives_the_same_scores(shop: Path) -> None:
    with relsql.connect(shop) as con:
        train_quickly(con, "again")
        relsql.attach(con)
        query = "SELECT max(abs(predict_churn(customer_id) - predict_again(customer_id))) FROM customers"
        assert con.execute(query).fetchall()[0][0] < 1e-6


def test_evaluation_is_what_sql_says(shop: Path) -> None:
    with relsql.connect(shop) as con:
        predictions = predict_split(con, "churn", "test")
        for i in range(0, len(predictions.scores), 11):
            query = "SELECT predict_churn(?, as_of := ?)"
            found = con.execute(query, [predictions.entities[i], predictions.as_of[i]]).fetchall()[0][0]
            assert found == pytest.approx(predictions.scores[i], abs=1e-6)
        result = evaluate(con, "churn", "test")
    assert result.rows == len(predictions.scores)
    assert result.unscored == 0
    assert 0 <= result.metrics["roc_auc"] <= 1


def test_validation_metric_of_training_is_that_of_sql(shop: Path) -> None:
    with relsql.connect(shop) as con:
        model = train(con, "customer-churn", name="held", options=replace(QUICK, refit=False))
        predictions = predict_split(con, "held", "val")
        np.testing.assert_allclose(model.validation_scores, predictions.scores, atol=1e-5)
        stored = find_model(con, current_catalog(con), "held").metrics["val_roc_auc"]
        assert evaluate(con, "held", "val").metrics["roc_auc"] == pytest.approx(stored, abs=1e-5)
        means = entity_means(TASK, model_labels(con, "train"), predictions.entities)
        lead, alone = model.lead, task_metrics(TASK, predictions.labels, means)["roc_auc"]
        assert lead is not None and (lead.metric, lead.labels) == ("roc_auc", len(predictions.scores))
        assert lead.low <= lead.gain <= lead.high and lead.gain <= stored - alone + 1e-6
        # The model that was also trained on validation labels is a different one with the same report.
        refitted = find_model(con, current_catalog(con), "churn").metrics
        assert refitted == pytest.approx(model.metrics)
        assert np.abs(predict_split(con, "churn", "val").scores - predictions.scores).max() > 1e-3


def model_labels(con: duckdb.DuckDBPyConnection, split: Split) -> pa.Table:
    catalog = current_catalog(con)
    return label_table(con, catalog, read_schema(con, catalog), TASK, split).table


def test_training_timestamps_can_lie_denser(untrained: Path, tmp_path: Path) -> None:
    plain, dense = (labels_of_a_run(untrained, tmp_path, replace(QUICK, density=density)) for density in (1, 3))
    assert 1_000 < plain["train_labels"] < 2_000 and plain["val_labels"] == dense["val_labels"]
    assert dense["train_labels"] / plain["train_labels"] == pytest.approx(3, rel=0.05)


def test_labels_of_a_lagging_database_come_with_delays(untrained: Path, tmp_path: Path) -> None:
    plain, frozen = (
        labels_of_a_run(untrained, tmp_path, replace(QUICK, regime=regime), num_eval_timestamps=2) for regime in REGIMES
    )
    assert set(plain) == {"train_labels", "val_labels"} and frozen["val_labels"] == plain["val_labels"]
    # Of two draws from {no delay, one horizon}, at least one is a horizon with probability 3/4.
    for split, source in (("train", "train"), ("closing", "val")):
        assert frozen[f"{split}_labels"] / plain[f"{source}_labels"] == pytest.approx(1.75, abs=0.1)


def labels_of_a_run(untrained: Path, tmp_path: Path, options: TrainOptions, **task: int) -> dict[str, float]:
    """The metrics of the labels phase."""
    found: dict[str, float] = {}

    def stop(phase: str, fraction: float, metrics: dict[str, float]) -> None:
        if phase == "labels":
            found.update(metrics)
        if phase == "gather":
            raise KeyboardInterrupt

    path = Path(shutil.copy(untrained, tmp_path / "shop.duckdb"))
    with duckdb.connect(str(path)) as con, pytest.raises(KeyboardInterrupt):
        train(con, replace(TASK, **task), name="churn", options=options, progress=stop)
    return found


def test_a_regime_that_does_not_exist_is_refused(untrained: Path) -> None:
    with duckdb.connect(str(untrained), read_only=True) as con, pytest.raises(TaskError, match="did you mean 'frozen'"):
        train(con, "customer-churn", name="churn", options=replace(QUICK, regime="frosen"))  # type: ignore[arg-type]


def test_future_rows_do_not_change_training_seeds(shop: Path) -> None:
    with relsql.connect(shop) as con:
        before = predict_split(con, "churn", "val").scores
        con.execute("DELETE FROM orders WHERE ordered_at > TIMESTAMP '2022-11-01'")
        np.testing.assert_array_equal(predict_split(con, "churn", "val").scores, before)


@pytest.mark.parametrize("name", ["", "two words", "semi;colon", "x" * 64, "1st"])
def test_bad_model_names(untrained: Path, name: str) -> None:
    with duckdb.connect(str(untrained)) as con, pytest.raises(ModelError, match="letters, digits and underscores"):
        train(con, "customer-churn", name=name, options=QUICK)


def test_unknown_task_names_the_nearest(untrained: Path) -> None:
    with duckdb.connect(str(untrained)) as con, pytest.raises(TaskError, match="did you mean 'customer-churn'"):
        train(con, "customer-chrun", name="churn", options=QUICK)


def test_read_only_file_is_refused(untrained: Path) -> None:
    with duckdb.connect(str(untrained), read_only=True) as con, pytest.raises(DatabaseError, match="read-only"):
        train(con, "customer-churn", name="churn", options=QUICK)


def test_missing_entity_table_and_key(untrained: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    path.write_bytes(untrained.read_bytes())
    with duckdb.connect(str(path)) as con:
        with pytest.raises(SchemaError, match="did you mean 'customers'"):
            train(con, replace(TASK, entity_table="custmers"), name="churn", options=QUICK)
        con.execute("CREATE TABLE loose AS SELECT DISTINCT customer_id FROM customers")
        with pytest.raises(SchemaError, match="no primary key"):
            train(con, replace(TASK, entity_table="loose"), name="churn", options=QUICK)


def test_removed_columns_are_not_read(untrained: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    path.write_bytes(untrained.read_bytes())
    with duckdb.connect(str(path)) as con:
        task = replace(TASK, remove_columns=(("orders", "amount"), ("customers", "name")))
        train(con, task, name="churn", options=QUICK)
        card = read_card(con, current_catalog(con), "churn", 1)
    assert "amount" not in card.schema.table("orders").column_names
    assert "name" not in card.inputs["customers"].columns


def test_declared_keys_that_no_longer_hold_stop_training(untrained: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    path.write_bytes(untrained.read_bytes())
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE visits AS SELECT order_id AS visit_id, customer_id, ordered_at FROM orders")
        catalog = current_catalog(con)
        with transaction(con):
            declare_table(con, catalog, "visits", primary_key=("visit_id",), time_column="ordered_at")
            declare_link(con, catalog, parse_link("visits(customer_id) -> customers(customer_id)"))
        con.execute("INSERT INTO visits SELECT * FROM visits LIMIT 5")
        before = contents(con, without="runs")
        with pytest.raises(SchemaError, match="visits"):
            train(con, "customer-churn", name="churn", options=QUICK)
        assert contents(con, without="runs") == before


def test_pretrained_bart_is_loaded_and_scores(untrained: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    from relsql.training.encoder.fit_tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["<table>shops<attribute>city<value>Ulm", "customer 1 gift express"], 300)
    size = tokenizer.size
    sizes = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 80}
    config = BartConfig(vocab_size=size, **sizes, **heads)
    checkpoint = tmp_path / "bart"
    BartForConditionalGeneration(config).save_pretrained(checkpoint)
    named = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer.json), **named).save_pretrained(checkpoint)
    path = tmp_path / "shop.duckdb"
    path.write_bytes(untrained.read_bytes())
    with relsql.connect(path) as con:
        train(con, "customer-churn", name="churn", options=replace(QUICK, encoder=str(checkpoint)))
        relsql.attach(con)
        card = read_card(con, current_catalog(con), "churn", 1)
        found = con.execute("SELECT count(predict_churn(customer_id)) FROM customers").fetchall()
    assert card.encoder.source == str(checkpoint)
    # The checkpoint's own width, and the lexicon's in addition.
    assert 16 < card.encoder.width <= 16 + MAX_DIRECTIONS
    assert found == [(60,)]


def test_a_full_disk_changes_nothing(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*args: object, **kwargs: object) -> None:
        raise duckdb.TransactionException("Failed to commit: Could not write file: No space left on device")

    with duckdb.connect(str(shop)) as con:
        before = contents(con, without="runs")
        monkeypatch.setattr("relsql.training.training_run.save_model", fill)
        with pytest.raises(DatabaseError, match="could not be written"):
            train_quickly(con, "churn", force=True)
        assert contents(con, without="runs") == before

"""Recalibration: a version with another temperature, and nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

import relsql
from exporters.onnx.temperature import temperature_of
from relsql.errors import ModelError
from relsql.registry.models import active_card, check_stored, read_artifacts, read_card
from tests.relsql.cli.commands import Run
from tests.shop import contents, embeddings_table

SCORES = "SELECT customer_id, predict_churn(customer_id, as_of := TIMESTAMP '2022-12-01') FROM customers ORDER BY 1"

ANSWERS = SCORES.replace("predict_churn(", "predict_churn_full(").replace("-01')", "-01').label")


def logits(con: duckdb.DuckDBPyConnection) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    scores = np.array([score for _, score in con.execute(SCORES).fetchall()], dtype=np.float64)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = np.log(scores / (1 - scores))
    return found


def exaggerate(con: duckdb.DuckDBPyConnection) -> None:
    """Make the scores in the ledger too sure of themselves."""
    con.execute("UPDATE relsql.predictions SET score = 1 / (1 + exp(-4 * ln(score / (1 - score))))")


def test_only_the_temperature_changes(kept: Path) -> None:
    with relsql.connect(kept) as con:
        relsql.choose_threshold(con, "churn", relsql.ThresholdCriterion(top=0.3))
        relsql.attach(con)
        before, former, answers = logits(con), active_card(con, "shop", "churn"), con.execute(ANSWERS).fetchall()
        texts = con.execute(f"SELECT text, embedding FROM {embeddings_table(con)} ORDER BY text").fetchall()
        exaggerate(con)
        found = relsql.recalibrate(con, "churn")
        assert (found.version, found.source, found.labels, found.published) == (2, 1, 240, None)
        assert found.temperature > 2 * found.former_temperature and found.log_loss < found.former_log_loss
        new, old = (read_artifacts(con, "shop", read_card(con, "shop", "churn", version)) for version in (2, 1))
        assert {name for name in new if new[name] != old[name]} == {"head.onnx"}
        assert temperature_of(new["head.onnx"]) == pytest.approx(found.temperature)
        assert temperature_of(old["head.onnx"]) == pytest.approx(found.former_temperature)
        card = active_card(con, "shop", "churn")
        assert card.version == 2 and card.metrics == former.metrics | {"temperature": found.temperature}
        assert (card.task, card.schema, card.paths, card.inputs) == (
            former.task,
            former.schema,
            former.paths,
            former.inputs,
        )
        assert check_stored(con, "shop", card) == ()
        kept_texts = con.execute(f"SELECT text, embedding FROM {embeddings_table(con)} ORDER BY text").fetchall()
        assert kept_texts == texts and texts
        relsql.detach(con)
        relsql.attach(con)
        after = logits(con)
        assert after == pytest.approx(before * found.former_temperature / found.temperature, rel=1e-4, abs=1e-5)
        assert con.execute(ANSWERS).fetchall() == answers and len({label for _, label in answers}) == 2
        assert card.uncertainty is not None and card.uncertainty.labels == found.labels
        assert relsql.promote(con, "churn", "previous").version == 1


def test_the_best_temperature_is_kept(kept: Path) -> None:
    with relsql.connect(kept) as con:
        relsql.recalibrate(con, "churn")
        version = active_card(con, "shop", "churn").version
        if version > 1:
            # What the new version would have scored.
            relsql.detach(con)
            relsql.attach(con)
            con.execute("DELETE FROM relsql.predictions WHERE as_of < TIMESTAMP '2022-11-01'")
            moments = con.execute("SELECT DISTINCT as_of FROM relsql.predictions").fetchall()
            for (as_of,) in moments:
                relsql.score_into(con, "churn", "risk", as_of=as_of, keep_history=True, overwrite=True)
        before = contents(con)
        found = relsql.recalibrate(con, "churn")
        assert found.version == found.source == version and found.temperature == found.former_temperature
        assert contents(con) == before


def test_too_few_labels_are_refused_and_change_nothing(kept: Path, run: Run) -> None:
    with relsql.connect(kept) as con:
        con.execute("DELETE FROM relsql.predictions WHERE as_of > TIMESTAMP '2022-11-05'")
        before = contents(con)
        # Those of October have been trained on.
        with pytest.raises(ModelError, match="has 60 scores in the ledger since 2022-11-01 00:00:00"):
            relsql.recalibrate(con, "churn")
        assert contents(con) == before
    result = run("outcomes", kept, "churn", "--recalibrate")
    assert result.exit_code == 1 and "too few to refit" in result.stderr


def test_the_command_says_what_it_did(kept: Path, run: Run) -> None:
    with duckdb.connect(str(kept)) as con:
        exaggerate(con)
    result = run("outcomes", kept, "churn", "--recalibrate")
    assert result.exit_code == 0 and "churn version 2, active now, is version 1 with temperature" in result.stderr

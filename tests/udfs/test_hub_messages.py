"""Messages of hubs: each hub is computed once, with the same result as with its rows at every seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import relsql
from relsql.database.names import current_catalog
from relsql.evaluation.predictions import predict_split
from relsql.gather.layout import BlockLayout, Segment
from relsql.gather.node_inputs import NodeInputs, NumberInput
from relsql.registry.models import active_card
from relsql.schema.tables import Schema
from relsql.text.text_table import TextTable
from relsql.training.train import train
from relsql.typing import FloatArray
from tests.odd_data import CHURN, FAST, create_market
from udfs.coded_texts import CodedTexts
from udfs.hub_messages import HubMessages

LAYOUT = BlockLayout("rows", 2, (Segment(NodeInputs("r", (NumberInput("at", "age"),), (), ())),), 1, shared=True)
TEXTS = TextTable(1)
NO_CODED_TEXTS = CodedTexts(Schema({}), (), TEXTS)


class SumOfAges:
    """Replaces the component: returns the sum of the ages of a hub's rows, and their number."""

    def __init__(self) -> None:
        self.hubs: list[int] = []

    def __call__(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        places, ages = feed["path rows.places"], feed["path rows.ages"]
        self.hubs.append(len(places))
        with_absent = np.concatenate([np.zeros((1, 1), dtype=np.float32), ages])
        return np.concatenate([with_absent[places].sum(1), feed["path rows.totals"]], axis=1)


@pytest.fixture
def component() -> SumOfAges:
    return SumOfAges()


@pytest.fixture
def messages(component: SumOfAges) -> HubMessages:
    return HubMessages(LAYOUT, component, TEXTS, NO_CODED_TEXTS, timed=True)  # type: ignore[arg-type]


def hubs(*given: tuple[int, list[float]]) -> pa.Array:
    return pa.array(
        [
            {
                "hub": hub,
                "rows": [{"rank": rank, "n0": 1.0, "n1": age} for rank, age in enumerate(ages, 1)],
                "counts": {"w0": 10 * len(ages)},
            }
            for hub, ages in given
        ],
        pa.struct(
            {
                "hub": pa.uint64(),
                "rows": pa.list_(pa.struct({"rank": pa.int32(), "n0": pa.float32(), "n1": pa.float32()})),
                "counts": pa.struct({"w0": pa.int64()}),
            }
        ),
    )


def test_a_message_reaches_the_seeds_of_its_hub(messages: HubMessages) -> None:
    sent = messages.send(hubs((2**63 + 1, [3.0, 5.0]), (7, [2.5])))
    received = messages.receive(sent.take(pa.array([1, None, 0, 1])))
    assert received.vectors.tolist() == [[2.5, 10], [0, 0], [8, 20], [2.5, 10]]
    assert received.evidence.tolist() == [1, 0, 2, 1]
    assert received.newest_days.tolist() == [2.5, np.inf, 3, 2.5]
    assert received.take(np.array([2, 1])).vectors.tolist() == [[8, 20], [0, 0]]


def test_equal_hubs_are_computed_once(messages: HubMessages, component: SumOfAges) -> None:
    sent = messages.send(hubs((9, [1.0]), (4, [2.0]), (9, [1.0]), (9, [1.0])))
    assert component.hubs[1:] == [2]
    assert messages.receive(sent).vectors[:, 0].tolist() == [1, 2, 1, 1]


def test_slices_are_read_from_where_they_start(messages: HubMessages) -> None:
    sent = messages.send(hubs((1, [1.0]), (2, [2.0]), (3, [3.0])))
    assert messages.receive(sent.slice(1, 2)).vectors[:, 0].tolist() == [2, 3]
    assert messages.receive(sent.take(pa.array([None, 2])).slice(1)).vectors[:, 0].tolist() == [3]


def test_calls_without_rows(messages: HubMessages) -> None:
    sent = messages.send(hubs())
    assert len(sent) == 0 and messages.receive(sent).vectors.shape == (0, 2)
    nobody = messages.receive(pa.nulls(3, messages.send(hubs((1, [1.0]))).type))
    assert nobody.vectors.tolist() == [[0, 0]] * 3 and nobody.evidence.tolist() == [0, 0, 0]


def test_rows_without_time_have_no_newest(component: SumOfAges) -> None:
    timeless = HubMessages(LAYOUT, component, TEXTS, NO_CODED_TEXTS, timed=False)  # type: ignore[arg-type]
    assert timeless.receive(timeless.send(hubs((1, [4.0])))).newest_days.tolist() == [np.inf]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FloatArray]:
    """A database with hubs and a model of it, and the scores of the validation labels by torch."""
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con)
        return path, train(con, CHURN, name="churn", options=replace(FAST, refit=False)).validation_scores


def test_scores_in_sql_are_those_of_torch_with_the_rows_beside_every_seed(market: tuple[Path, FloatArray]) -> None:
    path, torch_scores = market
    with relsql.connect(path, read_only=True) as con:
        paths = active_card(con, current_catalog(con), "churn").paths
        assert [x.kind for x in paths if x.shared] == ["siblings", "siblings"]
        found = predict_split(con, "churn", "val").scores
    assert len(found) > 50 and np.ptp(found) > 1e-3
    np.testing.assert_allclose(found[np.isfinite(found)], torch_scores, rtol=0, atol=1e-5)


def test_one_entity_all_entities_and_a_batch_have_the_same_scores(market: tuple[Path, FloatArray]) -> None:
    with relsql.connect(market[0], read_only=True) as con:
        for as_of in ("TIMESTAMP '2022-03-01'", "TIMESTAMP '2022-11-20 12:00:00'"):
            batch = con.execute(f"FROM predict_churn_batch(as_of := {as_of}) ORDER BY ALL").fetchall()
            full = f"SELECT customer_id AS id, predict_churn_full(customer_id, {as_of}) AS f FROM customers"
            visible = f"FROM ({full}) WHERE f.status != 'unknown_entity'"
            every = con.execute(f"SELECT id, unnest(f) {visible} ORDER BY id").fetchall()
            ones = [con.execute(f"SELECT predict_churn({row[0]}, {as_of})").fetchall()[0][0] for row in batch[::9]]
            # The batch form has no columns for the target and what follows it.
            assert [(row[0], *row[2:6]) for row in every] == [(row[0], *row[2:]) for row in batch]
            scores = [row[1] for row in batch]
            np.testing.assert_allclose([row[1] for row in every], scores, rtol=0, atol=1e-6)
            np.testing.assert_allclose(ones, scores[::9], rtol=0, atol=1e-6)


def test_an_entity_without_rows_of_its_own_is_as_fresh_as_its_hub(market: tuple[Path, FloatArray]) -> None:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{market[0]}' AS market (READ_ONLY); COPY FROM DATABASE market TO memory; DETACH market")
        relsql.attach(con)
        con.execute("INSERT INTO customers VALUES (1000, 'new', 1, 1, DATE '1980-01-01', TIMESTAMP '2022-11-01')")
        moments = ("2022-11-20", "2090-01-01", "infinity")
        calls = ", ".join(f"predict_churn_full(1000, TIMESTAMP '{moment}')" for moment in moments)
        found = con.execute(f"SELECT {calls}").fetchall()[0]
        assert [result["status"] for result in found] == ["ok", "stale", "stale"]
        assert all(0 < result["score"] < 1 and result["evidence"] > 0 for result in found)

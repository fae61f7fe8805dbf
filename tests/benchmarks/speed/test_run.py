"""The speed benchmark: its databases, the timing of every row, and the targets."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.data.shop import LATEST, ORDERS_PER_CUSTOMER, SCHEMAS, Size, create
from benchmarks.speed import formula1 as speed_f1
from benchmarks.speed import rows as speed_rows
from benchmarks.speed import run as speed
from benchmarks.speed import shop_model, timing
from benchmarks.speed.report import Measured, plot, table, target_lines, targets, threads_table, write_json
from benchmarks.speed.run import measure, train_model
from benchmarks.speed.timing import Timing, Work, peak_bytes, timed
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from udfs.attach import load_scorer

SMALL = Size(400, "hub")
TEN = Size(400, "ten-table")


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as con:
        return con.execute(query).fetchall()


def test_databases_have_the_rows_of_their_size_and_are_the_same_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        create(tmp_path / name, SMALL)
    counts = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), (SELECT count(*) FROM shops)"
    assert rows(tmp_path / "one", counts) == [(400, 400 * ORDERS_PER_CUSTOMER, 8)]
    for key in ("customers", "orders", "shops"):
        digest = f"SELECT sum(hash(t)) FROM {key} t"
        assert rows(tmp_path / "one", digest) == rows(tmp_path / "two", digest)
    # A tenth of so few orders is the hot shop's.
    [(hot, others)] = rows(tmp_path / "one", "SELECT count(*) FILTER (shop_id = 1), max(shop_id) FROM orders")
    assert 700 < int(str(hot)) < 900 and others == 8
    # The orders are in order of time, and a customer's are scattered.
    late = "SELECT ordered < lag(ordered) OVER (ORDER BY order_id) AS late FROM orders"
    assert rows(tmp_path / "one", f"SELECT count(*) FROM ({late}) WHERE late") == [(0,)]
    with duckdb.connect(str(tmp_path / "one"), read_only=True) as con:
        schema = read_schema(con)
    assert {(link.child, link.parent) for link in schema.links} == {("orders", "customers"), ("orders", "shops")}


def test_ten_tables_hold_as_many_linked_rows_as_one(tmp_path: Path) -> None:
    create(tmp_path / "ten", TEN)
    tables, links = SCHEMAS["ten-table"]
    assert len(tables) == 10
    linked = " + ".join(f"(SELECT count(*) FROM {t})" for t in ("orders", "items", "payments", "visits", "tickets"))
    assert rows(tmp_path / "ten", f"SELECT {linked}") == [(TEN.orders,)]
    for child, parent in links:
        key = tables[parent][0]
        orphans = f"SELECT count(*) FROM {child} ANTI JOIN {parent} USING ({key})"
        assert rows(tmp_path / "ten", orphans) == [(0,)]
    # An item is not older than its order.
    assert rows(tmp_path / "ten", "SELECT count(*) FROM items JOIN orders USING (order_id) WHERE added < ordered") == [
        (0,)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the ten-table variant, whose paths are of every kind."""
    # Imported here, so that the processes that time functions of this module do not load torch.
    from tests.shop import QUICK

    path = tmp_path_factory.mktemp("speed")
    train_model(path, TEN, QUICK)
    return path


def test_every_row_is_timed_and_scores_every_customer(folder: Path) -> None:
    model = folder / f"model-{TEN.file_name}"
    found = list(measure(model, folder, replace(TEN, customers=300), threads=[2], repeats=1))
    # The rows that score all, the hundred and the one. The last two rows compare their scores with the SQL function's.
    assert {m.row: m.timing.entities for m in found} == {
        **dict.fromkeys(("gather", "onnxruntime", "network", "batch", "score into", "own as_of"), 300),
        "hundred": 100,
        "one": 1,
        "one by index": 1,
        "attach": 0,
        **dict.fromkeys(("query in function", "torch loop"), 300),
    }
    assert all(0 < m.timing.warm_seconds < m.timing.cold_seconds and m.timing.peak_bytes > 50e6 for m in found)


def test_a_model_is_trained_once_and_again_without_its_torch_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.speed.torch_loop import weights_file

    def train(*args: object, **options: object) -> None:
        raise InterruptedError

    monkeypatch.setattr("relsql.training.train.train", train)
    model = folder / f"model-{TEN.file_name}"
    stored = model.stat().st_mtime_ns
    assert train_model(folder, TEN) == model and model.stat().st_mtime_ns == stored
    weights = weights_file(model).rename(folder / "elsewhere")
    with pytest.raises(InterruptedError):
        train_model(folder, TEN)
    weights.rename(weights_file(model))


def test_the_torch_loop_scores_as_the_sql_function_at_any_time(folder: Path) -> None:
    from benchmarks.speed.torch_graph import pull_graph
    from benchmarks.speed.torch_loop import TorchLoop, load_modules, weights_file

    model = folder / f"model-{TEN.file_name}"
    with closing(shop_model.connect(model, model, 1)) as con:
        card = active_card(con, "model-ten-table-400", shop_model.MODEL)
        assert {path.kind for path in card.paths} == {
            *("entity", "parents", "children", "grandchildren", "siblings", "hub")
        }
        # Some customers had not joined yet, and most rows are still to come.
        query = f"""
            SELECT customer_id, epoch_us(as_of) AS as_of, predict_churn(customer_id, as_of := as_of) AS score
            FROM (SELECT *, {LATEST} - to_days(CAST(5 * customer_id % 1400 AS INTEGER)) AS as_of
                  FROM {shop_model.DATA}.customers) ORDER BY customer_id"""
        expected = con.sql(query).to_arrow_table()
        texts = load_scorer(con, "model-ten-table-400", card).texts
        graph = pull_graph(con, shop_model.DATA, card, texts)
    loop = TorchLoop(graph, card, load_modules(weights_file(model), card), texts.embeddings(np.arange(len(texts) + 1)))
    scores, as_of = np.asarray(expected["score"]), np.asarray(expected["as_of"])
    row_of = {int(key): row for row, key in enumerate(graph["customers"].key)}
    known = np.flatnonzero(~np.isnan(scores))
    assert 200 < len(known) < 400
    found = loop.score(np.array([row_of[1 + int(i)] for i in known]), as_of[known])
    np.testing.assert_allclose(found, scores[known], atol=1e-5)


def test_a_function_that_queries_by_itself_scores_as_the_sql_function(folder: Path) -> None:
    model = folder / f"model-{TEN.file_name}"
    with closing(shop_model.connect(model, model, 2)) as con:
        speed_rows.create_query_function(con)
        ids = "SELECT unnest([5, 5, NULL, 7, -1]) AS id"
        both = f"SELECT {speed_rows.BY_QUERY}(id), predict_churn(id, as_of := {LATEST}) FROM ({ids})"
        found = con.execute(both).fetchall()
        assert [score is None for score, _ in found] == [False, False, True, False, True]
        assert all(score == pytest.approx(expected, abs=1e-5) for score, expected in found if score is not None)
        with pytest.raises(AssertionError, match="differs from the SQL function's"):
            speed_rows.check_scores(con, np.array([5]), np.array([found[0][0] + 0.01]))


def test_live_databases_are_scored_and_gathered(shop_with_model: Path) -> None:
    query = "SELECT count(predict_churn(customer_id)) FROM customers"
    assert speed_f1.prepare_live(shop_with_model, shop_with_model, 1, query)() == 60
    seeds = "SELECT DISTINCT customer_id AS _entity, ordered_at AS _as_of FROM orders"
    [(expected,)] = rows(shop_with_model, f"SELECT count(*) FROM ({seeds})")
    assert speed_f1.prepare_seeds(shop_with_model, shop_with_model, 1, "churn", seeds)() == expected
    assert speed_rows.prepare_attach(shop_with_model, shop_with_model, 1)() == 0


def measured(variant: str, customers: int, row: str, seconds: float, **others: float) -> Measured:
    timing = Timing(1.0, seconds, int(others.get("entities", customers)), int(others.get("peak", 10**9)))
    return Measured(variant, customers, int(others.get("threads", 2)), row, timing)


RESULTS = [
    measured("one-hop", 10_000, "gather", 0.1, threads=1),
    measured("one-hop", 10_000, "gather", 0.05),
    measured("one-hop", 10_000, "batch", 0.1),
    measured("one-hop", 10_000, "one", 0.01, entities=1),
    measured("one-hop", 10_000, "torch loop", 1.9),
    measured("one-hop", 1_000_000, "batch", 14.0, peak=4 * 10**9),
    measured("one-hop", 1_000_000, "one", 0.03, entities=1),
    measured("hub", 10_000, "batch", 0.1),
    measured("hub", 10_000, "torch loop", 2.1),
    measured("rel-f1", 857, "all drivers", 0.1),
    measured("rel-f1", 857, "gather", 1.6, entities=26_567),
    measured("rel-f1", 857, "attach", 0.3, entities=0),
]


def test_targets_are_met_or_missed_by_what_was_measured_with_most_threads() -> None:
    found = targets(RESULTS)
    assert [(target.sign, target.wanted, round(target.measured, 3), target.met) for target in found] == [
        (">=", 20, 19.0, False),
        ("<=", 20, 10.0, True),
        ("<=", 20, 30.0, False),
        (">=", 75_000, 71428.571, False),
        ("<=", 3, 4.0, False),
        (">=", 20, 21.0, True),
        ("<=", 90, 100.0, False),
        ("<=", 1.5, 1.6, False),
        ("<=", 0.5, 1.0, False),
        ("<=", 0.5, 0.3, True),
        ("<=", 1.3, 1.4, False),
    ]
    lines = target_lines(found).splitlines()
    assert lines[1] == "one-hop, 10,000 customers, one of them, warm, ms: target <= 20, measured 10.00, met"
    assert lines[3].endswith("batch, per second: target >= 75,000, measured 71,428.57, missed")


def test_tables_compare_with_the_gather_query_and_between_threads() -> None:
    lines = table(RESULTS).splitlines()
    assert len(lines) == 2 + len(RESULTS)
    assert lines[4] == "| one-hop, 10,000 customers | 2 | batch | 1.00 | 0.1000 | 100,000 | 0.50 | 1.00 |"
    assert lines[5] == "| one-hop, 10,000 customers | 2 | one | 1.00 | 0.0100 |  |  | 1.00 |"
    threads = threads_table(RESULTS).splitlines()
    assert threads[0] == "| database | row | warm s, 1 thread | warm s, 2 threads | speed-up |"
    assert threads[2:] == ["| one-hop, 10,000 customers | gather | 0.1000 | 0.0500 | 2.00 |"]
    assert threads_table(RESULTS[1:]) == ""


def test_results_are_stored_and_drawn(tmp_path: Path) -> None:
    write_json(tmp_path / "speed.json", RESULTS)
    stored = json.loads((tmp_path / "speed.json").read_text())
    assert [row["row"] for row in stored["rows"]] == [m.row for m in RESULTS]
    assert [target["met"] for target in stored["targets"]].count(True) == 3
    plot(tmp_path / "speed.svg", RESULTS)
    drawn = (tmp_path / "speed.svg").read_text()
    assert drawn.startswith("<?xml") and all(text in drawn for text in ("torch loop", "hub", "customers"))
    assert "all drivers" not in drawn
    plot(tmp_path / "again.svg", RESULTS)
    assert (tmp_path / "again.svg").read_text() == drawn


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--variants", "two-hop"), "one-hop, hub, ten-table, rel-f1"),
        (("--threads", "1,two"), "'1,two' is not a list of numbers"),
        (("--sizes", "0"), "0 is not positive"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, ...], problem: str) -> None:
    found = CliRunner().invoke(speed.main, arguments)
    assert found.exit_code == 2 and problem in found.output


def allocate(size_bytes: int) -> Work:
    """Holds memory, and counts how often it is done."""
    held = bytearray(size_bytes)
    done: list[int] = []

    def work() -> int:
        done.append(len(held))
        return len(done)

    return work


@pytest.mark.parametrize("repeats", [0, 3])
def test_timings_are_of_another_process(repeats: int) -> None:
    before = peak_bytes()
    small, large = (timed(allocate, size, repeats=repeats) for size in (1, 600_000_000))
    assert small.entities == large.entities == 1
    assert large.peak_bytes - small.peak_bytes > 400e6 and peak_bytes() - before < 300e6


def test_slow_work_is_repeated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def prepare() -> Work:
        def work() -> int:
            done.append("once")
            return 1

        return work

    timing.measured(prepare, (), 4)
    assert len(done) == 1 + 4
    monkeypatch.setattr(timing, "ENOUGH_SECONDS", 1e-12)
    timing.measured(prepare, (), 4)
    assert len(done) == (1 + 4) + (1 + 1)

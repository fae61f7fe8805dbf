"""The generated databases: same rows for a seed, no leakage, and a truth that fits the rows and the process."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.data.generated import (
    DATABASES,
    clinics,
    clinics_law,
    league,
    league_forecast,
    read_labels,
    read_truth,
    tickets,
    tickets_law,
    tickets_text,
)
from benchmarks.data.generated.kalman import KalmanFilter, normal_cdf
from benchmarks.known_truth import measure as measuring
from benchmarks.known_truth import report as reporting
from benchmarks.known_truth import run as running
from benchmarks.known_truth.measure import Outcome, measure
from benchmarks.known_truth.report import table, verdict, write_json
from benchmarks.known_truth.run import main
from relsql.demo.league import truth_path
from relsql.demo.truth import attainable_auc, roc_auc
from relsql.errors import DatabaseError
from relsql.schema.reading import read_schema
from relsql.tasks.stored_tasks import read_task

CLINICS_SIZE = clinics_law.Size(patients=120, doctors=10, train_periods=16, evaluation_periods=8)
TICKETS_SIZE = tickets_law.Size(accounts=140, train_periods=16, evaluation_periods=8)
SMALL = {
    "league": replace(DATABASES["league"], create=partial(league.create, seasons=5)),
    "clinics": replace(DATABASES["clinics"], create=partial(clinics.create, size=CLINICS_SIZE)),
    "tickets": replace(DATABASES["tickets"], create=partial(tickets.create, size=TICKETS_SIZE)),
}
NAMES = tuple(SMALL)
EXPECTED_LINKS = {"league": 10, "clinics": 4, "tickets": 3}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: small matrices gain nothing from threads, and are much slower on a busy machine."""
    pytest.importorskip("sklearn.ensemble")  # Only loaded libraries are limited.
    with pytest.importorskip("threadpoolctl").threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small draw of every database."""
    path = tmp_path_factory.mktemp("generated")
    for name, database in SMALL.items():
        database.create(path / f"{name}.duckdb", 1)
    return path


def all_labels(path: Path, name: str) -> pa.Table:
    with duckdb.connect(str(path / f"{name}.duckdb"), read_only=True) as con:
        return pa.concat_tables(read_labels(con, SMALL[name].task).values())


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(path), read_only=True) as con:
        names = con.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {name: con.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for (name,) in names}


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_linked_and_the_task_has_all_splits(folder: Path, name: str) -> None:
    with duckdb.connect(str(folder / f"{name}.duckdb"), read_only=True) as con:
        schema = read_schema(con)
        labels = read_labels(con, SMALL[name].task)
        task = read_task(con, name, SMALL[name].task)
    assert all(each.primary_key for each in schema.tables.values())
    assert len(schema.links) == EXPECTED_LINKS[name] and len(schema.timed_tables) >= 2
    assert task.task_type == "binary_classification"
    for split in ("train", "val", "test"):
        assert labels[split].num_rows > 150
        assert 0.2 < np.mean(labels[split]["label"].to_numpy()) < 0.7, split


@pytest.mark.parametrize("name", ["clinics", "tickets"])
def test_rows_and_truth_depend_on_the_seed_alone(folder: Path, tmp_path: Path, name: str) -> None:
    for seed in (1, 2):
        SMALL[name].create(tmp_path / f"{seed}.duckdb", seed)
    for file in (Path, truth_path):
        again = rows_of(file(tmp_path / "1.duckdb"))
        assert rows_of(file(folder / f"{name}.duckdb")) == again
        assert rows_of(file(tmp_path / "2.duckdb")) != again
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_fit_the_labels(folder: Path, name: str) -> None:
    """Forecast errors of different times are uncorrelated, those of one time are not, so the unit is the time."""
    labels = all_labels(folder, name)
    truth, y = read_truth(folder / f"{name}.duckdb", labels), labels["label"].to_numpy()
    _, time = np.unique(labels["as_of"].to_numpy(), return_inverse=True)
    for p in truth.values():
        assert p.min() >= 0.0 and p.max() <= 1.0
        low, high = np.quantile(p, [1 / 3, 2 / 3])
        for chosen in (p < low, (p >= low) & (p < high), p >= high):
            excess = np.bincount(time[chosen], weights=(y - p)[chosen])
            assert abs(excess.sum()) < 3.5 * np.sqrt((excess**2).sum())


@pytest.mark.parametrize("name", NAMES)
def test_more_knowledge_gives_better_forecasts(folder: Path, name: str) -> None:
    """On all labels, so that the differences stand out: own columns < planted features <= forecast < known state."""
    path, labels = folder / f"{name}.duckdb", all_labels(folder, name)
    with duckdb.connect(str(path), read_only=True) as con:
        groups = list(SMALL[name].features(con, labels).values())
    truth, y = read_truth(path, labels), labels["label"].to_numpy()
    stiff = next(measuring._learners())
    learnt = [roc_auc(y, stiff.fit(x, y).predict_proba(x)[:, 1]) for x in groups]
    forecast, known_state = roc_auc(y, truth["forecast"]), roc_auc(y, truth["known_state"])
    assert learnt[0] + 0.05 < learnt[1] and learnt[1] + 0.01 < learnt[-1]
    assert learnt[0] + 0.1 < forecast
    assert learnt[-1] < forecast + 0.03, "fitted on the labels that it is measured on"
    assert forecast < known_state


def cut_database(con: duckdb.DuckDBPyConnection, path: Path, name: str, until: datetime.datetime) -> None:
    """Copy a database without constraints into the connection's own, with the rows up to `until`."""
    con.execute(f"ATTACH '{path / name}.duckdb' AS whole (READ_ONLY)")
    for each in read_schema(con, "whole").tables.values():
        seen = f"WHERE {each.time_column} <= ?::TIMESTAMP" if each.time_column else "WHERE ? IS NOT NULL"
        con.execute(f"CREATE TABLE {each.name} AS SELECT * FROM {each.sql('whole')} {seen}", [until])
    con.execute("DETACH whole")


@pytest.mark.parametrize("name", NAMES)
def test_labels_lie_within_the_horizon(folder: Path, name: str) -> None:
    """Removing all rows after as_of + horizon changes no label; removing the window removes all events."""
    with duckdb.connect(str(folder / f"{name}.duckdb"), read_only=True) as con:
        task = read_task(con, name, SMALL[name].task)
        labels = read_labels(con, task.name)["test"]
    as_of = labels["as_of"][0].as_py()
    query = task.sql.replace("{timedelta}", task.timedelta)
    for days, same in ((30, True), (0, False)):
        with duckdb.connect() as con:
            cut_database(con, folder, name, as_of + datetime.timedelta(days=days))
            con.execute("CREATE TABLE timestamps AS SELECT ?::TIMESTAMP AS timestamp", [as_of])
            order = f"SELECT {task.entity_col}, {task.target_col} FROM ({query}) ORDER BY ALL"
            found = con.execute(order).fetchall()
        expected = [(row["entity"], row["label"]) for row in labels.to_pylist() if row["as_of"] == as_of]
        assert (found == sorted(expected)) == same


def test_the_league_forecast_reads_no_later_row(folder: Path) -> None:
    labels = all_labels(folder, "league")
    times = sorted(set(labels["as_of"].to_pylist()))
    as_of = times[len(times) // 2]
    chosen = labels.filter(pa.compute.equal(labels["as_of"], pa.scalar(as_of, labels["as_of"].type)))
    with duckdb.connect() as con:
        cut_database(con, folder, "league", as_of)
        found = league._forecasts(con, chosen)
    np.testing.assert_allclose(found, read_truth(folder / "league.duckdb", chosen)["forecast"], atol=1e-12)


def test_the_league_states_what_the_demo_states(folder: Path) -> None:
    labels = all_labels(folder, "league")
    path = folder / "league.duckdb"
    rows = zip(*(labels[name].to_pylist() for name in ("entity", "as_of", "label")), strict=True)
    expected = attainable_auc(truth_path(path), rows, foresight=False)
    assert roc_auc(labels["label"], read_truth(path, labels)["known_state"]) == pytest.approx(expected, abs=1e-9)


def test_league_calendars_hold_the_race_that_came(folder: Path) -> None:
    with duckdb.connect(str(folder / "league.duckdb"), read_only=True) as con:
        races = league._races(con)
    for last, race in itertools.pairwise(races):
        season = [each.date for each in races if each.season == last.season and each.date <= last.date]
        gaps = tuple((b - a).days for a, b in itertools.pairwise(season))
        today = league_forecast.Day(last.date, last.season, last.number, gaps)
        days = league_forecast._next_days(today, last.date)
        assert sum(probability for probability, _ in days) == pytest.approx(1.0)
        assert race.date in [day.date for _, day in days]


def test_clinics_forecast_reads_no_later_row() -> None:
    size = clinics_law.Size(patients=30, doctors=4, train_periods=4, evaluation_periods=2)
    draw = clinics_law.simulate(np.random.default_rng(3), size)
    changed = list(draw.periods)
    changed[5] = replace(changed[5], readings=changed[5].readings + 20.0)
    before, after = clinics_law.forecasts(draw, size), clinics_law.forecasts(replace(draw, periods=changed), size)
    same = [np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 6 + [False] * 3


def test_tickets_forecast_reads_no_later_row() -> None:
    size = tickets_law.Size(accounts=30, train_periods=4, evaluation_periods=2)
    draw = tickets_law.simulate(np.random.default_rng(3), size)
    changed = list(draw.periods)
    changed[5] = replace(changed[5], tones=changed[5].tones[:, ::-1], ordered=~changed[5].ordered)
    changed[5] = replace(changed[5], amount=np.where(changed[5].ordered, 120.0, np.nan))
    before, after = tickets_law.forecasts(draw), tickets_law.forecasts(replace(draw, periods=changed))
    same = [np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 6 + [False] * 3


def test_kalman_filter_equals_conditioning_on_all_observations_at_once() -> None:
    rng = np.random.default_rng(0)
    decay, noise = np.array([0.9, 0.5]), np.array([0.7, 1.1, 0.4])
    states, weights = np.array([[0, 1], [1, 0], [0, 1]]), np.array([[1.0, 2.0], [1.0, 0.0], [0.5, -1.0]])
    dense = np.array([[1.0, 2.0], [0.0, 1.0], [0.5, -1.0]])
    values = rng.normal(size=(3, 3))
    found = KalmanFilter.stationary(2)
    for step in range(3):
        found.step(decay)
        found.observe(states, weights, values[step], noise)
    found.step(decay)
    # The covariance of a state with itself k steps apart is decay^k; index 3 is the state to forecast.
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    covariance = np.zeros((8, 8))
    for i in range(2):
        covariance[i::2, i::2] = decay[i] ** apart
    seen = np.kron(np.eye(3, 4), dense)
    gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + np.diag(np.tile(noise**2, 3)))
    np.testing.assert_allclose(found.mean, (gain @ values.ravel())[6:], atol=1e-12)
    np.testing.assert_allclose(found.covariance, (covariance - gain @ seen @ covariance)[6:, 6:], atol=1e-12)
    found.restart(np.array([1]))
    assert found.mean[1] == 0.0 and found.covariance[1].tolist() == [0.0, 1.0]


def test_normal_cdf() -> None:
    np.testing.assert_allclose(normal_cdf(np.array([-1.959964, 0.0, 1.0])), [0.025, 0.5, 0.841345], atol=1e-6)


def test_forward_algorithm_equals_the_sum_over_all_paths() -> None:
    """One account, two periods seen: 15^2 * 3 paths of mood and level, each with its probability."""
    size = tickets_law.Size(accounts=3, train_periods=1, evaluation_periods=1)
    draw = tickets_law.simulate(np.random.default_rng(5), size)
    moods, levels = tickets_law.MOOD_MOVES, tickets_law.level_moves()
    no_order = tickets_law.no_order_probability(draw.plan)[0]
    total = forecast = 0.0
    for path in itertools.product(range(3), range(3), range(3), range(5), range(5), range(5)):
        mood, level = path[:3], path[3:]
        weight = tickets_law.stationary(moods)[mood[0]] * tickets_law.stationary(levels)[level[0]]
        for step in range(2):
            period, miss = draw.periods[step], no_order[mood[step], level[step]]
            off = (period.amount[0] - tickets_law.AMOUNT_BASE) / tickets_law.AMOUNT_PER_LEVEL - level[step]
            normal = np.exp(-0.5 * (off / tickets_law.AMOUNT_NOISE) ** 2)
            weight *= (1 - miss) * normal if period.ordered[0] else miss
            weight *= moods[mood[step], mood[step + 1]] * levels[level[step], level[step + 1]]
            weight *= np.prod(tickets_law.TONE_GIVEN_MOOD[mood[step + 1]] ** period.tones[0])
        total += weight
        forecast += weight * no_order[mood[2], level[2]]
    assert tickets_law.forecasts(draw)[2][0][0] == pytest.approx(forecast / total, abs=1e-12)


def test_only_the_words_of_a_ticket_show_its_tone(folder: Path) -> None:
    words = [word for tone in tickets_text.TONES for word in tickets_text.SYNONYMS[tone]]
    fillers = tickets_text.THINGS + tickets_text.PLACES + tickets_text.TIMES + tickets_text.PEOPLE
    assert len(words) == len(set(words)) and not set(words) & set(fillers)
    with duckdb.connect(str(folder / "tickets.duckdb"), read_only=True) as con:
        found = con.execute("SELECT channel, subject, body FROM tickets").fetchall()
    assert len({body for _, _, body in found}) > 0.99 * len(found)
    assert len({subject for _, subject, _ in found}) > 300, "more than a column of categories may have"
    vocabulary = set()
    for _, subject, body in found:
        said = tickets_text.words(body)
        tones = {tone for tone in tickets_text.TONES if set(said) & set(tickets_text.SYNONYMS[tone])}
        assert 6 <= len(said) <= 15 and len(tones) == 1, body
        assert not set(subject.split()) & set(words)
        vocabulary |= set(said)
    assert 150 < len(vocabulary) < 400 and vocabulary <= set(tickets_text.vocabulary())


def score_with(path: Path, column: str) -> Callable[[duckdb.DuckDBPyConnection, str], np.ndarray]:
    def score(con: duckdb.DuckDBPyConnection, task: str) -> np.ndarray:
        return read_truth(path, read_labels(con, task)["test"])[column]

    return score


def test_the_best_forecast_recovers_everything(tmp_path: Path) -> None:
    path = tmp_path / "tickets-2.duckdb"
    outcome = measure(SMALL["tickets"], 2, tmp_path, score_with(path, "forecast"))
    assert outcome.model == outcome.attainable and outcome.share(outcome.attainable) == 1.0
    assert outcome.labels["train"] > outcome.labels["val"] > 8 * TICKETS_SIZE.accounts / 2
    assert list(outcome.told) == ["own columns", "one hop", "words, not their meaning", "text"]
    assert "tickets: 100.0 % recovered, target 95 % met" in verdict([outcome])
    worse = replace(outcome, model=outcome.own_columns)
    assert "tickets: 0.0 % recovered, target 95 % missed" in verdict([worse])
    assert "tickets: 50.0 % recovered" in verdict([outcome, worse])
    assert "| tickets | **relsql** | " in table([outcome, worse])
    write_json(tmp_path / "out.json", [outcome, worse])
    assert [row["share"] for row in json.loads((tmp_path / "out.json").read_text())] == [1.0, 0.0]


def test_the_command_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "DATABASES", SMALL)
    monkeypatch.setattr(reporting, "DATABASES", SMALL)
    main(["--databases", "clinics", "--cache", str(tmp_path), "--references-only", "--out", str(tmp_path / "o.json")])
    printed = capsys.readouterr().out
    assert "| clinics | told: two hops |" in printed and "relsql" not in printed
    assert json.loads((tmp_path / "o.json").read_text())[0]["model"] is None
    with pytest.raises(DatabaseError, match="no generated database 'clinic'.*did you mean 'clinics'"):
        main(["--databases", "clinic", "--cache", str(tmp_path)])


def test_outcomes_without_a_model_have_no_verdict() -> None:
    outcome = Outcome("x", 1, {"train": 1, "val": 1, "test": 1}, 0.5, 0.5, {"own columns": 0.5, "a": 0.7}, 0.8, 0.9)
    assert verdict([outcome]) == ""
    assert outcome.share(0.65) == pytest.approx(0.5)
    assert "| x | told: a | 0.7000 | 66.7 % |" in table([outcome])

"""The demo league: same rows for a seed, valid links, a usable task, and a truth that fits the draws."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

from relsql.demo.league import TABLES, TIME_COLUMNS, create_league, truth_path
from relsql.demo.simulate import TEAM_LEVELS, level_transition, retirement_probability, swaps_between
from relsql.demo.truth import attainable_auc, roc_auc
from relsql.errors import DatabaseError, TaskError
from relsql.schema.reading import read_schema
from relsql.tasks.stored_tasks import read_task
from relsql.tasks.task import Task

DAY = datetime.timedelta(days=1)
MONTH = 30 * DAY


@pytest.fixture(scope="module")
def league(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default league."""
    path = tmp_path_factory.mktemp("demo") / "league.duckdb"
    create_league(path)
    return path


@pytest.fixture(scope="module")
def con(league: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(league), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def truth(league: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(truth_path(league)), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def task(con: duckdb.DuckDBPyConnection) -> Task:
    return read_task(con, "league", "driver-dnf")


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of a file, the ones of schema `relsql` included."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for (name,) in names}


def seeds(con: duckdb.DuckDBPyConnection, task: Task, split: str) -> list[datetime.datetime]:
    """The timestamps of a split, one horizon apart, as RelBench lays them out."""
    assert task.val_timestamp is not None and task.test_timestamp is not None
    steps = range(task.num_eval_timestamps)
    if split != "train":
        start = task.val_timestamp if split == "val" else task.test_timestamp
        return [start + step * MONTH for step in steps]
    (first,) = con.execute("SELECT min(date)::TIMESTAMP FROM races").fetchall()[0]
    count = (task.val_timestamp - first) // MONTH
    return [task.val_timestamp - step * MONTH for step in range(1, count + 1)]


def labels(
    con: duckdb.DuckDBPyConnection, task: Task, times: list[datetime.datetime]
) -> list[tuple[int, datetime.datetime, int]]:
    """The label rows (driver_id, date, label) at `times`."""
    label_sql = task.sql.replace("{timedelta}", task.timedelta)
    query = f"""WITH timestamps AS (SELECT unnest(?::TIMESTAMP[]) AS timestamp)
                SELECT driver_id, date, did_not_finish FROM ({label_sql}) ORDER BY ALL"""
    return con.execute(query, [times]).fetchall()


def test_same_seed_gives_the_same_rows(league: Path, tmp_path: Path) -> None:
    create_league(tmp_path / "again.duckdb")
    create_league(tmp_path / "other.duckdb", seed=8)
    assert rows_of(tmp_path / "again.duckdb") == rows_of(league)
    assert rows_of(truth_path(tmp_path / "again.duckdb")) == rows_of(truth_path(league))
    assert rows_of(tmp_path / "other.duckdb")["main.results"] != rows_of(league)["main.results"]


def test_sizes(con: duckdb.DuckDBPyConnection) -> None:
    sizes = {name: con.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in TABLES}
    assert sizes["races"] == 11 * 18 + 12
    assert sizes["results"] == sizes["qualifying"] == sizes["races"] * 21
    assert 30 <= sizes["drivers"] <= 120
    assert min(sizes.values()) >= 7


def test_the_schema_has_keys_links_and_time_columns(con: duckdb.DuckDBPyConnection) -> None:
    schema = read_schema(con)
    assert set(schema.tables) == set(TABLES), "nothing but the league's own tables is visible to a model"
    assert schema.table("drivers").primary_key == ("driver_id",)
    for name, table in schema.tables.items():
        assert len(table.primary_key) == 1, name
        assert table.time_column == TIME_COLUMNS.get(name)
    assert {str(link) for link in schema.links_from("results")} == {
        "results(race_id) -> races(race_id)",
        "results(driver_id) -> drivers(driver_id)",
        "results(team_id) -> teams(team_id)",
    }
    assert len(schema.links) == 10


def test_links_hold(con: duckdb.DuckDBPyConnection) -> None:
    for link in read_schema(con).links:
        query = f"SELECT count(*) FROM {link.child} ANTI JOIN {link.parent} USING ({link.child_columns[0]})"
        assert con.execute(query).fetchall() == [(0,)], str(link)


def test_constraints_are_enforced(tmp_path: Path) -> None:
    create_league(tmp_path / "league.duckdb", seasons=4)
    with duckdb.connect(str(tmp_path / "league.duckdb")) as connection:
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("UPDATE results SET driver_id = -1 WHERE result_id = 1")
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("INSERT INTO drivers SELECT * FROM drivers")


@pytest.mark.parametrize(
    "column",
    [
        "drivers.home_town",
        "drivers.car_number",
        "teams.title_sponsor",
        "circuits.altitude_m",
        "contracts.salary_millions",
        "team_upgrades.cost_millions",
        "races.air_celsius",
        "qualifying.lap_seconds",
        "results.position",
        "results.race_seconds",
    ],
)
def test_columns_with_nulls_have_both(con: duckdb.DuckDBPyConnection, column: str) -> None:
    table, name = column.split(".")
    filled, total = con.execute(f"SELECT count({name}), count(*) FROM {table}").fetchall()[0]
    assert 0 < filled < total


def test_rows_agree_with_each_other(con: duckdb.DuckDBPyConnection) -> None:
    wrong = """
        SELECT count(*) FROM results r JOIN races USING (race_id) JOIN qualifying q USING (race_id, driver_id)
        WHERE r.date <> races.date OR q.date <> races.date - 1 OR q.team_id <> r.team_id OR q.position <> r.grid
           OR (r.position IS NULL) <> (r.status <> 'Finished') OR (r.race_seconds IS NULL) <> (r.position IS NULL)
           OR r.team_id <> (SELECT arg_max(c.team_id, c.signed_on) FROM contracts c
                            WHERE c.driver_id = r.driver_id AND c.signed_on <= r.date)"""
    assert con.execute(wrong).fetchall() == [(0,)]


def test_drivers_come_go_and_change_teams(con: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT count(DISTINCT season), count(DISTINCT team_id) FROM contracts GROUP BY driver_id"
    careers = con.execute(query).fetchall()
    assert sum(seasons < 12 for seasons, _ in careers) > len(careers) / 2
    assert sum(teams > 1 for _, teams in careers) > len(careers) / 2


def test_names_are_unique(con: duckdb.DuckDBPyConnection) -> None:
    for table in ("drivers", "teams", "circuits"):
        assert con.execute(f"SELECT count(*) - count(DISTINCT name) FROM {table}").fetchall() == [(0,)]


def test_nothing_lies_after_the_last_result(con: duckdb.DuckDBPyConnection) -> None:
    last = con.execute("SELECT max(date) FROM results").fetchall()[0][0]
    for table, column in TIME_COLUMNS.items():
        assert con.execute(f"SELECT max({column}) FROM {table}").fetchall()[0][0] <= last, table


@pytest.mark.parametrize(("split", "rows"), [("train", 1500), ("val", 300), ("test", 300)])
def test_each_split_has_both_classes(con: duckdb.DuckDBPyConnection, task: Task, split: str, rows: int) -> None:
    values = [label for _, _, label in labels(con, task, seeds(con, task, split))]
    assert len(values) >= rows
    assert 0.25 < np.mean(values) < 0.75


def test_splits_follow_each_other_and_end_with_the_data(con: duckdb.DuckDBPyConnection, task: Task) -> None:
    last = con.execute("SELECT max(date)::TIMESTAMP FROM results").fetchall()[0][0]
    assert seeds(con, task, "val")[-1] + MONTH == task.test_timestamp
    assert seeds(con, task, "test")[-1] + MONTH == last


def test_label_rows_do_not_depend_on_later_rows(con: duckdb.DuckDBPyConnection, task: Task, league: Path) -> None:
    """Results up to a time determine which drivers are active then, so removing later rows changes nothing."""
    time = seeds(con, task, "test")[0]
    with duckdb.connect() as cut:
        cut.execute(f"ATTACH '{league}' AS full_league (READ_ONLY)")
        query = "CREATE TABLE results AS SELECT * FROM full_league.results WHERE date <= ?::TIMESTAMP"
        cut.execute(query, [time + MONTH])
        found = labels(cut, task, [time])
    assert found == labels(con, task, [time])
    assert found


def test_labels_are_those_of_plain_python(con: duckdb.DuckDBPyConnection, task: Task) -> None:
    results = con.execute("SELECT driver_id, date::TIMESTAMP, status FROM results").fetchall()
    times = seeds(con, task, "val")
    expected = []
    for time in times:
        active = {driver for driver, date, _ in results if time - 365 * DAY < date <= time}
        window = [(driver, status) for driver, date, status in results if time < date <= time + MONTH]
        for driver in sorted(active & {driver for driver, _ in window}):
            expected.append((driver, time, int(any(s != "Finished" for d, s in window if d == driver))))
    assert labels(con, task, times) == sorted(expected)


def test_every_start_has_a_probability(league: Path, con: duckdb.DuckDBPyConnection) -> None:
    stored = rows_of(truth_path(league))["main.retirement_probabilities"]
    starts = con.execute("SELECT driver_id, race_id, team_id, date FROM results ORDER BY ALL").fetchall()
    assert [row[:4] for row in stored] == starts


def test_probabilities_are_what_the_stored_terms_say(truth: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT probability, other_logit, team_level FROM retirement_probabilities"
    probability, other, level = (np.array(column) for column in zip(*truth.execute(query).fetchall(), strict=True))
    assert probability.min() > 0.0 and probability.max() < 1.0
    expected = retirement_probability(other + np.array(TEAM_LEVELS)[level])
    np.testing.assert_allclose(probability, expected, atol=1e-12)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_probabilities_fit_the_draws(tmp_path: Path, seed: int) -> None:
    """Errors within a race are correlated, because its cars share the weather, so the unit is the race."""
    path = tmp_path / "league.duckdb"
    create_league(path, seed=seed, seasons=6)
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute(f"ATTACH '{truth_path(path)}' AS truth (READ_ONLY)")
        query = """SELECT r.race_id, (r.status <> 'Finished')::INTEGER, t.probability
                   FROM results r JOIN truth.retirement_probabilities t USING (race_id, driver_id)"""
        race, retired, probability = (
            np.array(column) for column in zip(*connection.execute(query).fetchall(), strict=True)
        )
    for chosen in (probability < 0.2, (probability >= 0.2) & (probability < 0.45), probability >= 0.45, race > 0):
        excess = np.bincount(race[chosen], weights=(retired - probability)[chosen])
        assert abs(excess.sum()) < 3.0 * np.sqrt((excess**2).sum())


def test_level_transition_is_that_of_the_walk() -> None:
    once, many = level_transition(1), level_transition(400)
    np.testing.assert_allclose(once.sum(axis=1), 1.0)
    assert once[0, 1] == pytest.approx(1 / 6) and once[0, 2] == 0.0 and once[3, 3] == pytest.approx(4 / 6)
    np.testing.assert_allclose(many, 1 / len(TEAM_LEVELS), atol=1e-4)
    np.testing.assert_allclose(level_transition(0), np.eye(len(TEAM_LEVELS)))


def test_swaps_add_up_over_days() -> None:
    start = datetime.date(2020, 1, 3)
    parts = [swaps_between(start + step * 14 * DAY, start + (step + 1) * 14 * DAY) for step in range(40)]
    assert sum(parts) == swaps_between(start, start + 40 * 14 * DAY) > 0


def test_team_levels_stay_a_permutation(truth: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT count(DISTINCT team_level), count(DISTINCT (team_id, team_level)) FROM retirement_probabilities"
    counts = set(truth.execute(f"{query} GROUP BY race_id").fetchall())
    assert counts == {(len(TEAM_LEVELS), len(TEAM_LEVELS))}


def test_roc_auc_equals_sklearn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for n, decimals in [(2, 1), (50, 1), (500, 2), (500, 9)]:
        truth_labels = rng.permutation(np.arange(n) % 2)
        scores = np.round(rng.normal(truth_labels * 0.7), decimals)
        assert roc_auc(truth_labels, scores) == pytest.approx(metrics.roc_auc_score(truth_labels, scores), abs=1e-12)


def test_roc_auc_by_hand() -> None:
    assert roc_auc([0, 1], [0.1, 0.2]) == 1.0
    assert roc_auc([0, 1], [0.2, 0.1]) == 0.0
    assert roc_auc([0, 1, 0, 1], [1, 1, 1, 1]) == 0.5
    assert roc_auc([0, 0, 1, 1], [1, 2, 2, 3]) == 0.875


def test_roc_auc_needs_both_classes() -> None:
    with pytest.raises(TaskError, match="3 positive and 0 negative"):
        roc_auc([1, 1, 1], [0.1, 0.2, 0.3])


def test_oracles_reach_the_documented_range(league: Path, con: duckdb.DuckDBPyConnection, task: Task) -> None:
    rows = labels(con, task, seeds(con, task, "test"))
    assert 0.78 <= attainable_auc(truth_path(league), rows) <= 0.85
    assert 0.76 <= attainable_auc(truth_path(league), rows, foresight=False) <= 0.84


def test_foresight_helps_on_all_rows_together(league: Path, con: duckdb.DuckDBPyConnection, task: Task) -> None:
    rows = [row for split in ("train", "val", "test") for row in labels(con, task, seeds(con, task, split))]
    known, forecast = (attainable_auc(truth_path(league), rows, foresight=flag) for flag in (True, False))
    assert 0.7 < forecast < known


def test_oracle_combines_the_races_of_the_window(
    league: Path, con: duckdb.DuckDBPyConnection, truth: duckdb.DuckDBPyConnection, task: Task
) -> None:
    rows = labels(con, task, seeds(con, task, "val")[:6])
    scores = []
    for driver, time, _ in rows:
        query = """SELECT 1 - product(1 - probability) FROM retirement_probabilities
                   WHERE driver_id = ? AND date > ?::TIMESTAMP AND date <= ?::TIMESTAMP"""
        scores.append(truth.execute(query, [driver, time, time + MONTH]).fetchall()[0][0])
    expected = roc_auc([label for _, _, label in rows], scores)
    assert attainable_auc(truth_path(league), rows) == pytest.approx(expected, abs=1e-12)


def test_the_teams_results_say_more_than_the_drivers_own(con: duckdb.DuckDBPyConnection, task: Task) -> None:
    """Rank by the retirement rate of the last results before the seed: the driver's, or those of the driver's team."""
    rows = [row for split in ("train", "val", "test") for row in labels(con, task, seeds(con, task, split))]
    query = """
        WITH seeds AS (SELECT unnest(?::INTEGER[]) AS driver_id, unnest(?::TIMESTAMP[]) AS time),
        past AS (
            SELECT s.driver_id, s.time, (r.status <> 'Finished')::INTEGER AS retired,
                   row_number() OVER (PARTITION BY s.driver_id, s.time ORDER BY r.date DESC, r.result_id) AS nth
            FROM seeds s JOIN results r ON r.date <= s.time AND {link}
        )
        SELECT driver_id, time, avg(retired) FROM past WHERE nth <= {k} GROUP BY ALL"""
    team = """r.team_id = (SELECT arg_max(c.team_id, c.signed_on) FROM contracts c
                           WHERE c.driver_id = s.driver_id AND c.signed_on <= s.time)"""
    auc = {}
    for name, link, k in [("own", "r.driver_id = s.driver_id", 10), ("team", team, 20)]:
        arguments = [[row[0] for row in rows], [row[1] for row in rows]]
        found = {(d, t): rate for d, t, rate in con.execute(query.format(link=link, k=k), arguments).fetchall()}
        auc[name] = roc_auc([row[2] for row in rows], [found.get(row[:2], 0.33) for row in rows])
    assert 0.55 < auc["own"] < 0.72
    assert auc["own"] + 0.03 < auc["team"]


def test_existing_files_are_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "we'ird \"name.duckdb"
    create_league(path, seasons=4)
    before = rows_of(path)
    with pytest.raises(DatabaseError, match=r"exists.*Fix: relsql demo"):
        create_league(path, seed=8, seasons=4)
    assert rows_of(path) == before
    path.with_name(path.name + ".wal").write_bytes(b"left over")
    create_league(path, seed=8, seasons=4, overwrite=True)
    assert rows_of(path)["main.results"] != before["main.results"]
    assert sorted(tmp_path.iterdir()) == sorted([path, truth_path(path)]), "no temporary file is left"


def test_a_truth_without_its_league_is_left_over_from_a_stopped_run_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "league.duckdb"
    create_league(path, seasons=4)
    before = rows_of(path)
    path.unlink()
    create_league(path, seasons=4)
    assert rows_of(path) == before
    path.unlink()
    with duckdb.connect(str(truth_path(path))) as con:
        con.execute("CREATE TABLE mine AS SELECT 1 AS i")
    with pytest.raises(DatabaseError, match="league.truth.duckdb' exists"):
        create_league(path, seasons=4)


def test_a_file_that_is_not_a_database_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.duckdb"
    path.write_text("dear diary, " * 2000)
    with pytest.raises(DatabaseError):
        create_league(path, seasons=4, overwrite=True)
    assert path.read_text().startswith("dear diary")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="does not exist"):
        create_league(tmp_path / "nowhere" / "league.duckdb", seasons=4)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr("relsql.demo.league.save_task", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        create_league(tmp_path / "league.duckdb", seasons=4)
    assert list(tmp_path.iterdir()) == []


def test_a_short_league_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="at least 4 seasons"):
        create_league(tmp_path / "league.duckdb", seasons=3)


def test_a_league_of_four_seasons_has_all_splits(tmp_path: Path) -> None:
    path = tmp_path / "league.duckdb"
    create_league(path, seasons=4)
    with duckdb.connect(str(path), read_only=True) as connection:
        short = read_task(connection, "league", "driver-dnf")
        for split in ("train", "val", "test"):
            values = {label for _, _, label in labels(connection, short, seeds(connection, short, split))}
            assert values == {0, 1}, split

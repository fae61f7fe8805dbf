"""Versions of models: references, promoting and dropping."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import relsql
from relsql.cli import cli
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import ensure_table
from relsql.errors import ArtifactError, DatabaseError, ModelError, SchemaDriftError
from relsql.registry import promote as versions
from relsql.registry.models import activate, find_model, read_models
from relsql.registry.row_embeddings import table_name
from relsql.registry.versions import ModelReference, parse_reference
from relsql.training.train import train
from tests.odd_data import store_bare_weights
from tests.shop import QUICK, TASK, age_cards, contents, create_shop, seal_models

Connection = duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with versions 1, 2 and 3 of `churn`, and a model `other`; they hold bare weights."""
    path = tmp_path_factory.mktemp("versions") / "shop.duckdb"
    create_shop(path)
    with pytest.MonkeyPatch.context() as monkeypatch, duckdb.connect(str(path)) as con:
        store_bare_weights(monkeypatch)
        for seed in range(3):
            train(con, TASK, name="churn", options=replace(QUICK, seed=seed))
        train(con, TASK, name="other", options=QUICK)
    return path


@pytest.fixture
def path(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(trained, tmp_path / "shop.duckdb"))


@pytest.fixture
def con(path: Path) -> Iterator[Connection]:
    with duckdb.connect(str(path)) as con:
        yield con


def active(con: Connection, name: str = "churn") -> int:
    return find_model(con, current_catalog(con), name).version


def set_metric(con: Connection, values: dict[int, float], metric: str = "val_roc_auc", name: str = "churn") -> None:
    for version, value in values.items():
        metrics = json.dumps({metric: value, "temperature": 1.0})
        con.execute("UPDATE relsql.models SET metrics = ? WHERE (name, version) = (?, ?)", [metrics, name, version])
    seal_models(con)


# References


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [("dnf", "dnf", None), ("dnf@2", "dnf", 2), ("dnf@best", "dnf", "best"), ("Dnf_9@previous", "Dnf_9", "previous")],
)
def test_references(text: str, name: str, version: object) -> None:
    assert parse_reference(text) == ModelReference(name, version)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["dnf@", "dnf@0", "dnf@-1", "dnf@1.5", "dnf@²", "dnf@2@3", "dnf@ 2", "dnf@Best"])
def test_texts_that_are_not_references(text: str) -> None:
    with pytest.raises(ModelError, match="names no version of model 'dnf'. Expected: dnf@1, dnf@best or dnf@previous"):
        parse_reference(text)


@pytest.mark.parametrize("name", ["chrun", "", "@2", "it's", 'a"b', "churn; DROP TABLE orders"])
def test_names_that_do_not_exist(con: Connection, name: str) -> None:
    for call in (lambda: relsql.promote(con, name, 1), lambda: relsql.drop(con, name, all_versions=True)):
        with pytest.raises(ModelError, match="does not exist.*churn, other|names no version"):
            call()


def test_a_missing_version_is_reported_with_the_existing_ones(con: Connection) -> None:
    with pytest.raises(
        ModelError, match="'churn' has no version 4. Expected: one of: 1, 2, 3. Fix: relsql models FILE"
    ):
        relsql.promote(con, "churn", 4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=6))
def test_previous_is_what_was_active_before_whatever_was_promoted(promoted: list[int]) -> None:
    with duckdb.connect() as con:
        models = ensure_table(con, "memory", "models")
        history = []
        for version in (1, 2, 3, 4, *promoted):
            if version == len(history) + 1 <= 4:
                values = "'m', $version, 'retired', 't', 'x', TIMESTAMP '2024-01-01', '{}', '', '', NULL, NULL, NULL"
                con.execute(f"INSERT INTO {models} VALUES ({values}, NULL)", {"version": version})
            activate(con, "memory", "m", version)
            history.append(version)
        others = [version for version in history if version != history[-1]]
        assert find_model(con, "memory", "m@previous").version == others[-1]
        assert find_model(con, "memory", "m").version == history[-1]


# Promote


def test_promote_and_previous(con: Connection) -> None:
    done = relsql.promote(con, "churn", 1)
    assert (done.name, done.version, done.replaced, done.comparison) == ("churn", 1, 3, None)
    assert (active(con), active(con, "other")) == (1, 1)
    assert [relsql.promote(con, "churn", "previous").version for _ in range(2)] == [3, 1]
    assert relsql.promote(con, "churn", 2).replaced == 1
    assert relsql.promote(con, "churn", "previous").version == 1
    statuses = [
        (model.version, model.status) for model in read_models(con, current_catalog(con)) if model.name == "churn"
    ]
    assert statuses == [(1, "active"), (2, "retired"), (3, "retired")]


def test_promoting_the_active_version_changes_nothing(con: Connection) -> None:
    before = contents(con)
    assert relsql.promote(con, "churn", 3).replaced == 3
    assert contents(con) == before


def test_best_by_roc_auc_and_by_error(con: Connection) -> None:
    set_metric(con, {1: 0.71, 2: 0.93, 3: 0.7})
    found = relsql.promote(con, "churn", "best")
    assert (found.version, found.replaced) == (2, 3)
    assert str(found.comparison) == ("val_roc_auc, higher is better: version 2 0.93, version 1 0.71, version 3 0.7")
    set_metric(con, {1: 2.5, 2: 30.0, 3: 4.0}, "val_mae")
    assert relsql.promote(con, "churn", "best").version == 1
    set_metric(con, {1: 0.5, 2: 0.4, 3: 0.6}, "val_log_loss")
    assert relsql.promote(con, "churn", "best").version == 2


def test_equally_good_versions_leave_the_active_one(con: Connection) -> None:
    set_metric(con, {1: 0.7, 2: 0.7, 3: 0.6})
    assert relsql.promote(con, "churn", "best").version == 2
    relsql.promote(con, "churn", 1)
    assert relsql.promote(con, "churn", "best").version == 1


@pytest.mark.parametrize(
    "other",
    [
        """replace(card, '2022-09-01T00:00:00', '2022-08-01T00:00:00')""",
        """regexp_replace(card, '"regime": "[a-z-]*"', '"regime": "frozen"')""",
        """replace(card, '30 days', '20 days')""",
        "'not JSON'",
    ],
)
def test_versions_that_were_validated_on_something_else_are_not_compared(con: Connection, other: str) -> None:
    set_metric(con, {1: 0.99, 2: 0.7, 3: 0.6})
    con.execute(f"UPDATE relsql.models SET card = {other} WHERE name = 'churn' AND version = 1")
    seal_models(con)
    done = relsql.promote(con, "churn", "best")
    assert done.version == 2 and done.comparison is not None and done.comparison.left_out == (1,)
    assert "validated on other labels, not compared: 1" in str(done.comparison)


def test_a_description_makes_no_other_task(con: Connection) -> None:
    set_metric(con, {1: 0.99, 2: 0.7, 3: 0.6})
    con.execute("""UPDATE relsql.models SET card = replace(card, '"description": null', '"description": "old"')
                   WHERE version = 1""")
    seal_models(con)
    assert relsql.promote(con, "churn", "best").version == 1


def test_without_other_versions_there_is_no_previous(con: Connection) -> None:
    with pytest.raises(ModelError, match="'other' has no previous version"):
        relsql.promote(con, "other", "previous")
    assert relsql.promote(con, "other", "best").version == 1


def test_an_interrupted_promotion_changes_nothing(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(cursor: Connection, *args: object) -> None:
        activate(cursor, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    before = contents(con)
    monkeypatch.setattr(versions, "activate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        relsql.promote(con, "churn", 1)
    assert contents(con) == before and active(con) == 3


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("DELETE FROM relsql.artifacts WHERE version = 1", ArtifactError),
        ("UPDATE relsql.models SET card = '{' WHERE version = 1", ArtifactError),
        ("ALTER TABLE orders DROP COLUMN note", SchemaDriftError),
    ],
)
def test_a_version_that_cannot_score_is_not_promoted(con: Connection, damage: str, error: type[Exception]) -> None:
    con.execute(damage)
    with pytest.raises(error):
        relsql.promote(con, "churn", 1)
    assert active(con) == 3


def test_a_file_of_an_earlier_build(con: Connection) -> None:
    age_cards(con)
    for column in ("activated", "request", "digest"):
        con.execute(f"ALTER TABLE relsql.models DROP COLUMN {column}")
    assert find_model(con, current_catalog(con), "churn@previous").version == 2
    assert relsql.promote(con, "churn", 1).replaced == 3
    assert relsql.promote(con, "churn", "previous").version == 3


def test_a_read_only_file_and_an_open_transaction(path: Path, con: Connection) -> None:
    con.execute("BEGIN")
    con.execute("INSERT INTO shops VALUES (9, 'Oulu')")
    relsql.promote(con, "churn", 1)
    con.execute("ROLLBACK")
    assert active(con) == 1
    con.close()
    with duckdb.connect(str(path), read_only=True) as reader:
        for call in (lambda: relsql.promote(reader, "churn", 2), lambda: relsql.drop(reader, "churn@2")):
            with pytest.raises(DatabaseError, match="read-only"):
                call()


def test_a_model_without_active_version_can_be_repaired(con: Connection) -> None:
    con.execute("UPDATE relsql.models SET status = 'retired'")
    with pytest.raises(ModelError, match="no active version. Fix: relsql promote FILE churn VERSION"):
        active(con)
    assert relsql.promote(con, "churn", 2).replaced is None
    assert active(con) == 2


# Drop


def numbers(con: Connection, table: str, column: str) -> set[int]:
    rows = con.execute(f"SELECT DISTINCT version FROM relsql.{table} WHERE {column} = 'churn'").fetchall()
    return {row[0] for row in rows}


def test_a_version_is_dropped_with_everything_that_belongs_to_it(con: Connection) -> None:
    relsql.promote(con, "churn", 1)
    catalog = current_catalog(con)
    identity, kept = (find_model(con, catalog, f"churn@{version}").sha256 for version in (3, 1))
    for target, job in (("risk", identity), ("other_risk", kept)):
        ensure_table(con, catalog, "score_jobs")
        con.execute("INSERT INTO relsql.score_jobs (target, identity) VALUES (?, ?)", [target, job])
        con.execute(f"INSERT INTO {ensure_table(con, catalog, 'score_fingerprints')} VALUES (?, '1', 1)", [target])
    before = contents(con)
    assert relsql.drop(con, "churn@3") == (3,)
    after = contents(con)
    changed = {name for name in before if after.get(name) != before[name]}
    gone = ("models", "artifacts", "score_fingerprints", table_name(identity))
    assert changed == {f"relsql.{name}" for name in gone}
    assert numbers(con, "models", "name") == numbers(con, "artifacts", "model") == {1, 2}
    assert con.execute("SELECT target FROM relsql.score_fingerprints").fetchall() == [("other_risk",)]
    assert active(con) == 1 and relsql.promote(con, "churn", "previous").version == 2


def test_the_active_version_is_not_dropped(con: Connection) -> None:
    before = contents(con)
    for reference in ("churn@3", "churn@best"):
        set_metric(con, {3: 0.999})
        before = contents(con)
        with pytest.raises(ModelError, match="version 3 of model 'churn' is active.*Fix: relsql promote FILE churn"):
            relsql.drop(con, reference)
    with pytest.raises(ModelError, match="the only one.*--all"):
        relsql.drop(con, "other@1")
    with pytest.raises(ModelError, match="churn@1, churn@2, churn@3, or --all"):
        relsql.drop(con, "churn")
    with pytest.raises(ModelError, match="names one version, not all"):
        relsql.drop(con, "churn@1", all_versions=True)
    assert contents(con) == before


def test_a_whole_model_is_dropped_and_its_version_numbers_are_not_reused(
    con: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relsql.drop(con, "churn", all_versions=True) == (1, 2, 3)
    assert {model.name for model in read_models(con, current_catalog(con))} == {"other"}
    tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'row_embeddings%'").fetchall()
    assert tables == [(table_name(find_model(con, current_catalog(con), "other").sha256),)]
    store_bare_weights(monkeypatch)
    assert train(con, TASK, name="churn", options=QUICK).version == 4


def test_an_interrupted_drop_changes_nothing(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    real = versions._drop_version

    def interrupt(cursor: Connection, catalog: str, model: versions.ModelRow) -> None:
        real(cursor, catalog, model)
        if model.version == 2:
            raise KeyboardInterrupt

    before = contents(con)
    monkeypatch.setattr(versions, "_drop_version", interrupt)
    with pytest.raises(KeyboardInterrupt):
        relsql.drop(con, "churn", all_versions=True)
    assert contents(con) == before


# The commands


def invoke(*args: object, stdin: str = "") -> Result:
    result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin, prog_name="relsql")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_models_shows_status_and_main_metric(path: Path) -> None:
    lines = [line.split()[:7] for line in invoke("models", path).stdout.splitlines()[2:]]
    assert [line[:4] for line in lines] == [
        ["churn", "1", "retired", "customer-churn"],
        ["churn", "2", "retired", "customer-churn"],
        ["churn", "3", "active", "customer-churn"],
        ["other", "1", "active", "customer-churn"],
    ]
    found = json.loads(invoke("models", path, "--json").stdout)
    assert lines[0][4:] == ["probability", "val_roc_auc", f"{found[0]['metrics']['val_roc_auc']:.4g}"]


def test_promote_says_what_it_did(path: Path) -> None:
    result = invoke("promote", path, "churn", "1")
    assert result.stdout.startswith("churn\t1\tval_roc_auc=0.")
    assert "version 1 of model churn is active now, was version 3" in result.stderr
    assert f"relsql refresh {path} churn" in result.stderr
    assert "is active already" in invoke("promote", path, "churn", "1").stderr
    done = json.loads(invoke("promote", path, "churn", "best", "--json").stdout)
    assert done["replaced"] == 1 and set(done["comparison"]["values"]) == {"1", "2", "3"}
    wrong = invoke("promote", path, "churn", "latest")
    assert wrong.exit_code == 1 and "churn@best or churn@previous" in wrong.stderr


def test_promote_warns_that_plain_sql_is_another_version(path: Path) -> None:
    with duckdb.connect(str(path)) as con:
        publications = ensure_table(con, current_catalog(con), "publications")
        con.execute(f"INSERT INTO {publications} (model, version) VALUES ('churn', 3), ('other', 1)")
    line = f"plain SQL still scores with version 3: relsql publish {path} churn"
    assert line in invoke("promote", path, "churn", "2").stderr
    assert line not in invoke("promote", path, "churn", "3").stderr


def test_drop_asks_or_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("drop", path, "churn@1").exit_code == 2
    assert "promote" in invoke("drop", path, "churn@3", "--yes").stderr
    monkeypatch.setattr("relsql.cli.commands.versions.can_ask", lambda: True)
    assert "nothing was dropped" in invoke("drop", path, "churn@1", stdin="n\n").stderr
    assert "dropped: churn@1\n" in invoke("drop", path, "churn@1", stdin="y\n").stderr
    assert "dropped: churn@2, churn@3\n" in invoke("drop", path, "churn", "--all", "--yes").stderr
    assert [line.split()[0] for line in invoke("models", path).stdout.splitlines()[2:]] == ["other"]

"""A model goes into a folder and into another file, and gives the same scores there."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from click.testing import CliRunner

import relsql
from relsql.bundles.bundle import read_bundle
from relsql.bundles.manifest import MANIFEST
from relsql.cli import cli
from relsql.errors import ArtifactError, DatabaseError, ModelError, SchemaDriftError
from relsql.registry.models import active_card, read_models
from tests.shop import contents

Connection = duckdb.DuckDBPyConnection
SCORES = "SELECT * EXCLUDE (score, version), score FROM predict_churn_batch({}) ORDER BY customer_id"
ONE_BY_ONE = "SELECT customer_id, predict_churn(customer_id) FROM customers ORDER BY customer_id"


def scores(con: Connection) -> list[Any]:
    """Scores to the bit, of all entities at two moments and one by one."""
    moments = ("", "as_of := TIMESTAMP '2022-06-01'")
    return [con.execute(query).fetchall() for query in (*map(SCORES.format, moments), ONE_BY_ONE)]


def of_file(path: Path) -> list[Any]:
    with relsql.connect(path) as con:
        return scores(con)


def test_scores_of_another_file_with_the_same_rows_are_equal_to_the_bit(
    trained_market: Path, exported: Path, other: Connection
) -> None:
    done = relsql.import_model(other, exported)
    assert (done.name, done.version, done.source_version, done.replaced, done.published) == ("churn", 1, 1, None, None)
    relsql.attach(other)
    assert scores(other) == of_file(trained_market)


def test_scores_of_a_copy_are_equal_to_the_bit_and_the_new_version_is_the_active_one(
    market: Path, exported: Path
) -> None:
    before = of_file(market)
    with duckdb.connect(str(market)) as con:
        done = relsql.import_model(con, exported)
        assert (done.version, done.replaced) == (2, 1)
        assert [(each.version, each.status) for each in read_models(con, "market")] == [(1, "retired"), (2, "active")]
        assert relsql.promote(con, "churn", "previous").version == 1
        assert relsql.promote(con, "churn", 2).version == 2
    assert of_file(market) == before


def test_plain_sql_after_an_import_gives_what_it_gave_before(
    published: Path, exported: Path, other: Connection
) -> None:
    relsql.import_model(other, exported)
    relsql.publish(other, "churn")
    with duckdb.connect(str(published), read_only=True) as plain:
        assert scores(plain) == scores(other)
    relsql.selftest(other, "churn")


def test_an_import_leaves_published_sql_as_it_is(published: Path, exported: Path, tmp_path: Path) -> None:
    with duckdb.connect(shutil.copy(published, tmp_path / "market.duckdb")) as plain:
        before = scores(plain)
        assert relsql.import_model(plain, exported).published == 1
        assert scores(plain) == before


def test_a_bundle_of_an_imported_model_is_the_same_bundle(bundle: Path, other: Connection, tmp_path: Path) -> None:
    relsql.import_model(other, bundle)
    relsql.export_model(other, "churn", tmp_path / "again")
    first, second = read_bundle(bundle), read_bundle(tmp_path / "again")
    assert first.artifacts == second.artifacts
    assert (bundle / "row_embeddings.parquet").read_bytes() == (tmp_path / "again/row_embeddings.parquet").read_bytes()
    kept = {"metrics", "fingerprint"}
    cards = [{k: v for k, v in msgspec.structs.asdict(each.card).items() if k not in kept} for each in (first, second)]
    assert cards[0] == cards[1]


def test_exports_of_one_model_are_equal_to_the_byte(market: Path, exported: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(market), read_only=True) as con:
        before = contents(con)
        relsql.export_model(con, "churn@1", tmp_path / "again")
        assert contents(con) == before
    for file in exported.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_facts_of_the_old_file_do_not_come_along(exported: Path, other: Connection) -> None:
    other.execute("INSERT INTO visits VALUES (1, 'page 1', 2, TIMESTAMP '1900-01-01')")
    relsql.import_model(other, exported)
    card, old = active_card(other, "other", "churn"), read_bundle(exported).card
    assert (card.trained_until, card.stale_after_days, card.created) == (
        old.trained_until,
        old.stale_after_days,
        old.created,
    )
    # Metrics of other labels are kept, but nothing is compared with them.
    assert set(card.metrics) == {key.replace("val_", "source_val_") for key in old.metrics}
    with pytest.raises(ModelError, match="cannot be compared"):
        relsql.promote(other, "churn", "best")
    found, trained = card.schema.table("visits").events, old.schema.table("visits").events
    assert found is not None and trained is not None
    assert (found.after is None, trained.after is None) == (False, True)
    assert read_models(other, "other")[0].request is None


def test_a_table_without_rows_keeps_the_times_of_training(exported: Path, tmp_path: Path) -> None:
    old = read_bundle(exported).card
    with duckdb.connect(str(tmp_path / "empty.duckdb")) as con:
        from tests.odd_data import create_market

        create_market(con, tables="; ".join(f"DELETE FROM {table}" for table in old.schema.tables))
        relsql.import_model(con, exported)
        card = active_card(con, "empty", "churn")
        assert [table.events for table in card.schema.tables.values()] == [x.events for x in old.schema.tables.values()]
        relsql.attach(con)
        assert con.execute("SELECT * FROM predict_churn_batch()").fetchall() == []


def test_models_over_views_of_the_same_rows_give_the_same_scores(
    trained_market: Path, exported: Path, tmp_path: Path
) -> None:
    from relsql.schema.declared.declarations import Declarations
    from tests.odd_data import _KEYS, LINKS

    with duckdb.connect(str(tmp_path / "views.duckdb")) as con:
        con.execute(f"ATTACH '{trained_market}' AS data (READ_ONLY)")
        for table in _KEYS:
            con.execute(f"COPY data.{table} TO '{tmp_path / table}.parquet'")
            con.execute(f"CREATE VIEW {table} AS FROM '{tmp_path / table}.parquet'")
        con.execute("DETACH data; SET TimeZone = 'UTC'")
        declared = Declarations.parse(
            primary_keys=[f"{table}({key})" for table, (key, _) in _KEYS.items() if key],
            links=LINKS,
            time_columns=[f"{table}({time})" for table, (_, time) in _KEYS.items() if time],
        )
        declared.store(con, "views")
        relsql.import_model(con, exported)
        relsql.attach(con)
        found = scores(con)
    for mine, theirs in zip(found, of_file(trained_market), strict=True):
        assert [row[:-1] for row in mine] == [row[:-1] for row in theirs]
        assert [row[-1] for row in mine] == pytest.approx([row[-1] for row in theirs], abs=1e-6)


def test_threads_that_import_at_the_same_time_get_different_versions(exported: Path, other: Connection) -> None:
    found: list[int] = []

    def work() -> None:
        with other.cursor() as cursor:
            found.append(relsql.import_model(cursor, exported).version)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1, 2, 3]


def test_the_number_of_a_dropped_version_is_not_given_again(exported: Path, other: Connection) -> None:
    assert [relsql.import_model(other, exported).version for _ in range(2)] == [1, 2]
    relsql.promote(other, "churn", 1)
    relsql.drop(other, "churn@2")
    assert relsql.import_model(other, exported).version == 3


def test_names(exported: Path, other: Connection) -> None:
    assert relsql.import_model(other, exported, name="risk").name == "risk"
    assert relsql.import_model(other, exported, name="RISK").name == "risk"
    for name in ("risk_full", "9", "a b"):
        with pytest.raises(ModelError, match="Fix: relsql import .* --name ANOTHER"):
            relsql.import_model(other, exported, name=name)
    other.execute("CREATE MACRO predict_churn(x) AS 1")
    with pytest.raises(ModelError, match="a macro 'predict_churn' exists"):
        relsql.import_model(other, exported)


def test_texts_of_deleted_rows_are_not_exported_and_new_ones_are_counted(market: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(market)) as con:
        con.execute("UPDATE customers SET name = 'somebody new' WHERE customer_id = 3")
        done = relsql.export_model(con, "churn", tmp_path / "model")
        assert done.missing == 1
        rows = con.execute(f"SELECT text FROM '{tmp_path / 'model'}/row_embeddings.parquet'").fetchall()
    texts = {text for (text,) in rows}
    assert len(rows) == len(texts) == done.texts
    assert not any(part.strip() == "customer 3" for text in texts for part in text.split("|"))


def test_a_model_whose_tables_changed_is_not_exported(market: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(market)) as con:
        con.execute("ALTER TABLE customers DROP COLUMN name")
        with pytest.raises(SchemaDriftError, match="column customers.name is missing"):
            relsql.export_model(con, "churn", tmp_path / "model")
    assert list(tmp_path.glob("*model*")) == []


def test_damaged_embeddings_are_not_exported(market: Path, tmp_path: Path) -> None:
    from tests.shop import embeddings_table

    with duckdb.connect(str(market)) as con:
        con.execute(f"UPDATE {embeddings_table(con)} SET digest = digest + 1 WHERE rowid = 2")
        with pytest.raises(ArtifactError, match="row embeddings .* are damaged"):
            relsql.export_model(con, "churn", tmp_path / "model")
    assert [file.name for file in tmp_path.iterdir()] == ["market.duckdb"]


class TestTheFolder:
    def test_an_existing_folder_is_refused_without_overwrite(self, market: Path, bundle: Path) -> None:
        before = {file.name: file.read_bytes() for file in bundle.iterdir()}
        with duckdb.connect(str(market)) as con:
            with pytest.raises(DatabaseError, match="exists already.*Fix: relsql export FILE churn@1 --output"):
                relsql.export_model(con, "churn", bundle)
            assert {file.name: file.read_bytes() for file in bundle.iterdir()} == before
            relsql.export_model(con, "churn", bundle, overwrite=True)
        assert {file.name: file.read_bytes() for file in bundle.iterdir()} == before
        assert {file.name for file in bundle.parent.iterdir()} == {"market.duckdb", "model"}

    @pytest.mark.parametrize("what", ["folder", "empty", "file", "link", "extra", "no manifest", "damaged"])
    def test_what_is_no_bundle_is_not_replaced(self, market: Path, bundle: Path, what: str, tmp_path: Path) -> None:
        target = tmp_path / "target"
        if what == "file":
            target.write_text("mine")
        elif what == "link":
            target.symlink_to(bundle)
        elif what in ("folder", "empty"):
            target.mkdir()
        else:
            shutil.move(bundle, target)
            if what == "extra":
                (target / "notes.txt").write_text("mine")
            elif what == "no manifest":
                (target / MANIFEST).unlink()
            else:
                (target / MANIFEST).write_text("{}")
        if what == "folder":
            (target / "mine.txt").write_text("mine")
        before = sorted(target.iterdir()) if target.is_dir() else target.read_text()
        with duckdb.connect(str(market)) as con, pytest.raises(DatabaseError, match="is not replaced"):
            relsql.export_model(con, "churn", target, overwrite=True)
        assert (sorted(target.iterdir()) if target.is_dir() else target.read_text()) == before

    @pytest.mark.parametrize("path", ["nowhere/model", "."])
    def test_a_place_that_cannot_be(self, market: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(market.parent)
        with duckdb.connect(str(market)) as con, pytest.raises(DatabaseError, match="cannot be created|exists"):
            relsql.export_model(con, "churn", path)

    def test_nothing_is_left_when_writing_fails(
        self, market: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        before = {file.name: file.read_bytes() for file in bundle.iterdir()}
        monkeypatch.setattr("os.fsync", fail)
        with duckdb.connect(str(market)) as con, pytest.raises(DatabaseError, match="No space left"):
            relsql.export_model(con, "churn", bundle, overwrite=True)
        assert {file.name: file.read_bytes() for file in bundle.iterdir()} == before
        assert {file.name for file in bundle.parent.iterdir()} == {"market.duckdb", "model"}

    @pytest.mark.parametrize("failing", [1, 2])
    def test_the_old_bundle_stays_when_a_rename_fails(
        self, market: Path, bundle: Path, failing: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename, calls = Path.rename, []

        def fail_once(path: Path, target: Path) -> Path:
            calls.append(path)
            if len(calls) == failing:
                raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fail_once)
        with duckdb.connect(str(market)) as con, pytest.raises(DatabaseError, match="cannot be written"):
            relsql.export_model(con, "churn", bundle, overwrite=True)
        read_bundle(bundle)
        assert {file.name for file in bundle.parent.iterdir()} == {"market.duckdb", "model"}


def test_a_bundle_is_readable_without_duckdb(exported: Path) -> None:
    """Other programs need JSON, ONNX and Parquet."""
    import json

    import onnx
    import pyarrow.parquet as pq

    manifest = json.loads((exported / MANIFEST).read_text())
    assert manifest["format"] == 1 and manifest["files"].keys() | {MANIFEST} == {x.name for x in exported.iterdir()}
    plan, schema = (json.loads((exported / name).read_text()) for name in ("plan.json", "schema.json"))
    assert {path["table"] for path in plan["paths"]} <= schema["tables"].keys()
    assert any(name.startswith("path ") for name in manifest["files"])
    onnx.checker.check_model(onnx.load(exported / "graph.onnx"))
    table = pq.read_table(exported / "row_embeddings.parquet")
    assert table.column_names == ["text", "embedding"] and table.num_rows == manifest["texts"] > 0


def test_the_command_line(market: Path, tmp_path: Path) -> None:
    run, folder = CliRunner().invoke, tmp_path / "model"
    done = run(cli, ["export", str(market), "churn@best", "--output", str(folder)])
    assert done.exit_code == 0 and done.stdout.startswith("churn\t1\tfiles=")
    done = run(cli, ["export", str(market), "churn", "--output", str(folder), "--json", "--overwrite"])
    assert done.exit_code == 0 and '"missing": 0' in done.stdout
    done = run(cli, ["import", str(folder), str(market)])
    assert done.exit_code == 0 and done.stdout.startswith("churn\t2\ttexts=")
    assert "version 2 of model churn is active now, was version 1" in done.stderr
    done = run(cli, ["import", str(folder), str(market), "--name", "risk", "--json"])
    assert done.exit_code == 0 and '"name": "risk"' in done.stdout
    for wrong in (["import", str(folder)], ["import", str(folder), str(market), "--overwrite"]):
        assert run(cli, wrong).exit_code == 2
    assert run(cli, ["import", str(market), str(tmp_path / "x.duckdb"), "--name", "y"]).exit_code == 2
    done = run(cli, ["import", str(folder), str(tmp_path / "x.duckdb")])
    assert done.exit_code == 1 and "does not exist" in done.stderr
    (folder / MANIFEST).unlink()
    done = run(cli, ["import", str(folder), str(tmp_path / "x.duckdb")])
    assert done.exit_code == 1 and not (tmp_path / "x.duckdb").exists()

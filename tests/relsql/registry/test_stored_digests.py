"""What is stored of a model is compared with its digests when it is read; files of earlier builds have none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import ClassVar

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli
from relsql.cli.inspection import inspect, render_text
from relsql.database.connections import transaction
from relsql.database.relsql_tables import TABLES, ensure_table, read_sealed, seal_rows
from relsql.errors import ArtifactError, ModelError
from relsql.publishing.publish import publish
from relsql.publishing.selftest import selftest
from relsql.registry.models import active_card, read_card
from relsql.registry.promote import promote
from relsql.registry.row_embeddings import check_embeddings
from relsql.scoring.refresh import refresh
from tests.shop import age_cards, embeddings_table
from udfs import attach

SCORES = "SELECT predict_churn(customer_id) FROM customers ORDER BY customer_id"


@pytest.fixture(autouse=True)
def no_scorers() -> None:
    """Let each test read again what is stored."""
    attach._SCORERS.clear()


def scores(con: duckdb.DuckDBPyConnection, query: str = SCORES) -> np.ndarray:
    return np.array(con.execute(query).fetchall(), dtype=np.float64)[:, 0]


def damage(path: Path, statement: str) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute(statement.replace("EMBEDDINGS", embeddings_table(con)))


def as_earlier_build(path: Path) -> None:
    """Remove what earlier builds did not write."""
    with duckdb.connect(str(path)) as con:
        con.execute(f"ALTER TABLE {embeddings_table(con)} DROP COLUMN digest")
        con.execute("ALTER TABLE relsql.models DROP COLUMN digest")
        age_cards(con)
        if con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'publications'").fetchall() == [(1,)]:
            con.execute("ALTER TABLE relsql.publications DROP COLUMN IF EXISTS digest")
            con.execute("ALTER TABLE relsql.publications DROP COLUMN IF EXISTS objects")


@pytest.mark.parametrize("table", ["models", "publications", "score_jobs"])
def test_the_digest_of_a_row_covers_all_but_states_and_times_of_work(table: str) -> None:
    # Rows of earlier builds have no keep_history, so their digests cannot cover it.
    free = {"status", "activated", "sql_difference", "started", "updated", "keep_history"}
    with duckdb.connect() as con:
        ensure_table(con, "memory", table)
        con.execute(f"INSERT INTO relsql.{table} (digest) VALUES (NULL)")
        seal_rows(con, "memory", table)
        for column, kind in (column.split(" ", 1) for column in TABLES[table].split(", ")):
            value = "['1']" if kind.endswith("[]") else "TIMESTAMP '2022-01-01'" if kind == "TIMESTAMP" else "1"
            con.execute(f"BEGIN; UPDATE relsql.{table} SET {column} = {value}")
            [row] = read_sealed(con, "memory", table)
            con.execute("ROLLBACK")
            assert row.intact == (column in free), column


class TestCard:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"stale_after_days": ', '"stale_after_days": 1'),
            ("30.0,", "31.0,"),
            ('"gift"', '"gifts"'),
            ('"seed": ', '"seed": 1'),
        ],
    )
    def test_a_changed_field_is_refused_with_the_command_that_repairs_it(self, shop: Path, old: str, new: str) -> None:
        damage(shop, f"UPDATE relsql.models SET card = replace(card, '{old}', '{new}')")
        with duckdb.connect(str(shop)) as con, pytest.raises(ArtifactError, match="digest|damaged") as caught:
            relsql.attach(con)
        assert str(caught.value).endswith("Fix: relsql train FILE customer-churn --name churn")

    def test_space_in_the_text_counts_too(self, shop: Path) -> None:
        damage(shop, "UPDATE relsql.models SET card = card || ' '")
        with duckdb.connect(str(shop)) as con, pytest.raises(ArtifactError, match="does not have the digest"):
            relsql.attach(con)

    def test_a_missing_digest_is_not_taken_for_an_earlier_build(self, shop: Path) -> None:
        damage(shop, "UPDATE relsql.models SET digest = NULL")
        with duckdb.connect(str(shop)) as con, pytest.raises(ArtifactError, match="does not have the digest"):
            relsql.attach(con)

    @pytest.mark.parametrize("column", ["name", "version", "task", "task_type", "sha256"])
    def test_a_row_that_contradicts_its_card_is_refused_without_a_digest_too(self, shop: Path, column: str) -> None:
        as_earlier_build(shop)
        value = "version + 1" if column == "version" else f"{column} || 'x'"
        damage(shop, f"UPDATE relsql.models SET {column} = {value}")
        with duckdb.connect(str(shop)) as con, pytest.raises(ArtifactError, match=f"has the {column}"):
            relsql.attach(con)

    def test_missing_metrics_and_bytes_are_reported_on_one_line(self, shop: Path) -> None:
        damage(shop, "UPDATE relsql.models SET metrics = NULL")
        done = CliRunner().invoke(cli, ["models", str(shop)])
        assert done.exit_code == 0
        assert "the row of model 'churn' version 1 in relsql's table models is damaged" in done.stderr
        damage(shop, "UPDATE relsql.artifacts SET bytes = NULL")
        done = CliRunner().invoke(cli, ["sql", str(shop), SCORES])
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)

    @pytest.mark.parametrize("table", ["models", "EMBEDDINGS"])
    def test_a_dropped_digest_is_not_taken_for_an_earlier_build(self, shop: Path, table: str) -> None:
        """The format of the card says that its build stored digests."""
        table = table if table == "EMBEDDINGS" else f"relsql.{table}"
        damage(shop, f"ALTER TABLE {table} DROP COLUMN digest")
        with duckdb.connect(str(shop)) as con, pytest.raises(ArtifactError, match="digest|damaged"):
            relsql.attach(con)
            scores(con)

    def test_refresh_replaces_embeddings_whose_digests_were_dropped(self, shop: Path) -> None:
        with duckdb.connect(str(shop)) as con:
            relsql.attach(con)
            before = scores(con)
        attach._SCORERS.clear()
        damage(
            shop, "ALTER TABLE EMBEDDINGS DROP COLUMN digest; UPDATE EMBEDDINGS SET embedding = [1 FOR x IN embedding]"
        )
        with duckdb.connect(str(shop)) as con:
            assert relsql.refresh(con, "churn").repaired > 0
            relsql.attach(con)
            np.testing.assert_allclose(scores(con), before, atol=1e-6, rtol=0)


class TestActive:
    @pytest.fixture
    def two_versions(self, shop: Path) -> Path:
        import msgspec

        from relsql.registry.models import read_artifacts, save_model

        with duckdb.connect(str(shop)) as con:
            card = active_card(con, "shop", "churn")
            second = msgspec.structs.replace(card, version=2, stale_after_days=1.0)
            with transaction(con):
                none = np.zeros((0, 1), dtype=np.float32)
                save_model(con, "shop", second, read_artifacts(con, "shop", card), [], none)
        return shop

    def test_two_active_versions_are_refused_until_one_is_promoted(self, two_versions: Path) -> None:
        damage(two_versions, "UPDATE relsql.models SET status = 'active'")
        with duckdb.connect(str(two_versions)) as con:
            with pytest.raises(ArtifactError, match="2 active versions, 1 and 2.*relsql promote FILE churn VERSION"):
                relsql.attach(con)
            promote(con, "churn", 1)
            assert relsql.attach(con)
            assert active_card(con, "shop", "churn").version == 1

    def test_versions_whose_states_were_swapped_are_refused_until_one_is_promoted(self, two_versions: Path) -> None:
        damage(
            two_versions, "UPDATE relsql.models SET status = CASE status WHEN 'active' THEN 'retired' ELSE 'active' END"
        )
        with duckdb.connect(str(two_versions)) as con:
            with pytest.raises(ArtifactError, match="version 1 is active, but another one was made active after it"):
                relsql.attach(con)
            promote(con, "churn", 2)
            assert active_card(con, "shop", "churn").version == 2

    @pytest.mark.parametrize("status", ["active ", "ACTIVE", "retired?", "", None])
    def test_an_unknown_status_is_refused_until_a_version_is_promoted(
        self, two_versions: Path, status: str | None
    ) -> None:
        refused = rf"'churn' version 2 has the status '{re.escape(status or '?')}'. Expected: active or retired. " + (
            "Fix: relsql promote FILE churn VERSION"
        )
        with duckdb.connect(str(two_versions)) as con:
            con.execute("UPDATE relsql.models SET status = ? WHERE version = 2", [status])
            for use in (
                lambda: relsql.attach(con),
                lambda: relsql.attach(con, models=["churn@2"]),
                lambda: relsql.attach(con, models=["churn@best"]),
                lambda: relsql.score_into(con, "churn", "risk"),
                lambda: publish(con, "churn"),
                lambda: selftest(con, "churn"),
                lambda: relsql.drop(con, "churn@2"),
            ):
                with pytest.raises(ArtifactError, match=refused):
                    use()
            assert relsql.attach(con, models=["churn@1"])
            assert re.search(refused, render_text(inspect(con, "shop")))
            assert relsql.promote(con, "churn", 1).version == 1
            assert con.execute("SELECT status FROM relsql.models ORDER BY version").fetchall() == [
                ("active",),
                ("retired",),
            ]
            assert relsql.attach(con)

    def test_a_model_without_an_active_version_is_not_taken_for_no_model(self, two_versions: Path) -> None:
        damage(two_versions, "UPDATE relsql.models SET status = 'retired'")
        with duckdb.connect(str(two_versions)) as con:
            with pytest.raises(ModelError, match="'churn' has no active version. Fix: relsql promote FILE churn"):
                relsql.attach(con)
            assert "'churn' has no active version" in render_text(inspect(con, "shop"))


class TestEmbeddings:
    CHANGES: ClassVar[dict[str, str]] = {
        "one number": "embedding = list_transform(embedding::FLOAT[], lambda x, i: x + (i = 1)::FLOAT)",
        "NaN": "embedding = list_transform(embedding::FLOAT[], lambda x, i: CASE WHEN i > 1 THEN x ELSE 'nan' END)",
        "NULL": "embedding = NULL",
        "text": "text = text || ' '",
        "key": "text_hash = text_hash + 1",
        "digest": "digest = NULL",
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_changed_row_is_refused_and_refresh_repairs_it(self, shop: Path, change: str) -> None:
        with relsql.connect(shop) as con:
            expected = scores(con)
        attach._SCORERS.clear()
        damage(shop, f"UPDATE EMBEDDINGS SET {self.CHANGES[change]} WHERE rowid = 7")
        with duckdb.connect(str(shop)) as con:
            with pytest.raises(
                ArtifactError, match="row embeddings of model 'churn' version 1 are damaged: 1 of"
            ) as caught:
                relsql.attach(con)
            assert str(caught.value).endswith("Fix: relsql refresh FILE churn@1")
            done = refresh(con, "churn")
            assert (done.repaired, done.new) == (1, 1)
            relsql.attach(con)
            assert np.abs(scores(con) - expected).max() < 1e-6
            assert check_embeddings(con, "shop", active_card(con, "shop", "churn"))

    def test_shuffled_embeddings_are_refused(self, shop: Path) -> None:
        damage(
            shop,
            "UPDATE EMBEDDINGS SET embedding = o.embedding FROM (SELECT rowid AS i, embedding FROM EMBEDDINGS) o "
            "WHERE o.i = (EMBEDDINGS.rowid + 1) % (SELECT count(*) FROM EMBEDDINGS)",
        )
        with duckdb.connect(str(shop)) as con, pytest.raises(ArtifactError, match="row embeddings .* damaged"):
            relsql.attach(con)

    def test_rows_that_are_looked_up_later_are_checked_then(self, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from udfs import stored_embeddings

        monkeypatch.setattr(stored_embeddings, "PRELOADED", 0)
        damage(shop, "UPDATE EMBEDDINGS SET embedding = list_reverse(embedding::FLOAT[])")
        with relsql.connect(shop) as con, pytest.raises(duckdb.Error, match="row embeddings .* damaged"):
            scores(con)
        done = CliRunner().invoke(cli, ["sql", str(shop), SCORES])
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)


class TestEarlierBuilds:
    def test_a_file_without_digests_scores_and_gets_them_by_refresh(self, shop: Path) -> None:
        with relsql.connect(shop) as con:
            expected = scores(con)
            publish(con, "churn")
        as_earlier_build(shop)
        attach._SCORERS.clear()
        with relsql.connect(shop) as con:
            assert (scores(con) == expected).all()
            assert selftest(con, "churn").without_digest == ("card", "row embeddings", "plain SQL")
            refresh(con, "churn")
            assert selftest(con, "churn").without_digest == ()
            relsql.attach(con)
            assert (scores(con) == expected).all()

    def test_an_embedding_that_is_nan_is_refused_without_a_digest_too(self, shop: Path) -> None:
        as_earlier_build(shop)
        damage(shop, f"UPDATE EMBEDDINGS SET {TestEmbeddings.CHANGES['NaN']} WHERE rowid = 7")
        with duckdb.connect(str(shop)) as con:
            with pytest.raises(ArtifactError, match="row embeddings .* damaged"):
                relsql.attach(con)
            assert refresh(con, "churn").repaired == 1
            assert relsql.attach(con)


class TestCopies:
    def test_a_copy_with_another_card_does_not_change_the_original(self, shop: Path, tmp_path: Path) -> None:
        """Same name, version and artefacts: their identity is equal, their cards are not."""
        copy = Path(shutil.copy(shop, tmp_path / "copy.duckdb"))
        with duckdb.connect(str(copy)) as con:
            con.execute(
                """UPDATE relsql.models SET card = regexp_replace(card, '"stale_after_days": [0-9.]+',
                                                                  '"stale_after_days": 0.001')"""
            )
            seal_rows(con, "copy", "models")
        query = "SELECT DISTINCT predict_churn_full(customer_id).status AS s FROM {}.customers ORDER BY s"
        with duckdb.connect() as con:
            con.execute(f"ATTACH '{copy}' AS copy (READ_ONLY); ATTACH '{shop}' AS shop (READ_ONLY)")
            relsql.attach(con, database="copy")
            assert ("stale",) in con.execute(query.format("copy")).fetchall()
            relsql.detach(con)  # Both databases have a model churn.
            relsql.attach(con, database="shop")
            assert ("stale",) not in con.execute(query.format("shop")).fetchall()
            cards = [read_card(con, name, "churn", 1) for name in ("shop", "copy")]
            assert cards[0].identity == cards[1].identity
            assert cards[0].score_function != cards[1].score_function

    def test_a_copy_with_other_embeddings_does_not_change_the_original(self, shop: Path, tmp_path: Path) -> None:
        """Equal cards, and digests that were recomputed for other embeddings."""
        copy = Path(shutil.copy(shop, tmp_path / "copy.duckdb"))
        as_earlier_build(copy)
        damage(copy, "UPDATE EMBEDDINGS SET embedding = list_transform(embedding::FLOAT[], lambda x: 3 * x)")
        with duckdb.connect(str(copy)) as con:
            refresh(con, "churn")
        query = "SELECT predict_churn(customer_id) FROM {}.customers ORDER BY customer_id"
        with relsql.connect(shop) as con:
            expected = scores(con)
        with duckdb.connect() as con:
            con.execute(f"ATTACH '{copy}' AS copy (READ_ONLY); ATTACH '{shop}' AS shop (READ_ONLY)")
            relsql.attach(con, database="copy")
            assert np.abs(scores(con, query.format("copy")) - expected).max() > 1e-4
            relsql.detach(con)  # Both databases have a model churn.
            relsql.attach(con, database="shop")
            assert (scores(con, query.format("shop")) == expected).all()

"""Tests of views over files: label queries read the files that views name, and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.database.connections import foreign_database, open_database
from relsql.database.sources.external_access import allowed_files, has_external_access
from relsql.errors import TaskError
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link
from relsql.tasks.labels.label_table import label_table
from tests.shop import QUICK, TASK, create_shop

VIEWS = {
    "a name": "SELECT * FROM 'orders.parquet'",
    "a call": "SELECT * REPLACE (upper(note) AS note) FROM read_parquet('orders.parquet')",
    "a list": "SELECT * FROM read_csv(['orders.csv'], header = true)",
    "a pattern": "SELECT * FROM read_parquet('parts/*/*.parquet', hive_partitioning = false)",
    "JSON": "SELECT * REPLACE (ordered_at::TIMESTAMP AS ordered_at) FROM 'orders.json'",
    "an absolute path": "SELECT * FROM '{folder}/orders.parquet'",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop's orders as files, a file that no view names, and a database with the other tables."""
    folder = tmp_path_factory.mktemp("files")
    create_shop(folder / "made.duckdb")
    (folder / "parts" / "one").mkdir(parents=True)
    with duckdb.connect(str(folder / "shop.duckdb")) as con:
        con.execute(f"ATTACH '{folder / 'made.duckdb'}' AS made (READ_ONLY)")
        for table in ("shops", "customers"):
            con.execute(f"CREATE TABLE {table} AS FROM made.{table}")
        for file in ("orders.parquet", "orders.csv", "orders.json", "parts/one/a.parquet", "parts/other.parquet"):
            con.execute(f"COPY made.orders TO '{folder / file}'")
    (folder / "secret.csv").write_text("a,b\n1,launch code\n")
    return folder


@pytest.fixture
def shop(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data)
    path = tmp_path / "shop.duckdb"
    path.write_bytes((data / "shop.duckdb").read_bytes())
    return path


def with_view(path: Path, query: str) -> None:
    with relsql.connect(path) as con:
        con.execute(f"CREATE VIEW orders AS {query.format(folder=Path.cwd())}")
        declare_table(con, "shop", "customers", primary_key=("customer_id",))
        declare_table(con, "shop", "orders", primary_key=("order_id",), time_column="ordered_at")
        declare_link(con, "shop", Link("orders", ("customer_id",), "customers", ("customer_id",)))


@pytest.mark.parametrize("kind", VIEWS)
def test_labels_read_the_files_that_views_name(shop: Path, kind: str) -> None:
    with_view(shop, VIEWS[kind])
    with open_database(shop, external=False) as con:
        assert not has_external_access(con)
        schema = read_schema(con)
        assert schema.table("orders").is_view and len(schema.links) == 1
        labels = label_table(con, "shop", schema, TASK, "train")
    with duckdb.connect("made.duckdb", read_only=True) as con:
        expected = label_table(con, "made", read_schema(con), TASK, "train")
    assert labels.table.equals(expected.table) and expected.table.num_rows > 0


ATTACKS = {
    "the file of a view": "FROM 'orders.parquet'",
    "the file of a view, by a call": "FROM read_parquet('orders.parquet')",
    "a file beside it": "FROM 'secret.csv'",
    "a password file": "FROM read_csv('/etc/passwd')",
    "a text": "FROM read_text('orders.parquet')",
    "a list of files": "FROM glob('*')",
    "a view of a text": "FROM leak_text",
    "a view of a computed name": "FROM leak_computed",
    "a view of a macro that reads": "FROM leak_macro",
    "a macro that reads": "FROM reads()",
    "a file of a server": "FROM read_csv('https://127.0.0.1:1/a.csv')",
    "a view that lists files": "FROM leak_list",
}


@pytest.mark.parametrize("title", ATTACKS)
@pytest.mark.parametrize("external", [True, False])
def test_a_task_reads_no_other_file(shop: Path, title: str, external: bool) -> None:
    with_view(shop, VIEWS["a name"])
    with relsql.connect(shop) as con:
        con.execute("CREATE VIEW leak_text AS SELECT content FROM read_text('secret.csv')")
        con.execute("CREATE VIEW leak_computed AS SELECT * FROM read_csv(concat('secret', '.csv'))")
        con.execute("CREATE MACRO reads() AS TABLE SELECT * FROM read_csv('secret.csv')")
        con.execute("CREATE VIEW leak_macro AS SELECT * FROM reads()")
        con.execute("CREATE VIEW leak_list AS SELECT * FROM glob('*')")
    query = f"SELECT timestamp, 1 AS customer_id, (SELECT count(*) {ATTACKS[title]}) AS churned FROM timestamps"
    with open_database(shop, external=external) as con:
        schema = read_schema(con)
        with pytest.raises(TaskError, match="reads '|calls ") as caught:
            label_table(con, "shop", schema, replace(TASK, sql=query), "train")
    assert "launch code" not in str(caught.value)


def test_the_closed_instance_alone_holds(shop: Path) -> None:
    with_view(shop, VIEWS["a pattern"])
    with open_database(shop, external=False) as con:
        assert con.execute("SELECT count(*) > 0 FROM orders").fetchall() == [(True,)]
        for file in ("/etc/passwd", "secret.csv", "orders.parquet", "parts/other.parquet", "parts/*.parquet"):
            for reader in ("read_text", "read_blob", "read_csv", "read_parquet", "glob"):
                with pytest.raises(duckdb.PermissionException):
                    con.execute(f"FROM {reader}('{file}')")
        with pytest.raises(duckdb.Error):
            con.execute("SET allowed_paths = ['/etc/passwd']")


def test_inspecting_reads_no_files(shop: Path) -> None:
    with_view(shop, VIEWS["a name"])
    with foreign_database(shop) as (con, catalog):
        assert "orders" not in read_schema(con, catalog).tables
        assert not any("orders" in file for file in allowed_files(con))


def test_views_that_may_not_be_read_are_left_out(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("CREATE VIEW a AS SELECT * FROM read_text('secret.csv')")
        con.execute(
            "CREATE VIEW b AS SELECT x.* FROM 'secret.csv' x JOIN read_csv(concat('secret', '.csv')) y USING (a)"
        )
        con.execute("CREATE VIEW c AS SELECT * FROM 'secret.csv'")
        assert {"a", "b", "c"} <= read_schema(con).tables.keys()
    with open_database(shop, external=False) as con:
        assert {"a", "b", "c"} & read_schema(con).tables.keys() == {"c"}


def test_training_and_scoring_over_files(shop: Path) -> None:
    with_view(shop, VIEWS["a name"])
    with open_database(shop, external=False) as con:
        relsql.train(con, TASK, name="churn", options=QUICK)
    with relsql.connect(shop) as con:
        [(found,)] = con.execute("SELECT predict_churn_full(3)").fetchall()
        assert found["status"] == "ok" and found["evidence"] > 0

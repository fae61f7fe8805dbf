"""The anonymiser: texts are replaced, everything else is unchanged."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from benchmarks.accuracy.anonymise import anonymise, main, string_literals
from relsql.database.relsql_tables import ensure_table
from relsql.demo.league import create_league
from relsql.errors import DatabaseError
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.stored_tasks import read_tasks, save_task
from relsql.tasks.task import Task

LABEL_SQL = """
SELECT t.timestamp AS date, s.shop AS shop,
       max(CASE WHEN s.state = 'it''s lost' OR s.remark LIKE 'Late%' THEN 1 ELSE 0 END) AS lost
FROM timestamps t JOIN sales s ON s.date > t.timestamp AND s.date <= t.timestamp + INTERVAL '{timedelta}'
GROUP BY ALL"""


def create_shops(path: Path, label_sql: str = LABEL_SQL) -> None:
    """Two linked tables with textual keys, in a file that has a task, a declared link and a trained model."""
    with duckdb.connect(str(path)) as con:
        con.execute("""
            CREATE TABLE shops (shop VARCHAR PRIMARY KEY, "the name" VARCHAR NOT NULL, founded VARCHAR, tags VARCHAR[]);
            INSERT INTO shops VALUES
                ('s1', 'Corner & Son', '1999', ['old', 'red', NULL]), ('s2', 'Été', '2001-02-03', NULL),
                ('33', '', NULL, ['old']);
            CREATE TABLE sales (sale INTEGER PRIMARY KEY, shop VARCHAR REFERENCES shops (shop), again VARCHAR,
                                date DATE NOT NULL, state VARCHAR, remark VARCHAR, amount DOUBLE CHECK (amount >= 0));
            INSERT INTO sales SELECT i, CASE i % 4 WHEN 3 THEN NULL WHEN 2 THEN '33' ELSE 's' || (i % 4 + 1) END,
                's' || (i % 2 + 1), DATE '2020-01-01' + i::INTEGER,
                CASE WHEN i % 5 = 0 THEN 'it''s lost' WHEN i % 5 = 1 THEN 'sold' END,
                CASE i % 3 WHEN 0 THEN 'Late by ' || i || ' days' WHEN 1 THEN '1:2' || i ELSE 'Fine' END, i
            FROM range(200) t(i)""")
        declared = ensure_table(con, path.stem, "schema_links")
        con.execute(f"INSERT INTO {declared} VALUES ('sales', ['again'], 'shops', ['shop'], 'declared', false)")
        tables = ensure_table(con, path.stem, "schema_tables")
        con.execute(f"INSERT INTO {tables} (table_name, time_column, origin) VALUES ('sales', 'date', 'declared')")
        con.execute(f"INSERT INTO {ensure_table(con, path.stem, 'models')} (name) VALUES ('knows Corner & Son')")
        fields = {"entity_table": "shops", "entity_col": "shop", "target_col": "lost", "time_col": "date"}
        test = datetime.datetime(2020, 6, 1)
        task = Task("lost", "binary_classification", timedelta="4 days", sql=label_sql, **fields, test_timestamp=test)
        save_task(con, path.stem, task)


Pair = tuple[duckdb.DuckDBPyConnection, Path]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A connection with the shops as `before` and their anonymised copy as `after`, and the folder of both."""
    folder = tmp_path_factory.mktemp("shops")
    create_shops(folder / "before.duckdb")
    anonymise(folder / "before.duckdb", folder / "after.duckdb")
    with duckdb.connect() as con:
        for name in ("before", "after"):
            con.execute(f"ATTACH '{folder / name}.duckdb' AS {name} (READ_ONLY)")
        yield con, folder


def rows(con: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    return con.execute(query).fetchall()


def both(con: duckdb.DuckDBPyConnection, table: str, column: str) -> list[tuple[object, object]]:
    """Values of a column before and after, row by row: the order of rows stays."""
    before, after = (rows(con, f'SELECT "{column}" FROM {name}.{table} ORDER BY rowid') for name in ("before", "after"))
    return [(old[0], new[0]) for old, new in zip(before, after, strict=True)]


def test_texts_are_replaced_one_for_one(pair: Pair) -> None:
    con, _ = pair
    for table, column in [("shops", "shop"), ("shops", "the name"), ("sales", "remark"), ("sales", "state")]:
        values = set(both(con, table, column))
        assert len({old for old, _ in values}) == len(values) == len({new for _, new in values}), column
    for old, new in both(con, "shops", "the name")[:2]:
        assert old != new and isinstance(new, str) and new.isalpha() and len(new) == 16


def test_null_numbers_and_named_texts_are_kept(pair: Pair) -> None:
    con, _ = pair
    for old, new in both(con, "sales", "state") + both(con, "sales", "remark"):
        kept = old is None or str(old).startswith(("it's lost", "Late", "1:2"))
        assert (old == new) == kept, (old, new)
    assert both(con, "shops", "founded") == [("1999", "1999"), ("2001-02-03", "2001-02-03"), (None, None)]
    assert both(con, "shops", "the name")[2] == ("", "")


def test_lists_are_replaced_item_by_item(pair: Pair) -> None:
    con, _ = pair
    (_, first), (_, second), (_, third) = both(con, "shops", "tags")
    assert isinstance(first, list) and isinstance(third, list)
    assert second is None and first[2] is None and third == first[:1]
    assert not {"old", "red"} & set(first)


def test_joins_over_textual_keys_give_the_same_rows(pair: Pair) -> None:
    con, _ = pair
    query = "SELECT s.sale, p.founded FROM {0}.sales s JOIN {0}.shops p ON p.shop = s.{1} ORDER BY ALL"
    for column in ("shop", "again"):
        found = rows(con, query.format("after", column))
        assert found == rows(con, query.format("before", column))
        assert len(found) >= 150
    assert all(old != new for old, new in both(con, "shops", "shop")), "keys are references, also without a letter"


def test_schema_and_constraints_stay(pair: Pair, tmp_path: Path) -> None:
    con, folder = pair
    assert read_schema(con, "before") == read_schema(con, "after")
    assert len(read_schema(con, "after").links) == 2
    assert read_tasks(con, "before") == read_tasks(con, "after")
    with duckdb.connect(shutil.copy(folder / "after.duckdb", tmp_path)) as copy:
        for broken in ("INSERT INTO sales (sale, shop) VALUES (999, 's1')", "UPDATE sales SET amount = -1"):
            with pytest.raises(duckdb.ConstraintException):
                copy.execute(broken)


def test_labels_stay(pair: Pair) -> None:
    con, _ = pair
    name_of = dict(both(con, "shops", "shop"))
    for split in SPLITS:
        before, after = (
            label_table(con, name, read_schema(con, name), read_tasks(con, name)["lost"], split).table.to_pylist()
            for name in ("before", "after")
        )
        renamed = [row | {"entity": name_of[row["entity"]]} for row in before]
        key = lambda row: (row["as_of"], row["entity"])  # noqa: E731
        assert sorted(renamed, key=key) == sorted(after, key=key)
        assert len(before) > 0


def test_trained_models_are_left_out(pair: Pair) -> None:
    con, folder = pair
    assert rows(con, "SELECT count(*) FROM before.relsql.models") == [(1,)]
    assert rows(con, "SELECT count(*) FROM after.relsql.models") == [(0,)]
    content = (folder / "after.duckdb").read_bytes()
    assert b"Corner & Son" in (folder / "before.duckdb").read_bytes()
    assert b"Corner & Son" not in content and "Été".encode() not in content


def test_strings_depend_on_the_seed_alone(tmp_path: Path) -> None:
    create_shops(tmp_path / "shops.duckdb")
    found = []
    for number, seed in enumerate((0, 0, 1)):
        anonymise(tmp_path / "shops.duckdb", tmp_path / f"copy{number}.duckdb", seed=seed)
        with duckdb.connect(str(tmp_path / f"copy{number}.duckdb"), read_only=True) as con:
            found.append(rows(con, "SELECT * FROM shops ORDER BY rowid"))
    assert found[0] == found[1]
    assert all(same[1] != other[1] for same, other in zip(found[0][:2], found[2], strict=False))


def test_a_whole_league_loses_its_names_and_nothing_else(tmp_path: Path) -> None:
    source, target = tmp_path / "league.duckdb", tmp_path / "copy.duckdb"
    create_league(source, seasons=4)
    report = {f"{each.table}.{each.column}": each for each in anonymise(source, target)}
    assert report["drivers.name"].replaced > 20 and report["drivers.name"].kept == 0
    assert report["results.status"].kept == 1, "the label query names 'Finished'"
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{source}' AS before (READ_ONLY)")
        con.execute(f"ATTACH '{target}' AS after (READ_ONLY)")
        for table in read_schema(con, "before").tables.values():
            texts = {column.name for column in table.columns if column.type == "VARCHAR"}
            others = [column.name for column in table.columns if column.name not in texts]
            for name in others:
                assert all(old == new for old, new in both(con, table.name, name)), name
            for name in texts:
                for old, new in both(con, table.name, name):
                    assert (old == new) == (old is None or old == "Finished"), (name, old, new)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT 'a' || 'b''c' -- 'd'", {"a", "b'c"}),
        ("""SELECT "it's", x LIKE 'Late%', INTERVAL '30', '%'""", {"Late%"}),
        ("SELECT 1", set()),
    ],
)
def test_string_literals(sql: str, found: set[str]) -> None:
    assert string_literals(sql) == found


def test_a_label_that_needs_the_texts_is_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "shops.duckdb", tmp_path / "copy.duckdb"
    create_shops(source, LABEL_SQL.replace("s.remark LIKE 'Late%'", "length(s.remark) = 4"))
    with pytest.raises(DatabaseError, match="task 'lost' has other .* labels"):
        anonymise(source, target)
    assert sorted(tmp_path.iterdir()) == [source], "nothing is left behind"


def test_texts_within_structs_are_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as con:
        con.execute("CREATE TABLE people AS SELECT 1 AS id, {first: 'Anna'} AS name")
    with pytest.raises(DatabaseError, match=r"people\.name"):
        anonymise(tmp_path / "x.duckdb", tmp_path / "y.duckdb")


def test_the_command_reports_and_keeps_existing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "shops.duckdb", tmp_path / "copy.duckdb"
    create_shops(source)
    main([str(source), str(target), "--seed", "3"])
    assert "shops.the name: 2 values replaced, 1 kept" in capsys.readouterr().out
    with pytest.raises(DatabaseError, match="exists"):
        main([str(source), str(target)])
    main([str(source), str(target), "--overwrite"])

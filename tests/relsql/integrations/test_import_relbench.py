"""Importing RelBench folders: constraints, data that do not allow them, tasks, and failures that leave no file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from relsql.errors import DatabaseError, MissingExtraError, SchemaError
from relsql.integrations.import_relbench import import_dataset
from relsql.schema.reading import read_schema
from relsql.tasks.stored_tasks import read_tasks

pytest.importorskip("relbench")
yaml = pytest.importorskip("yaml")

Source = tuple[str, dict[str, Any]]
TASK: dict[str, Any] = {
    "kind": "forecast",
    "task_type": "binary_classification",
    "entity_table": "people",
    "entity_col": "id",
    "target_col": "y",
    "time_col": "timestamp",
    "timedelta": "30 days",
    "sql": "SELECT timestamp, id, 1 AS y FROM timestamps, people",
}


def _folder(path: Path, tables: dict[str, Source], tasks: dict[str, dict[str, Any]]) -> str:
    """Write a data set from (query, manifest entry) by table name and manifest fields by task name."""
    (path / "db").mkdir(parents=True)
    with duckdb.connect() as con:
        for name, (query, _) in tables.items():
            con.execute(f"COPY ({query}) TO '{path / 'db' / name}.parquet' (FORMAT parquet)")
    manifest = {"name": "toy", "val_timestamp": "2020-02-01", "test_timestamp": "2020-03-01 12:00:00"}
    entries = {name: entry for name, (_, entry) in tables.items()}
    (path / "manifest.yaml").write_text(yaml.safe_dump({**manifest, "tables": entries}))
    for name, fields in tasks.items():
        (path / "tasks" / name).mkdir(parents=True)
        (path / "tasks" / name / "manifest.yaml").write_text(yaml.safe_dump({"name": name, **fields}))
    return str(path)


PEOPLE: Source = ("SELECT i AS id, CASE WHEN i > 1 THEN 1 END AS boss FROM range(5) r(i)", {"pkey": "id"})
EVENTS: Source = (
    "SELECT i AS n, (i % 5)::DOUBLE AS who, timestamp '2020-01-01' + interval (i) day AS t FROM range(20) r(i)",
    {"pkey": "n", "time_col": "t", "fkeys": {"who": "people"}},
)


def test_a_folder_becomes_a_database(tmp_path: Path) -> None:
    # The child comes first in the manifest, and its keys have become floats.
    source = _folder(tmp_path / "toy", {"order": EVENTS, "people": PEOPLE}, {"will it": TASK})
    seen: list[tuple[str, int, int]] = []
    report = import_dataset(source, tmp_path / "a b.duckdb", progress=lambda *step: seen.append(step))
    assert seen == [("people", 0, 2), ("order", 1, 2), ("", 2, 2)]
    assert report.tables == (("order", 20), ("people", 5))
    assert (report.problems, report.skipped_tasks, report.tasks) == ((), (), ("will it",))
    with duckdb.connect(str(tmp_path / "a b.duckdb")) as con:
        schema = read_schema(con)
        assert schema.table("order").column("who").type == "BIGINT"
        assert (schema.table("order").primary_key, schema.table("order").time_column) == (("n",), "t")
        assert [(str(link), link.origin) for link in schema.links] == [("order(who) -> people(id)", "constraint")]
        task = read_tasks(con, "a b")["will it"]
        assert (str(task.val_timestamp), str(task.test_timestamp)) == ("2020-02-01 00:00:00", "2020-03-01 12:00:00")
        names = con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        assert names == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a b.duckdb", "toy"]


def test_data_that_allow_no_constraint_are_declared_and_reported(tmp_path: Path) -> None:
    tables: dict[str, Source] = {
        "people": (PEOPLE[0], {"pkey": "id", "fkeys": {"boss": "people"}}),
        "dangling": ("SELECT i AS n, i AS who FROM range(9) r(i)", {"pkey": "n", "fkeys": {"who": "people"}}),
        "twice": ("SELECT 1 AS id, 0 AS who FROM range(2)", {"pkey": "id", "fkeys": {"who": "people"}}),
        "unset": ("SELECT i AS n, NULL AS who FROM range(2) r(i)", {"pkey": "n", "fkeys": {"who": "people"}}),
        "lost": ("SELECT 1 AS two, 'x' AS who", {"fkeys": {"two": "twice", "who": "people"}}),
        "narrow": ("SELECT 3::SMALLINT AS who", {"fkeys": {"who": "people"}}),
    }
    report = import_dataset(_folder(tmp_path / "toy", tables, {}), tmp_path / "a.duckdb")
    assert set(report.constraint_links) == {"twice(who) -> people(id)", "narrow(who) -> people(id)"}
    assert set(report.declared_links) == {
        "people(boss) -> people(id)",
        "dangling(who) -> people(id)",
        "unset(who) -> people(id)",
    }
    text = "\n".join(report.problems)
    assert "dangling(who) -> people(id): 4 of 9 keys dangle (for example 5)" in text
    assert "twice(id) is not a primary key: 2 of 2 rows share a key (for example 1)" in text
    assert "lost(two) -> twice is not a link: 'twice' has no primary key" in text
    assert "lost(who) -> people is not a link: 'who' is VARCHAR, but 'id' is BIGINT" in text
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        schema = read_schema(con)
        assert {str(link) for link in schema.links} == {*report.constraint_links, *report.declared_links}
        assert schema.table("twice").primary_key == ()


def test_cycles_of_links(tmp_path: Path) -> None:
    tables = {
        "a": ("SELECT 1 AS id, 1 AS c", {"pkey": "id", "fkeys": {"c": "c"}}),
        "b": ("SELECT 1 AS id, 1 AS a", {"pkey": "id", "fkeys": {"a": "a"}}),
        "c": ("SELECT 1 AS id, 1 AS b", {"pkey": "id", "fkeys": {"b": "b"}}),
    }
    report = import_dataset(_folder(tmp_path / "toy", tables, {}), tmp_path / "a.duckdb")
    assert set(report.constraint_links) == {"b(a) -> a(id)", "c(b) -> b(id)"}
    assert report.declared_links == ("a(c) -> c(id)",)


def test_odd_names(tmp_path: Path) -> None:
    tables: dict[str, Source] = {
        "select": ('SELECT 1 AS "group", date \'2020-01-01\' AS "a""b"', {"pkey": "group", "time_col": 'a"b'}),
        "It's Ω": ('SELECT 1 AS "The Key"', {"fkeys": {"The Key": "select"}}),
    }
    with duckdb.connect() as con:
        source = _folder(tmp_path / "toy", {"select": tables["select"]}, {})
        con.execute(f"COPY (SELECT 1 AS \"The Key\") TO '{tmp_path}/x.parquet' (FORMAT parquet)")
    (tmp_path / "x.parquet").rename(tmp_path / "toy" / "db" / "It's Ω.parquet")
    manifest = yaml.safe_load((tmp_path / "toy" / "manifest.yaml").read_text())
    manifest["tables"] = {name: entry for name, (_, entry) in tables.items()}
    (tmp_path / "toy" / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    report = import_dataset(source, tmp_path / "a.duckdb")
    assert report.constraint_links == ("It's Ω(The Key) -> select(group)",)
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        assert read_schema(con).table("select").time_column == 'a"b'


def test_other_tasks_are_skipped_with_the_reason(tmp_path: Path) -> None:
    tasks = {
        "links": {**TASK, "kind": "link_prediction"},
        "order": {**TASK, "task_type": "ranking"},
        "many": {**TASK, "task_type": "multilabel_classification"},
        "good": TASK,
    }
    report = import_dataset(_folder(tmp_path / "toy", {"people": PEOPLE}, tasks), tmp_path / "a.duckdb")
    assert report.tasks == ("good", "many")
    reasons = dict(report.skipped_tasks)
    assert "kind 'link_prediction'" in reasons["links"] and "ranking" in reasons["order"]


def test_an_existing_file_is_kept_unless_overwritten(tmp_path: Path) -> None:
    source, path = _folder(tmp_path / "toy", {"people": PEOPLE}, {}), tmp_path / "a.duckdb"
    duckdb.connect(str(path)).execute("CREATE TABLE mine (i INTEGER)").close()
    with pytest.raises(DatabaseError, match="exists already"):
        import_dataset(source, path)
    import_dataset(source, path, overwrite=True)
    with duckdb.connect(str(path)) as con:
        assert set(read_schema(con).tables) == {"people"}


def test_an_interrupt_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    source, path = _folder(tmp_path / "toy", {"order": EVENTS, "people": PEOPLE}, {}), tmp_path / "a.duckdb"
    duckdb.connect(str(path)).execute("CREATE TABLE mine (i INTEGER)").close()

    def interrupt(table: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dataset(source, path, overwrite=True, progress=interrupt)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.duckdb", "toy"]
    with duckdb.connect(str(path)) as con:
        assert set(read_schema(con).tables) == {"mine"}


def test_broken_sources_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with pytest.raises(DatabaseError, match=r"cannot be loaded.*Expected: a RelBench 3 folder"):
        import_dataset(str(tmp_path), path)
    source = _folder(tmp_path / "toy", {"people": (PEOPLE[0], {"pkey": "idd"})}, {})
    with pytest.raises(SchemaError, match="no column 'idd'"):
        import_dataset(source, path)
    (tmp_path / "toy" / "db" / "people.parquet").write_text("no parquet")
    with pytest.raises(DatabaseError, match="import into"):
        import_dataset(source, path)
    (tmp_path / "toy" / "db" / "people.parquet").unlink()
    with pytest.raises(DatabaseError, match=r"lacks the file db/people\.parquet"):
        import_dataset(source, path)
    with pytest.raises(DatabaseError, match="no folder"):
        import_dataset(source, tmp_path / "none" / "a.duckdb")
    assert [file.name for file in tmp_path.iterdir()] == ["toy"]


def test_relbench_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "relbench", None)
    with pytest.raises(MissingExtraError, match=r"relsql\[bench\]"):
        import_dataset("rel-x", tmp_path / "a.duckdb")


@pytest.mark.parametrize("name", ["rel-f1", "rel-grants", "rel-retail"])
def test_real_data_sets_come_with_all_constraints(data_dir: Path, tmp_path: Path, name: str) -> None:
    specs = yaml.safe_load((data_dir / name / "manifest.yaml").read_text())["tables"]
    report = import_dataset(str(data_dir / name), tmp_path / "a.duckdb")
    assert (report.problems, report.declared_links) == ((), ())
    manifests = [yaml.safe_load(path.read_text()) for path in (data_dir / name / "tasks").glob("*/manifest.yaml")]
    assert set(report.tasks) == {raw["name"] for raw in manifests} and report.skipped_tasks == ()
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as con:
        schema = read_schema(con)
        for table, spec in specs.items():
            assert schema.table(table).primary_key == (spec["pkey"],)
            assert schema.table(table).time_column == spec["time_col"]
            links = {(link.child_columns[0], link.parent) for link in schema.links_from(table)}
            assert links == set(spec["fkeys"].items())

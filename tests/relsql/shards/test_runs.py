"""Runs that are stopped, repeated, given to a scheduler, or given something wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

import relsql
from relsql.bundles.manifest import MANIFEST
from relsql.cli import cli
from relsql.errors import ArtifactError, DatabaseError, RelsqlError, SchemaDriftError, SchemaError, ScoringError
from relsql.shards import prepare as preparation
from relsql.shards import shard_score as running
from relsql.shards.shard_request import ShardRequest
from tests.relsql.shards.conftest import MOMENTS, Exported
from tests.relsql.shards.test_shard_score import in_this_process, require_equal, scores


def arguments(model: Exported, into: Path, *more: str) -> list[str]:
    as_of = MOMENTS[1].isoformat()
    return [
        "shard-score",
        str(model.bundle),
        "--tables",
        str(model.tables),
        "--into",
        str(into),
        "--as-of",
        as_of,
        *more,
    ]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
def test_a_run_that_was_killed_goes_on(shop: Exported, tmp_path: Path) -> None:
    into, command = tmp_path / "scores", [sys.executable, "-m", "relsql", *arguments(shop, tmp_path / "scores")]
    command += ["--shards", "5"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(into.glob("part-*.parquet")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    done = {file: file.stat().st_mtime_ns for file in into.glob("part-*.parquet")}
    assert 1 <= len(done) < 5 and list(into.glob(".prepared-*"))
    in_this_process(shop, into, MOMENTS[1], 5)
    assert {file: file.stat().st_mtime_ns for file in done} == done
    # The command that finds all parts removes what only they needed.
    result = relsql.shard_score(shop.bundle, shop.tables, into, as_of=MOMENTS[1], shards=5)
    assert (result.computed, result.missing, result.rows) == (0, 0, 60)
    assert names(into) == [f"part-{i:05}-of-00005.parquet" for i in range(1, 6)]
    require_equal(scores(into), shop.expected[MOMENTS[1]])


def test_a_scheduler_runs_parts_in_any_order(shop: Exported, tmp_path: Path) -> None:
    run, into = CliRunner().invoke, tmp_path / "scores"
    result = run(cli, arguments(shop, into, "--shard", "2/2", "--json"))
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert (done["computed"], done["missing"]) == (1, 1) and "1 part missing" in result.stderr
    assert len(list(into.glob(".prepared-*"))) == 1
    result = run(cli, arguments(shop, into, "--shards", "2", "--shard", "1/2"))
    assert (result.exit_code, result.stdout) == (0, "churn\t1\tshards=2\tcomputed=1\tmissing=0\trows=60\n")
    assert names(into) == ["part-00001-of-00002.parquet", "part-00002-of-00002.parquet"]
    require_equal(scores(into), shop.expected[MOMENTS[1]])
    for wrong in (["--shard", "3/2"], ["--shard", "0/2"], ["--shard", "two"], [], ["--shards", "3", "--shard", "1/2"]):
        assert run(cli, arguments(shop, into, *wrong)).exit_code == 2


def test_two_processes_may_prepare_at_the_same_time(
    shop: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(request: ShardRequest, *_: object) -> None:
        request.prepared.mkdir()
        (request.prepared / "of another process").touch()

    monkeypatch.setattr(preparation, "_write", overtaken)
    request = running.shard_request(shop.bundle, shop.tables, tmp_path, MOMENTS[0], 2)
    preparation.prepare(request)
    assert names(tmp_path) == [request.prepared.name]
    assert names(request.prepared) == ["of another process"]


def test_a_process_that_fails_ends_the_run_and_says_why(
    shop: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "prepare", lambda request, threads: request.prepared.mkdir())
    with pytest.raises(ScoringError, match=r"part [12] of 2 failed: .*model.duckdb"):
        relsql.shard_score(shop.bundle, shop.tables, tmp_path / "scores", as_of=MOMENTS[0], shards=2)
    assert not list((tmp_path / "scores").glob("part-*"))


class TestTheFolderOfScores:
    def test_scores_of_another_run_are_not_mixed_with_these(self, shop: Exported, tmp_path: Path) -> None:
        tables, into = tmp_path / "tables", tmp_path / "scores"
        shutil.copytree(shop.tables, tables)
        mine = Exported(shop.bundle, tables, shop.expected)
        in_this_process(mine, into, MOMENTS[0], 2)
        before = names(into)
        for as_of, shards in ((MOMENTS[1], 2), (MOMENTS[0], 3)):
            with pytest.raises(DatabaseError, match="has scores of another run"):
                relsql.shard_score(shop.bundle, tables, into, as_of=as_of, shards=shards)
        os.utime(tables / "shops.parquet", (1, 1))
        with pytest.raises(DatabaseError, match="or files changed.*Fix: rm -r"):
            relsql.shard_score(shop.bundle, tables, into, as_of=MOMENTS[0], shards=2)
        assert names(into) == before

    @pytest.mark.parametrize("name", ["notes.txt", "scores.parquet", "part-00001-of-00002.parquet"])
    def test_files_of_the_user_are_left_alone(self, shop: Exported, name: str, tmp_path: Path) -> None:
        file = tmp_path / name
        if file.suffix == ".parquet":
            duckdb.connect().execute(f"COPY (SELECT 1 AS mine) TO '{file}'")
        else:
            file.write_text("mine")
        before = file.read_bytes()
        with pytest.raises(DatabaseError, match="is not a part that relsql shard-score wrote"):
            relsql.shard_score(shop.bundle, shop.tables, tmp_path, as_of=MOMENTS[0], shards=2)
        assert names(tmp_path) == [name] and file.read_bytes() == before

    def test_a_place_that_cannot_be(self, shop: Exported, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for into in (tmp_path / "file", tmp_path / "nowhere" / "scores"):
            with pytest.raises(DatabaseError, match="cannot be used"):
                relsql.shard_score(shop.bundle, shop.tables, into, as_of=MOMENTS[0], shards=2)


def rewrite(table: str, query: str) -> Callable[[Path, Path], None]:
    """A change of one table's file."""

    def change(bundle: Path, tables: Path) -> None:
        source, target = tables / f"{table}.parquet", tables / "new"
        with duckdb.connect() as con:
            con.execute(f"CREATE VIEW {table} AS FROM '{source}'")
            con.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet)")
        target.replace(source)

    return change


def newer(bundle: Path, tables: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))


def damaged(bundle: Path, tables: Path) -> None:
    content = bytearray((bundle / "graph.onnx").read_bytes())
    content[100] ^= 1
    (bundle / "graph.onnx").write_bytes(content)


WRONG: dict[str, tuple[Callable[[Path, Path], object], type[RelsqlError], str]] = {
    "newer bundle": (newer, ArtifactError, "has format 99.*pip install --upgrade"),
    "damaged bundle": (damaged, ArtifactError, "is damaged"),
    "no bundle": (lambda bundle, _: shutil.rmtree(bundle), DatabaseError, "is not a folder"),
    "no tables": (lambda _, tables: shutil.rmtree(tables), DatabaseError, "is not a folder"),
    "missing table": (
        lambda _, tables: (tables / "shops.parquet").unlink(),
        DatabaseError,
        "table 'shops', which model 'churn' reads, has no file.*Fix: COPY",
    ),
    "two of a table": (
        lambda _, tables: (tables / "Shops").mkdir(),
        DatabaseError,
        "would both be the table 'shops'",
    ),
    "missing column": (
        rewrite("customers", "SELECT * EXCLUDE (born) FROM customers"),
        SchemaDriftError,
        "column customers.born is missing",
    ),
    "renamed column": (
        rewrite("customers", "SELECT * RENAME (name AS nom) FROM customers"),
        SchemaDriftError,
        "column customers.name is missing",
    ),
    "another type": (
        rewrite("customers", "SELECT * REPLACE (CAST(customer_id AS VARCHAR) AS customer_id) FROM customers"),
        SchemaDriftError,
        "column customers.customer_id is VARCHAR, was BIGINT",
    ),
    "no key": (
        rewrite("customers", "SELECT * EXCLUDE (customer_id) FROM customers"),
        SchemaDriftError,
        "column customers.customer_id is missing",
    ),
    "a key twice": (
        rewrite("customers", "FROM customers UNION ALL (FROM customers LIMIT 1)"),
        SchemaError,
        r"'customers\(customer_id\)' is not a primary key",
    ),
    "no Parquet": (
        lambda _, tables: (tables / "shops.parquet").write_text("shop_id,city"),
        DatabaseError,
        "the files of table 'shops' cannot be read",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_before_work_starts(shop: Exported, what: str, tmp_path: Path) -> None:
    bundle, tables = tmp_path / "model", tmp_path / "tables"
    shutil.copytree(shop.bundle, bundle)
    shutil.copytree(shop.tables, tables)
    change, error, message = WRONG[what]
    change(bundle, tables)
    with pytest.raises(error, match=message) as caught:
        relsql.shard_score(bundle, tables, tmp_path / "scores", as_of=MOMENTS[0], shards=2)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "scores").exists() or names(tmp_path / "scores") == []
